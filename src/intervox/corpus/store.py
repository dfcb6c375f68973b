"""Where clips come from: a corpus folder of ours, or anyone's recordings listed in a manifest.

Both give the same thing, one shard at a time, so that everything behind them works on either and
memory stays that of a shard.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from intervox.audio import AudioSource, Waveform, duration_seconds, load_audio
from intervox.errors import IntervoxError
from intervox.storage import atomic_path, read_json

SHARD_SCHEMA = pa.schema(
    [
        ("cell_id", pa.int64()),
        ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("duration", pa.float64()),
        ("peak_dbfs", pa.float64()),
        ("rms_dbfs", pa.float64()),
        ("error", pa.string()),
    ]
)


@dataclass(frozen=True)
class Clip:
    """A waveform, or the reason why there is none."""

    cell_id: int
    wave: Waveform | None
    error: str | None = None


class ClipSource(ABC):
    """Clips in shards; clip i of the source has ``cell_id`` i."""

    @property
    @abstractmethod
    def shard_count(self) -> int:
        """How many shards there are."""

    @property
    @abstractmethod
    def clip_count(self) -> int:
        """How many clips there are in all."""

    @property
    @abstractmethod
    def key(self) -> Any:
        """JSON value that changes whenever the clips do."""

    @abstractmethod
    def load_shard(self, index: int) -> list[Clip]:
        """Decode one shard, in the order of ``cell_id``."""


class Corpus(ClipSource):
    """A synthesised corpus, opened for reading.

    Attributes
    ----------
    cells
        The plan, ``design.CELL_SCHEMA``.

    Raises
    ------
    IntervoxError
        The folder holds no complete corpus.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "corpus.json").exists():
            raise IntervoxError(f"{folder} holds no complete corpus: run `intervox synth` first")
        self.folder = folder
        self.about: dict[str, Any] = read_json(folder / "corpus.json")
        self.cells: pa.Table = pq.read_table(folder / "cells.parquet")
        self._shards = sorted((folder / "audio").glob("shard-*.parquet"))

    @property
    def shard_count(self) -> int:
        return len(self._shards)

    @property
    def clip_count(self) -> int:
        return int(self.cells.num_rows)

    @property
    def key(self) -> Any:
        return self.about["key"]

    def load_shard(self, index: int) -> list[Clip]:
        table = pq.read_table(self._shards[index], columns=["cell_id", "audio", "error"])
        return [
            Clip(row["cell_id"], None, row["error"])
            if row["error"]
            else load_clip(row["cell_id"], row["audio"]["bytes"])
            for row in table.to_pylist()
        ]


Transform = Callable[[int, Waveform], Waveform]


class Recordings(ClipSource):
    """Files of a manifest, each optionally passed through ``transform(cell_id, wave)``.

    Parameters
    ----------
    paths
        One file a clip.
    transform
        Applied to each decoded clip; for evaluation under conditions.
    transform_key
        JSON value that says what the transform does.
    max_clips, max_seconds
        Bounds of a shard.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        transform: Transform | None = None,
        transform_key: Any = None,
        max_clips: int = 256,
        max_seconds: float = 1200.0,
    ) -> None:
        self._paths = paths
        self._transform = transform
        self._transform_key = transform_key
        self._bounds = [0]
        seconds = 0.0
        for index, path in enumerate(paths):
            seconds += duration_seconds(path)
            if seconds > max_seconds or index - self._bounds[-1] >= max_clips:
                if index > self._bounds[-1]:
                    self._bounds.append(index)
                seconds = duration_seconds(path)
        self._bounds.append(len(paths))

    @property
    def shard_count(self) -> int:
        return len(self._bounds) - 1

    @property
    def clip_count(self) -> int:
        return len(self._paths)

    @property
    def key(self) -> Any:
        files = [[str(path), path.stat().st_size] for path in self._paths]
        return [files, self._transform_key]

    def load_shard(self, index: int) -> list[Clip]:
        clips = []
        for cell_id in range(self._bounds[index], self._bounds[index + 1]):
            clip = load_clip(cell_id, self._paths[cell_id])
            if self._transform and clip.wave is not None:
                clip = Clip(cell_id, self._transform(cell_id, clip.wave))
            clips.append(clip)
        return clips


def load_clip(cell_id: int, source: AudioSource) -> Clip:
    """Decode one clip, keeping the reason where that fails."""
    try:
        return Clip(cell_id, load_audio(source))
    except IntervoxError as error:
        return Clip(cell_id, None, str(error))


def write_shard(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one audio shard of a corpus."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SHARD_SCHEMA), temporary)


def check_failures(failed: Sequence[str], total: int, what: str, limit: float) -> None:
    """Stop when more than ``limit`` of the clips failed.

    Raises
    ------
    IntervoxError
        It names the share and the first reason.
    """
    if failed and len(failed) > limit * total:
        raise IntervoxError(
            f"{len(failed):,} of {total:,} {what} failed, more than the {limit:.0%} allowed; the "
            f"first: {failed[0]}"
        )
