"""What conditions refer to and a clip needs at hand: rooms' responses and recordings of noise."""

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from intervox.audio import SAMPLE_RATE, Waveform, duration_seconds, load_audio
from intervox.corpus.rooms import room_responses
from intervox.errors import IntervoxError
from intervox.progress import progress_bar
from intervox.recipe_corpus import ConditionSettings

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au"}
NOISE_SECONDS = 30
"""What is used of a recording: its beginning, so that a worker's cache stays small."""

_FRAME = SAMPLE_RATE // 50
_MANY = 100
"""Files that take long enough to decode for a progress bar."""


@dataclass(frozen=True)
class Acoustics:
    """Small enough to be sent to worker processes; recordings are read where they are needed.

    Attributes
    ----------
    rooms
        Impulse responses, by ``Room.index``.
    noises
        Recordings of noise.
    """

    rooms: tuple[Waveform, ...] = ()
    noises: tuple[Path, ...] = ()


def load_acoustics(settings: ConditionSettings, seed: int, folder: Path) -> Acoustics:
    """Simulate the rooms of a seed, or read them from ``folder``, and try the recordings of noise.

    Every recording is decoded once: a bad one would else stop a long run in its middle.

    Raises
    ------
    IntervoxError
        ``settings.noise_folder`` is missing, empty, or holds a file that is silent or can't be decoded.
    """
    noises = find_noises(settings)
    many = len(noises) > _MANY
    with progress_bar("checking noises", len(noises), "files") if many else nullcontext() as bar:
        for path in noises:
            _decode_noise(path)
            if bar:
                bar.advance(1)
    rooms = room_responses(settings.rooms, seed, folder) if settings.room else ()
    return Acoustics(rooms, noises)


def find_noises(settings: ConditionSettings) -> tuple[Path, ...]:
    """List the audio files under ``settings.noise_folder``, sorted.

    Raises
    ------
    IntervoxError
        The folder is missing, empty, or holds a file that can't be decoded.
    """
    folder = settings.noise_folder
    if folder is None:
        return ()
    if not folder.is_dir():
        raise IntervoxError(
            f"corpus.conditions.noise_folder: {folder} is not a folder: give one that holds recordings"
        )
    paths = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES))
    if not paths:
        raise IntervoxError(
            f"corpus.conditions.noise_folder: {folder} holds no audio files: put some there, or leave it out"
        )
    for path in paths:
        if not duration_seconds(path):
            raise IntervoxError(f"{path} can't be read as audio: take it out of noise_folder")
    return paths


def noise_key(settings: ConditionSettings) -> str:
    """Hash names, sizes and beginnings of the recordings: part of what decides a corpus' bytes.

    Raises
    ------
    IntervoxError
        As ``find_noises``.
    """
    digest = hashlib.sha256()
    for path in find_noises(settings):
        with path.open("rb") as file:
            digest.update(f"{path.relative_to(settings.noise_folder or '')} {path.stat().st_size}\n".encode())
            digest.update(file.read(1 << 16))
    return digest.hexdigest()[:16]


def noise_stretch(noises: tuple[Path, ...], length: int, random: np.random.Generator) -> Waveform:
    """Pick a recording and a place in it, and loop it to ``length`` samples."""
    recording = _read_noise(noises[random.integers(len(noises))])
    start = int(random.integers(len(recording)))
    return recording[(start + np.arange(length)) % len(recording)]


@lru_cache(128)
def _read_noise(path: Path) -> Waveform:
    return _decode_noise(path)


def _decode_noise(path: Path) -> Waveform:
    """Decode a recording and leave out its pauses: a clip that fell into one would get no noise."""
    try:
        wave = load_audio(path)[: NOISE_SECONDS * SAMPLE_RATE]
    except IntervoxError as error:
        reason = str(error).split(":")[0]
        raise IntervoxError(f"{reason}, so it is no noise: take it out of noise_folder") from None
    frames = np.resize(wave, (-(-len(wave) // _FRAME), _FRAME))
    power = np.mean(np.square(frames), axis=1)
    if not power.any():
        raise IntervoxError(
            f"{path} is silent for {NOISE_SECONDS} seconds, so it is no noise: take it out of noise_folder"
        )
    return np.asarray(frames[power > 1e-6 * power.mean()].reshape(-1))
