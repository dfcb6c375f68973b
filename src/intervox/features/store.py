"""Features on disk: Arrow shards of means and arrays of frames, memory-mapped, read without a copy.

Of a few clips, which frame-level measures need, every frame alone can be kept.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE
from intervox.backbones.base import Backbone
from intervox.clips.batches import by_length
from intervox.clips.source import ClipSource
from intervox.errors import IntervoxError
from intervox.steps import StepFolder
from intervox.storage import atomic_path, growing_npy, map_npy, read_json, stable_hash

Frames = NDArray[np.float16]
"""Every frame of a clip, shape (frames, layers, dim)."""

_FRAMES_VERSION = 1
_FRAMES_BATCH = 16


class Features:
    """Layer means of every clip of one source, and its frames where they were kept.

    Attributes
    ----------
    folder
        Where the files are.
    layers, dim
        Shape of one clip's means.
    frames
        Shape (clips,): frames behind each mean; 0 for a clip that failed.
    has_frames
        Whether the frames themselves are here.
    errors
        ``cell_id`` of each failed clip to its reason.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "features.json").exists():
            raise IntervoxError(f"{folder} holds no complete features: run `intervox extract` first")
        self.folder = folder
        self.about: dict[str, Any] = read_json(folder / "features.json")
        self.layers: int = self.about["layers"]
        self.dim: int = self.about["dim"]
        paths = sorted(folder.glob("shard-*.arrow"))
        tables = [_map_shard(path) for path in paths]
        shape = (-1, self.layers, self.dim)
        self._shards = [_column(table, "mean").reshape(shape) for table in tables]
        if sum(len(shard) for shard in self._shards) != self.about["clips"]:
            raise IntervoxError(f"{folder} lacks shards: delete it and run extract again")
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        self.frames: NDArray[np.int64] = np.concatenate([_column(table, "frames") for table in tables])
        self.errors = read_errors(folder)
        self.has_frames: bool = self.about["frames"]
        self._states: list[NDArray[np.float16]] = []
        if self.has_frames:
            self._states = [map_npy(frames_path(folder, index)) for index in range(len(paths))]
        self._first = self._first_frames()

    def __len__(self) -> int:
        return len(self.frames)

    def __reduce__(self) -> "tuple[type[Features], tuple[Path]]":
        """Another process maps the files anew."""
        return Features, (self.folder,)

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

    def states(
        self,
        indices: NDArray[np.integer],
        crop: int | None = None,
        random: np.random.Generator | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Copy the frames of some clips out of the mapped files.

        Parameters
        ----------
        crop
            The longest stretch of a clip to take, in frames; all of it without.
        random
            Draws where a stretch starts; at the clip's beginning without.

        Returns
        -------
        states, mask
            Shapes (indices, time, layers, dim), float32 and zero behind a clip's end, and (indices,
            time): which frames are real. A clip that failed has none.

        Raises
        ------
        IntervoxError
            The frames were not kept.
        """
        if not self.has_frames:
            raise IntervoxError(
                f"the features of {self.about['backbone']} were kept without frames, which a subspace with "
                "`map: attentive` reads: run `intervox extract` on its recipe"
            )
        wanted = np.asarray(indices)
        counts = self.frames[wanted]
        taken = counts if crop is None else np.minimum(counts, crop)
        spare = counts - taken
        starts = spare * 0 if random is None else random.integers(spare + 1)
        time = max(1, int(taken.max(initial=0)))
        result = np.zeros((len(wanted), time, self.layers, self.dim), np.float32)
        shards = np.searchsorted(self._starts, wanted, side="right") - 1
        for row, (shard, first, count) in enumerate(
            zip(shards, self._first[wanted] + starts, taken, strict=True)
        ):
            result[row, :count] = self._states[shard][first : first + count]
        return result, np.arange(time) < taken[:, None]

    def batches(self, indices: NDArray[np.integer], numbers: int = 2**25) -> Iterator[NDArray[np.int64]]:
        """Part clips so that the padded frames of each part hold at most as many numbers, or are one clip.

        Yields
        ------
        ndarray
            Positions in ``indices``, each once, of clips of like length.
        """
        counts = self.frames[np.asarray(indices)].tolist()
        return map(np.array, by_length(counts, numbers // (self.layers * self.dim)))

    def _first_frames(self) -> NDArray[np.int64]:
        """Number, in its shard's file, of each clip's first frame."""
        by_shard = np.split(self.frames, self._starts[1:-1])
        return np.concatenate([np.cumsum(counts) - counts for counts in by_shard])


def shard_path(folder: Path, index: int) -> Path:
    """Where the means of a shard lie."""
    return folder / f"shard-{index:05d}.arrow"


def frames_path(folder: Path, index: int) -> Path:
    """Where the frames of a shard lie."""
    return folder / f"frames-{index:05d}.npy"


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
    except (pa.ArrowException, OSError) as error:
        raise IntervoxError(f"{path} is damaged: delete its folder and run again") from error


def _column(table: pa.Table, name: str) -> NDArray[Any]:
    # A shard is one chunk. Combining it copies even that one out of the mapped file, all means of it.
    column = table[name].chunk(0) if table[name].num_chunks == 1 else table[name].combine_chunks()
    values = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
    return np.asarray(values.to_numpy(zero_copy_only=True))


def extract_frames(
    source: ClipSource, rows: Sequence[int], backbone: Backbone, folder: Path, seconds: float = 4.0
) -> list[Frames]:
    """Cache the layers of every frame of some clips, or read them from an earlier call.

    Parameters
    ----------
    source
        Where the clips come from; all of them decode.
    rows
        Ascending numbers of the clips.
    folder
        Where ``frames.npy`` (frames of all clips, layers, dim) and ``counts.npy`` go: 50 clips of a
        second take about 12 MB for Whisper tiny.
    seconds
        Clips are cut after as many; the bound of the folder's size.

    Returns
    -------
    list of ndarray
        One array (frames, layers, dim) a row, memory-mapped.
    """
    key = stable_hash([_FRAMES_VERSION, source.key, list(map(int, rows)), backbone.fingerprint, seconds])
    step = StepFolder(folder, key)
    if not step.complete:
        _write_frames(source, rows, backbone, folder, seconds)
        step.finish()
    frames, counts = (map_npy(folder / name) for name in ("frames.npy", "counts.npy"))
    return np.split(frames, np.cumsum(counts)[:-1])


def _write_frames(
    source: ClipSource, rows: Sequence[int], backbone: Backbone, folder: Path, seconds: float
) -> None:
    wanted, waves = set(map(int, rows)), {}
    for shard in range(source.shard_count):
        for clip in source.load_shard(shard):
            if clip.cell_id in wanted and clip.wave is not None:
                waves[clip.cell_id] = clip.wave[: round(seconds * SAMPLE_RATE)]
    order = sorted(wanted, key=lambda row: len(waves[row]))
    found: dict[int, Frames] = {}
    for start in range(0, len(order), _FRAMES_BATCH):
        batch = order[start : start + _FRAMES_BATCH]
        states = backbone.forward([waves[row] for row in batch])
        for row, layers, count in zip(batch, states.layers, states.frames, strict=True):
            found[row] = layers[:, : int(count)].transpose(0, 1).half().cpu().numpy()
    shape = found[int(rows[0])].shape[1:]
    with growing_npy(folder / "frames.npy", shape, np.float16) as append:
        for row in rows:
            append(found[int(row)])
    with atomic_path(folder / "counts.npy") as path, path.open("wb") as file:
        np.save(file, np.array([len(found[int(row)]) for row in rows]))
