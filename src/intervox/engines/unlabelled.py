"""Recordings that nobody labelled: each file stands for a voice, and is cut into pieces.

What is known of them is little, and enough to learn from: the pieces of one file are of one voice, and no two
pieces are the same words. Two files may be of one person, whom training then tells apart from himself; it is
the usual assumption of learning speakers without labels, and holds the better the more people there are.
"""

import re
import warnings
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Waveform, load_audio
from intervox.clips.manifest import read_paths
from intervox.clips.paths import find_path, is_clutter
from intervox.clips.records import format_of
from intervox.clips.text_files import read_lines
from intervox.engines.base import Engine, RenderError, Voice
from intervox.errors import IntervoxError, IntervoxWarning
from intervox.progress import progress_bar
from intervox.recipe.engines import UnlabelledSettings
from intervox.seeds import rng
from intervox.storage import stable_hash

FRAMES_PER_SECOND = 100
_SILENCE_DB = -45.0
_SMOOTHED = 5
"""Frames whose mean level decides where to cut: a pause is longer than the gap within a stop."""

_PLACE = re.compile(r"(\d+\.\d\d)-(\d+\.\d\d) s of file \d+")

Cut = tuple[int, int]
"""First frame of a piece, and the frame after its last."""


class UnlabelledEngine(Engine):
    """The ``unlabelled`` engine; the text of a rendition is the place of a piece in its file."""

    name = "unlabelled"

    def __init__(self, settings: UnlabelledSettings) -> None:
        self.licence = settings.licence
        self._settings = settings
        self._root = Path(find_path(str(settings.files)))
        self._paths = dict(_listed(self._root))
        if not self._paths:
            raise IntervoxError(
                f"engines: {self._root} holds no audio files: put recordings there, or name others"
            )

    @property
    def version(self) -> str:
        stamps = ((name, path.stat()) for name, path in self._paths.items())
        return stable_hash([[name, stamp.st_size, stamp.st_mtime_ns] for name, stamp in stamps])

    @property
    def paths(self) -> list[Path]:
        """Every recording that may be learnt from."""
        return list(self._paths.values())

    def voices(self) -> list[Voice]:
        """Return a voice for each file that can be cut into two pieces, or ``voices`` of them."""
        return [Voice(name, name, self._settings.language) for name in self._pieces]

    def takes(self) -> dict[str, frozenset[str]]:
        return self._pieces

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Return the piece that the text names."""
        place = _PLACE.fullmatch(text)
        if voice not in self._paths or not place:
            raise RenderError(f"{self._root} has no piece {text!r} of {voice}")
        first, end = (round(float(seconds) * SAMPLE_RATE) for seconds in place.groups())
        try:
            return _load(self._paths[voice])[first:end]
        except IntervoxError as error:
            raise RenderError(str(error)) from None

    @cached_property
    def _pieces(self) -> dict[str, frozenset[str]]:
        """Cut as many files as are asked for; those that can't be used are reported together."""
        names = list(self._paths)
        wanted = self._settings.voices or len(names)
        found: dict[int, frozenset[str]] = {}
        skipped = []
        with progress_bar("cutting recordings", min(wanted, len(names)), "files") as bar:
            for number in rng(0, "unlabelled.files").permutation(len(names)).tolist():
                if len(found) == wanted:
                    break
                try:
                    found[number] = frozenset(self._cut(number, self._paths[names[number]]))
                    bar.advance(1)
                except IntervoxError as error:
                    skipped.append(str(error))
        if skipped:
            count = f"{len(skipped):,} of {len(names):,} files in {self._root}"
            warnings.warn(f"left out {count}; the first: {skipped[0]}", IntervoxWarning, stacklevel=2)
        if not found:
            raise IntervoxError(
                f"engines: no file in {self._root} can be cut into two pieces: give longer recordings, "
                "or lower `min_seconds`"
            )
        if self._settings.voices and len(found) < wanted:
            raise IntervoxError(
                f"engines: {wanted:,} files were asked for, but {len(found):,} in {self._root} can be cut "
                "into two pieces: lower `voices` or `min_seconds`, or give more recordings"
            )
        return {names[number]: found[number] for number in sorted(found)}

    def _cut(self, number: int, path: Path) -> Iterator[str]:
        shortest, longest = self._settings.min_seconds, self._settings.max_seconds
        wave = _load(path)
        cuts = cut(wave, shortest, longest)
        if len(cuts) < 2:  # one piece alone would make its own copies the voice
            cuts = cut(wave, shortest, 2 * shortest)
        if len(cuts) < 2:
            raise IntervoxError(f"{path} is too short to be cut into two pieces of {shortest:g} s or more")
        for first, end in cuts:
            yield f"{first / FRAMES_PER_SECOND:.2f}-{end / FRAMES_PER_SECOND:.2f} s of file {number}"


def cut(wave: Waveform, min_seconds: float, max_seconds: float) -> list[Cut]:
    """Cut a recording at its quietest moments into pieces without silence at their ends.

    Parameters
    ----------
    wave
        16 kHz.
    min_seconds, max_seconds
        Bounds of a piece; the second is at least twice the first. What is shorter is left out.

    Returns
    -------
    list
        First and end of each piece, in frames of 10 ms.
    """
    shortest, longest = (round(seconds * FRAMES_PER_SECOND) for seconds in (min_seconds, max_seconds))
    power = _power(wave)
    heard = np.flatnonzero(power > power.max(initial=0) * 10 ** (_SILENCE_DB / 10))
    level = np.convolve(power, np.ones(_SMOOTHED), mode="same")
    cuts: list[Cut] = []
    rest = heard
    while len(rest):
        first, last = int(rest[0]), int(heard[-1]) + 1
        end = last
        if last - first > longest:
            # So that what is left is no shorter than a piece, either.
            latest = min(first + longest, last - shortest)
            end = first + shortest + int(np.argmin(level[first + shortest : latest + 1]))
        rest = rest[np.searchsorted(rest, end) :]
        spoken = int(heard[np.searchsorted(heard, end) - 1]) + 1
        if spoken - first >= shortest:
            cuts.append((first, spoken))
    return cuts


def _power(wave: Waveform) -> NDArray[np.float32]:
    size = SAMPLE_RATE // FRAMES_PER_SECOND
    frames = wave[: len(wave) // size * size].reshape(-1, size)
    return np.asarray(np.einsum("ij,ij->i", frames, frames) / size, np.float32)


@lru_cache(maxsize=1)
def _load(path: Path) -> Waveform:
    """Read a file once for all the pieces that follow each other."""
    return load_audio(path)


def _listed(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the path of every recording of a folder or a list."""
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        yield from (
            (path.relative_to(source).as_posix(), path)
            for path in found
            if path.is_file() and not is_clutter(path.name)
        )
        return
    if not source.is_file():
        raise IntervoxError(
            f"engines: `files` is {source}, which is neither a folder nor a list: put recordings there, or "
            "name where they lie"
        )
    named = [path for _, path in read_paths(source)] if format_of(source) else read_lines(source, "a list")
    for name in dict.fromkeys(line.strip() for line in named if line.strip()):
        path = Path(find_path(name))
        if not path.is_file():
            raise IntervoxError(f"{source} names {name}, which is not a file: correct it")
        yield name, path
