"""do(condition): the room, the noise and the channel between a speaker and the recording.

A condition is drawn from the cell's seed and written into the plan as readable text, so a clip says
what was done to it. Rooms come from a bank of impulse responses, simulated once: drawing one of
them costs nothing, simulating one a clip would cost more than everything else together.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from scipy import fft, signal

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.recipe_corpus import ConditionSettings
from intervox.schema import Range
from intervox.storage import atomic_path

CODECS = {
    "ulaw": ("WAV", "ULAW", 8_000),
    "gsm": ("WAV", "GSM610", 8_000),
    "mp3": ("MP3", "MPEG_LAYER_III", SAMPLE_RATE),
    "opus": ("OGG", "OPUS", SAMPLE_RATE),
    "vorbis": ("OGG", "VORBIS", SAMPLE_RATE),
}
"""Name to libsndfile container, subtype and sample rate."""

NOISE_EXPONENTS = {"white": 0.0, "pink": 1.0, "brown": 2.0, "speech": 1.5}
"""Noise colour to the exponent of its 1/f power spectrum; speech is shaped like long-term speech."""


@dataclass(frozen=True)
class Condition:
    """One draw; ``None`` (or zero) means that the disturbance is absent.

    Attributes
    ----------
    pad_before, pad_after
        Silence around the speech in seconds, filled by the noise.
    room
        Index into the bank.
    noise, snr_db
        Colour, and the ratio of mean powers in dB.
    band
        Low and high cut-off in Hz.
    tilt
        Spectral tilt around 1 kHz in dB per octave.
    level
        Peak in dBFS.
    clipped_share
        Share of samples flattened.
    codec
        A key of ``CODECS``.
    """

    pad_before: float = 0.0
    pad_after: float = 0.0
    room: int | None = None
    noise: str | None = None
    snr_db: float = 0.0
    band: tuple[float, float] | None = None
    tilt: float | None = None
    level: float | None = None
    clipped_share: float | None = None
    codec: str | None = None

    def __str__(self) -> str:
        parts = []
        if self.pad_before or self.pad_after:
            parts.append(f"pad:{self.pad_before:.2f}+{self.pad_after:.2f}s")
        if self.room is not None:
            parts.append(f"room:{self.room}")
        if self.noise:
            parts.append(f"noise:{self.noise}@{self.snr_db:.0f}dB")
        if self.band:
            parts.append(f"band:{self.band[0]:.0f}-{self.band[1]:.0f}Hz")
        if self.tilt is not None:
            parts.append(f"tilt:{self.tilt:+.1f}dB/oct")
        if self.clipped_share is not None:
            parts.append(f"clip:{100 * self.clipped_share:.1f}%")
        if self.codec:
            parts.append(f"codec:{self.codec}")
        if self.level is not None:
            parts.append(f"level:{self.level:.0f}dBFS")
        return " ".join(parts) or "clean"


def draw_condition(settings: ConditionSettings, random: np.random.Generator) -> Condition:
    """Draw each disturbance independently, or none of them."""

    def happens(probability: float) -> bool:
        return bool(random.random() < probability)

    def within(bounds: Range) -> float:
        return float(random.uniform(*bounds))

    if happens(settings.clean):
        return Condition()
    padded = happens(settings.padding)
    noisy = happens(settings.noise)
    return Condition(
        pad_before=within(settings.padding_seconds) if padded else 0.0,
        pad_after=within(settings.padding_seconds) if padded else 0.0,
        room=int(random.integers(settings.rooms)) if happens(settings.room) else None,
        noise=str(random.choice(list(NOISE_EXPONENTS))) if noisy else None,
        snr_db=within(settings.snr_db) if noisy else 0.0,
        band=(within(settings.low_hz), within(settings.high_hz)) if happens(settings.band) else None,
        tilt=within(settings.tilt_db_per_octave) if happens(settings.tilt) else None,
        level=within(settings.level_dbfs) if happens(settings.level) else None,
        clipped_share=within(settings.clipped_share) if happens(settings.clipping) else None,
        codec=str(random.choice(list(CODECS))) if happens(settings.codec) else None,
    )


def apply_condition(
    wave: Waveform, condition: Condition, rooms: list[Waveform], random: np.random.Generator
) -> Waveform:
    """Return the clip as it would be recorded; longer than it was by the padding alone.

    Parameters
    ----------
    wave
        Shape (samples,).
    condition
        What to do, in this order: padding, room, noise, band, tilt, clipping, codec, level.
    rooms
        Impulse responses that ``condition.room`` indexes.
    random
        Draws the noise samples.
    """
    before, after = (round(s * SAMPLE_RATE) for s in (condition.pad_before, condition.pad_after))
    result: NDArray[np.floating] = np.pad(wave, (before, after))
    if condition.room is not None:
        result = signal.fftconvolve(result, rooms[condition.room])[: len(result)]
    if condition.noise:
        result = result + _noise(result, NOISE_EXPONENTS[condition.noise], condition.snr_db, random)
    if condition.band:
        result = signal.sosfilt(_band_filter(*condition.band), result)
    if condition.tilt is not None:
        result = _tilted(result, condition.tilt)
    if condition.clipped_share is not None:
        limit = np.quantile(np.abs(result), 1 - condition.clipped_share)
        result = np.clip(result, -limit, limit)
    peak = float(np.abs(result).max())
    if peak > 0 and condition != Condition():
        result = result * (0.9 / peak)
        if condition.codec:
            result = _coded(result.astype(np.float32), condition.codec)
        if condition.level is not None:
            result = result * (10 ** (condition.level / 20) / 0.9)
    return result.astype(np.float32)


def room_bank(count: int, seed: int, folder: Path) -> list[Waveform]:
    """Return ``count`` impulse responses of drawn rooms, simulated once and then read from ``folder``.

    Each is a shoebox of 2 to 10 m with a reverberation time of 0.15 to 0.9 s, and a speaker 0.3 to
    3 m from the microphone (image source method, pyroomacoustics). They begin at the direct path
    and have unit energy, so a room neither delays nor amplifies.
    """
    path = folder / f"rooms-{seed}-{count}.npz"
    if not path.exists():
        bank = [_simulate_room(np.random.default_rng([seed, index])) for index in range(count)]
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, *bank)
    with np.load(path, allow_pickle=False) as stored:
        return [stored[f"arr_{index}"] for index in range(count)]


def _simulate_room(random: np.random.Generator) -> Waveform:
    import pyroomacoustics as pra

    while True:
        size = random.uniform([2.5, 2.5, 2.3], [10.0, 8.0, 4.0])
        reverberation = random.uniform(0.15, 0.9)
        microphone = random.uniform(0.5, size - 0.5)
        direction = random.normal(size=3) * [1, 1, 0.3]
        speaker = microphone + random.uniform(0.3, 3.0) * direction / np.linalg.norm(direction)
        if (speaker < 0.3).any() or (speaker > size - 0.3).any():
            continue
        try:
            absorption, _ = pra.inverse_sabine(reverberation, size)
        except ValueError:
            continue  # no wall absorbs enough for so short a reverberation in so large a room
        # Order 10 holds the early reflections; an exponential tail stands for the dense rest.
        room = pra.ShoeBox(size, fs=SAMPLE_RATE, materials=pra.Material(absorption), max_order=10)
        room.add_source(speaker)
        room.add_microphone(microphone)
        room.compute_rir()
        return _finish_room(np.asarray(room.rir[0][0]), reverberation, random)


def _finish_room(
    response: NDArray[np.float64], reverberation: float, random: np.random.Generator
) -> Waveform:
    """Cut to the direct path, add the late tail, and normalise to unit energy."""
    direct = int(np.argmax(np.abs(response)))
    response = response[max(0, direct - 20) :]
    length = int(reverberation * SAMPLE_RATE)
    result = np.zeros(length)
    kept = min(length, len(response))
    result[:kept] = response[:kept]
    late = int(0.05 * SAMPLE_RATE)
    if length > 2 * late:
        time = np.arange(length) / SAMPLE_RATE
        tail = random.normal(size=length) * np.exp(-6.9 * time / reverberation)
        tail[:late] = 0
        reference = np.sqrt(np.mean(response[late // 2 : late] ** 2)) + 1e-9
        result += tail * reference * np.exp(6.9 * 0.05 / reverberation)
    return np.asarray(result / np.sqrt(np.sum(result**2)), np.float32)


def _noise(
    wave: NDArray[np.floating], exponent: float, snr_db: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Noise of a 1/f^exponent spectrum at the given ratio to the clip's mean power."""
    size = fft.next_fast_len(len(wave), real=True)
    spectrum = fft.rfft(random.normal(size=size))
    spectrum *= np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0) ** (-exponent / 2)
    noise = fft.irfft(spectrum, size)[: len(wave)]
    power, noise_power = np.mean(np.square(wave)), np.mean(np.square(noise)) + 1e-20
    return np.asarray(noise * np.sqrt(power / noise_power / 10 ** (snr_db / 10)))


def _band_filter(low: float, high: float) -> NDArray[np.float64]:
    return np.asarray(signal.butter(3, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"))


def _tilted(wave: NDArray[np.floating], db_per_octave: float) -> NDArray[np.float64]:
    size = fft.next_fast_len(len(wave), real=True)
    octaves = np.log2(np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 60.0) / 1000)
    gains = 10 ** (db_per_octave * octaves / 20)
    return np.asarray(fft.irfft(fft.rfft(wave, size) * gains, size)[: len(wave)])


def _coded(wave: Waveform, codec: str) -> Waveform:
    """Encode and decode, keeping the length (coders pad to whole frames and add a delay)."""
    container, subtype, rate = CODECS[codec]
    buffer = io.BytesIO()
    sf.write(buffer, soxr.resample(wave, SAMPLE_RATE, rate), rate, format=container, subtype=subtype)
    buffer.seek(0)
    decoded, decoded_rate = sf.read(buffer, dtype="float32")
    decoded = soxr.resample(decoded, decoded_rate, SAMPLE_RATE)
    padded = np.pad(decoded, (0, max(0, len(wave) - len(decoded))))
    return np.asarray(padded[: len(wave)], np.float32)
