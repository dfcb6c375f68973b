"""Features on disk: Arrow shards, memory-mapped, read without a copy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.errors import IntervoxError
from intervox.storage import atomic_path, read_json


class Features:
    """Layer means of every clip of one source.

    Attributes
    ----------
    layers, dim
        Shape of one clip's means.
    frames
        Shape (clips,): frames behind each mean; 0 for a clip that failed.
    errors
        ``cell_id`` of each failed clip to its reason.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "features.json").exists():
            raise IntervoxError(f"{folder} holds no complete features: run `intervox extract` first")
        self.about: dict[str, Any] = read_json(folder / "features.json")
        self.layers: int = self.about["layers"]
        self.dim: int = self.about["dim"]
        tables = [_map_shard(path) for path in sorted(folder.glob("shard-*.arrow"))]
        shape = (-1, self.layers, self.dim)
        self._shards = [_column(table, "mean").reshape(shape) for table in tables]
        if sum(len(shard) for shard in self._shards) != self.about["clips"]:
            raise IntervoxError(f"{folder} lacks shards: delete it and run extract again")
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        self.frames: NDArray[np.int64] = np.concatenate([_column(table, "frames") for table in tables])
        self.errors = read_errors(folder)

    def __len__(self) -> int:
        return len(self.frames)

    def rows(self, indices: NDArray[np.integer] | None = None) -> NDArray[np.float32]:
        """Copy the means of some clips, or of all, out of the mapped shards.

        Returns
        -------
        ndarray
            Shape (indices, layers, dim), float32. A clip that failed holds zeros.
        """
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices)
        result = np.empty((len(wanted), self.layers, self.dim), np.float32)
        shards = np.searchsorted(self._starts, wanted, side="right") - 1
        for shard in np.unique(shards):
            chosen = shards == shard
            result[chosen] = self._shards[shard][wanted[chosen] - self._starts[shard]]
        return result


def write_features(
    path: Path,
    cell_ids: list[int],
    means: NDArray[np.float32],
    frames: NDArray[np.int64],
    errors: list[str | None],
) -> None:
    """Write one shard; ``means`` has shape (clips, layers, dim)."""
    flat = pa.array(means.astype(np.float16).reshape(-1))
    width = int(np.prod(means.shape[1:]))
    table = pa.table(
        {
            "cell_id": pa.array(cell_ids, pa.int64()),
            "frames": pa.array(frames, pa.int64()),
            "mean": pa.FixedSizeListArray.from_arrays(flat, width),
            "error": pa.array(errors, pa.string()),
        }
    )
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)


def read_errors(folder: Path) -> dict[int, str]:
    """Return ``cell_id`` to reason for every clip in the shards that failed."""
    columns = [_map_shard(path).select(["cell_id", "error"]) for path in sorted(folder.glob("shard-*.arrow"))]
    return {row["cell_id"]: row["error"] for table in columns for row in table.to_pylist() if row["error"]}


def _map_shard(path: Path) -> pa.Table:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise IntervoxError(f"{path} is damaged: delete its folder and run again") from error


def _column(table: pa.Table, name: str) -> NDArray[Any]:
    column = table[name].combine_chunks()
    values = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
    return np.asarray(values.to_numpy(zero_copy_only=True))
