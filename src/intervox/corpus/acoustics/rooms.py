"""Where a clip is heard: simulated rooms, and recordings of the noise in them.

A room is drawn from a seed and described without being simulated; a bank is simulated once and stored.
"""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Waveform, duration_seconds, load_audio
from intervox.errors import IntervoxError
from intervox.progress import progress_bar
from intervox.recipe.corpus import ConditionSettings
from intervox.seeds import rng
from intervox.storage import atomic_path

T60_SECONDS = (0.15, 0.9)
"""Reverberation times are drawn from here."""

NOISE_SECONDS = 30
"""What is used of a recording: its beginning, so that a worker's cache stays small."""

_FRAME = SAMPLE_RATE // 50

Point = tuple[float, float, float]
"""Metres along length, width and height."""


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
    if noises:
        with progress_bar("checking noises", len(noises), "files") as bar:
            for path in noises:
                _decode_noise(path)
                bar.advance(1)
    rooms = room_responses(settings.rooms, seed, folder) if settings.room else ()
    return Acoustics(rooms, noises)


@dataclass(frozen=True)
class Room:
    """A shoebox with a speaker and a microphone in it.

    Attributes
    ----------
    index
        Its place in the bank.
    size, speaker, microphone
        In metres.
    t60
        Reverberation time in seconds.
    """

    index: int
    size: Point
    t60: float
    speaker: Point
    microphone: Point

    @property
    def drr_db(self) -> float:
        """Ratio of direct to reverberant energy by the theory of diffuse fields."""
        distance = float(np.linalg.norm(np.subtract(self.speaker, self.microphone)))
        return float(20 * np.log10(0.057 * np.sqrt(np.prod(self.size) / self.t60) / distance))

    @property
    def severity(self) -> float:
        """Reverberation time as a share of the longest, times the share of energy that is reverberant."""
        return self.t60 / T60_SECONDS[1] / (1 + 10 ** (self.drr_db / 10))

    def __str__(self) -> str:
        return f"room:{self.index}(t60={self.t60:.2f}s)"


def draw_room(seed: int, index: int) -> Room:
    """Return room ``index`` of a seed's bank: 2.3 to 10 m a side, the speaker 0.3 to 3 m away."""
    return _draw_room(index, rng(seed, "room", index))


def room_responses(count: int, seed: int, folder: Path) -> tuple[Waveform, ...]:
    """Return the impulse responses of a bank, simulated once and then read from ``folder``.

    They begin at the direct path and have unit energy, so a room neither delays nor amplifies.
    """
    path = folder / f"rooms-{seed}-{count}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return tuple(stored[f"arr_{index}"] for index in range(count))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        # Not there yet, or damaged: it says nothing that can't be simulated again.
        bank = tuple(_simulate(seed, index) for index in range(count))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, *bank)
    return bank


def _draw_room(index: int, random: np.random.Generator) -> Room:
    while True:
        size = random.uniform([2.5, 2.5, 2.3], [10.0, 8.0, 4.0])
        t60 = random.uniform(*T60_SECONDS)
        microphone = random.uniform(0.5, size - 0.5)
        direction = random.normal(size=3) * [1, 1, 0.3]
        speaker = microphone + random.uniform(0.3, 3.0) * direction / np.linalg.norm(direction)
        inside = (speaker >= 0.3).all() and (speaker <= size - 0.3).all()
        if inside and _absorption(t60, size) is not None:
            return Room(index, _point(size), float(t60), _point(speaker), _point(microphone))


def _point(values: NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


def _absorption(t60: float, size: Point | NDArray[np.float64]) -> float | None:
    """Absorption of the walls by Sabine's formula; none is enough for a short t60 in a large room."""
    import pyroomacoustics as pra

    try:
        return float(pra.inverse_sabine(t60, size)[0])
    except ValueError:
        return None


def _simulate(seed: int, index: int) -> Waveform:
    """Image source method for the early reflections, an exponential tail for the dense rest."""
    import pyroomacoustics as pra

    random = rng(seed, "room", index)
    drawn = _draw_room(index, random)
    walls = pra.Material(_absorption(drawn.t60, drawn.size))
    room = pra.ShoeBox(drawn.size, fs=SAMPLE_RATE, materials=walls, max_order=10)
    room.add_source(drawn.speaker)
    room.add_microphone(drawn.microphone)
    room.compute_rir()
    return _finish(np.asarray(room.rir[0][0]), drawn.t60, random)


def _finish(response: NDArray[np.float64], t60: float, random: np.random.Generator) -> Waveform:
    """Cut to the direct path, add the late tail, and normalise to unit energy."""
    direct = int(np.argmax(np.abs(response)))
    response = response[max(0, direct - 20) :]
    length = int(t60 * SAMPLE_RATE)
    result = np.zeros(length)
    kept = min(length, len(response))
    result[:kept] = response[:kept]
    late = int(0.05 * SAMPLE_RATE)
    if length > 2 * late:
        time = np.arange(length) / SAMPLE_RATE
        tail = random.normal(size=length) * np.exp(-6.9 * time / t60)
        tail[:late] = 0
        reference = np.sqrt(np.mean(response[late // 2 : late] ** 2)) + 1e-9
        result += tail * reference * np.exp(6.9 * 0.05 / t60)
    return np.asarray(result / np.sqrt(np.sum(result**2)), np.float32)


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


def _decode_noise(path: Path) -> Waveform:
    """Decode a recording and leave out its pauses: a clip that fell into one would get no noise."""
    try:
        wave = load_audio(path, strict=True)[: NOISE_SECONDS * SAMPLE_RATE]
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


_read_noise = lru_cache(128)(_decode_noise)
