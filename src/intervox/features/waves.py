"""A corpus' waveforms, decoded once: what training at depth ``blocks`` reads a step at a time."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError
from intervox.progress import progress_bar
from intervox.steps import StepFolder
from intervox.storage import atomic_path, check_disk, map_npy, read_json, stable_hash

_VERSION = 1
_FULL_SCALE = 32767


class Waves:
    """Waveforms of sixteen bits on disk, memory-mapped.

    Parameters
    ----------
    folder
        That ``decode`` filled.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = sorted(folder.glob("samples-*.npy"))
        self._samples = [map_npy(path) for path in paths]
        ends = [map_npy(folder / path.name.replace("samples", "ends")) for path in paths]
        self._ends = ends
        self._starts = np.cumsum([0, *(len(part) for part in ends)])

    @classmethod
    def of(cls, corpus: Corpus, folder: Path) -> "Waves":
        """Open what ``decode`` made of a corpus.

        Raises
        ------
        IntervoxError
            It is not there whole, or of another corpus.
        """
        record = folder / StepFolder.RECORD
        said = read_json(record) if record.exists() else {}
        if said.get("key") != _key(corpus) or not said.get("complete"):
            raise IntervoxError(f"{folder} lacks the audio of this corpus: run `intervox extract` first")
        return cls(folder)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, row: int, length: int | None = None) -> Waveform:
        """Copy one clip, or its first samples: in [-1, 1].

        Raises
        ------
        IntervoxError
            The clip could not be decoded.
        """
        first, last = self._bounds(row)
        if first == last:
            raise IntervoxError(f"cell {row} has no audio: run `intervox corpus check`")
        stop = last if length is None else min(last, first + length)
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        samples: Waveform = self._samples[shard][first:stop].astype(np.float32)
        return samples / np.float32(_FULL_SCALE)

    def _bounds(self, row: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        place = row - int(self._starts[shard])
        ends = self._ends[shard]
        return int(ends[place - 1]) if place else 0, int(ends[place])


def decode(corpus: Corpus, folder: Path) -> Waves:
    """Decode a corpus, or resume an earlier call: two bytes per sample."""
    step = StepFolder(folder, _key(corpus))
    if not step.complete:
        needed = round((corpus.about.hours or 0) * 3600 * SAMPLE_RATE * 2)
        check_disk("the waveforms of the corpus", needed, folder, "free some, or lower corpus.train.blocks")
        with progress_bar("decoding", corpus.clip_count, "clips") as bar:
            for index in range(corpus.shard_count):
                bar.advance(_decode_shard(corpus, index, folder))
        step.finish()
    return Waves(folder)


def _key(corpus: Corpus) -> str:
    return stable_hash([_VERSION, corpus.key])


def _decode_shard(corpus: Corpus, index: int, folder: Path) -> int:
    """Write one shard's samples, one clip after the other, and where each ends; returns its clips."""
    samples, ends = folder / f"samples-{index:05d}.npy", folder / f"ends-{index:05d}.npy"
    if ends.exists() and samples.exists():
        return len(map_npy(ends))
    waves = [clip.wave for clip in corpus.load_shard(index)]
    joined = np.concatenate([np.zeros(0, np.float32) if wave is None else wave for wave in waves])
    _save(samples, np.round(np.clip(joined, -1, 1) * _FULL_SCALE).astype(np.int16))
    # Written last: where it is there, so are the samples.
    _save(ends, np.cumsum([0 if wave is None else len(wave) for wave in waves]))
    return len(waves)


def _save(path: Path, values: NDArray[np.integer]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values)
