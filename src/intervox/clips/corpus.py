"""Where clips come from: a corpus folder of ours, or anyone's recordings listed in a manifest.

Both give the same thing, one shard at a time, so that everything behind them works on either and
memory stays that of a shard.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from intervox.audio import AudioSource, Waveform, duration_seconds, load_audio
from intervox.corpus.render.quality import QUALITY_FIELDS
from intervox.errors import IntervoxError
from intervox.storage import read_json

CELL_SCHEMA = pa.schema(
    [
        ("cell_id", pa.int64()),
        ("block", pa.int64()),
        ("split", pa.string()),
        ("speaker", pa.string()),
        ("content", pa.string()),
        ("condition", pa.string()),
        ("severity", pa.float64()),
        ("text", pa.string()),
        ("kind", pa.string()),
        ("language", pa.string()),
        ("engine", pa.string()),
        ("voice", pa.string()),
        ("transformation", pa.string()),
        ("session", pa.string()),
        ("seed", pa.int64()),
        ("copy", pa.int64()),
    ]
)
"""The plan: one row a cell."""

SHARD_SCHEMA = pa.schema(
    [
        *CELL_SCHEMA,
        ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("duration", pa.float64()),
        *QUALITY_FIELDS,
        ("attempt", pa.int64()),
        ("error", pa.string()),
    ]
)
"""A shard holds the plan's columns too: it can be read on its own."""


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

    @property
    def failed(self) -> int:
        """How many clips are known to be missing, which no reader needs to complain of again."""
        return 0

    @abstractmethod
    def load_shard(self, index: int) -> list[Clip]:
        """Decode one shard, in the order of ``cell_id``."""


class Corpus(ClipSource):
    """A synthesised corpus, opened for reading.

    Attributes
    ----------
    cells
        The plan, ``CELL_SCHEMA``.

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
        self.cells: pa.Table = read_parquet(folder / "cells.parquet")
        count = -(-self.cells.num_rows // self.about["shard_size"])
        self._shards = [shard_path(folder, index) for index in range(count)]
        if not all(path.exists() for path in self._shards):
            raise IntervoxError(
                f"{folder / 'audio'} lacks shards: run the same `intervox synth` again: it makes only what "
                "is missing"
            )

    @property
    def shard_count(self) -> int:
        return len(self._shards)

    @property
    def clip_count(self) -> int:
        return int(self.cells.num_rows)

    @property
    def key(self) -> Any:
        return self.about["key"]

    @property
    def failed(self) -> int:
        return int(self.about["failed"])

    def load_shard(self, index: int) -> list[Clip]:
        table = self.read_shard(index, ["cell_id", "audio", "error"])
        return [_shard_clip(row) for row in table.to_pylist()]

    def read_shard(self, index: int, columns: list[str]) -> pa.Table:
        """Read some columns of one shard."""
        return read_parquet(self._shards[index], columns=columns)


class CorpusSplit(ClipSource):
    """The cells of one split of a corpus, renumbered from 0."""

    def __init__(self, corpus: Corpus, split: str) -> None:
        self._corpus = corpus
        self._split = split
        chosen = corpus.cells.filter(pc.field("split") == split)
        self._number = {cell_id: i for i, cell_id in enumerate(chosen["cell_id"].to_pylist())}
        shards = {cell_id // corpus.about["shard_size"] for cell_id in self._number}
        self._shards = sorted(shards)

    @property
    def shard_count(self) -> int:
        return len(self._shards)

    @property
    def clip_count(self) -> int:
        return len(self._number)

    @property
    def key(self) -> Any:
        return [self._corpus.key, self._split]

    @property
    def failed(self) -> int:
        tables = (self._corpus.read_shard(index, ["split", "error"]) for index in self._shards)
        return sum(
            table.filter((pc.field("split") == self._split) & pc.field("error").is_valid()).num_rows
            for table in tables
        )

    def durations(self) -> NDArray[np.float64]:
        """Length of every clip in seconds, in order; 0 without audio."""
        found = np.zeros(len(self._number))
        for index in self._shards:
            table = self._corpus.read_shard(index, ["cell_id", "duration"])
            for cell_id, seconds in zip(*(column.to_pylist() for column in table.columns), strict=True):
                if cell_id in self._number:
                    found[self._number[cell_id]] = seconds
        return found

    def load_shard(self, index: int) -> list[Clip]:
        return [
            replace(clip, cell_id=self._number[clip.cell_id])
            for clip in self._corpus.load_shard(self._shards[index])
            if clip.cell_id in self._number
        ]


class Transformed(ClipSource):
    """Another source's clips, each passed through ``transform(cell_id, wave)``.

    Parameters
    ----------
    source
        Where the clips come from.
    transform
        A pure function.
    transform_key
        JSON value that changes whenever the function does.
    """

    def __init__(
        self, source: ClipSource, transform: Callable[[int, Waveform], Waveform], transform_key: Any
    ) -> None:
        self._source = source
        self._transform = transform
        self._transform_key = transform_key

    @property
    def shard_count(self) -> int:
        return self._source.shard_count

    @property
    def clip_count(self) -> int:
        return self._source.clip_count

    @property
    def key(self) -> Any:
        return [self._source.key, self._transform_key]

    @property
    def failed(self) -> int:
        return self._source.failed

    def load_shard(self, index: int) -> list[Clip]:
        return [
            clip if clip.wave is None else replace(clip, wave=self._transform(clip.cell_id, clip.wave))
            for clip in self._source.load_shard(index)
        ]


class Recordings(ClipSource):
    """Files of a manifest.

    Parameters
    ----------
    paths
        One file a clip.
    max_clips, max_seconds
        Bounds of a shard.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        max_clips: int = 256,
        max_seconds: float = 600.0,
    ) -> None:
        self._paths = paths
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
        return [[str(path), *_stamp(path)] for path in self._paths]

    def load_shard(self, index: int) -> list[Clip]:
        first, end = self._bounds[index], self._bounds[index + 1]
        return [load_clip(cell_id, self._paths[cell_id]) for cell_id in range(first, end)]


def shard_path(folder: Path, index: int) -> Path:
    """Where a shard lies in a corpus folder."""
    return folder / "audio" / f"shard-{index:05d}.parquet"


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file of a corpus, or say that it is damaged."""
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise IntervoxError(
            f"{path} is damaged or missing: delete it, and run the same `intervox synth` again, which makes "
            "only what is missing"
        ) from error


def _shard_clip(row: dict[str, Any]) -> Clip:
    """Decode one row of a shard, which somebody may have edited."""
    if row["error"]:
        return Clip(row["cell_id"], None, row["error"])
    data = (row["audio"] or {}).get("bytes")
    if data is None:
        return Clip(row["cell_id"], None, "neither audio nor a reason: see `intervox corpus check`")
    return load_clip(row["cell_id"], data)


def _stamp(path: Path) -> list[int]:
    """Size and time of change; a missing file is reported when it is read."""
    if not path.is_file():
        return [-1, -1]
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def load_clip(cell_id: int, source: AudioSource) -> Clip:
    """Decode one clip, keeping the reason where that fails."""
    try:
        return Clip(cell_id, load_audio(source))
    except IntervoxError as error:
        return Clip(cell_id, None, str(error))


def check_failures(failed: Sequence[str], total: int, what: str, limit: float, known: int = 0) -> None:
    """Stop when more than ``limit`` of the clips failed, not counting ``known`` ones.

    Raises
    ------
    IntervoxError
        It names the share and the first reason.
    """
    if len(failed) - known > limit * total:
        raise IntervoxError(
            f"{len(failed):,} of {total:,} {what} failed, more than the {limit:.0%} of max_failures: mend "
            f"them or raise it; the first: {failed[0]}"
        )
