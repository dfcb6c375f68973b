"""Where clips come from: anything that gives waveforms one shard at a time.

Everything behind it works on a corpus of ours and on anyone's recordings alike, in the memory of a shard.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intervox.audio import AudioSource, Waveform, duration_seconds, load_audio
from intervox.errors import IntervoxError


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

    def __init__(self, paths: Sequence[Path], max_clips: int = 256, max_seconds: float = 600.0) -> None:
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
        return file_stamps(self._paths)

    def load_shard(self, index: int) -> list[Clip]:
        first, end = self._bounds[index], self._bounds[index + 1]
        return [load_clip(cell_id, self._paths[cell_id]) for cell_id in range(first, end)]


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
            f"{len(failed):,} of {total:,} {what} failed, more than {limit:.0%} (a recipe's "
            f"max_failures): fix them or leave them out; the first: {failed[0]}"
        )


def file_stamps(paths: Sequence[Path]) -> list[list[str | int]]:
    """Name, size and time of change of files; a missing one is reported when it is read."""
    stamps = [path.stat() if path.is_file() else None for path in paths]
    return [
        [str(path), *((stamp.st_size, stamp.st_mtime_ns) if stamp else (-1, -1))]
        for path, stamp in zip(paths, stamps, strict=True)
    ]
