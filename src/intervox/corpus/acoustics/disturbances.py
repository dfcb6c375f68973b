"""What can happen to a recording, as functions of a waveform that keep its length, and by which devices."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from scipy import fft, signal

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.seeds import rng

Samples = NDArray[np.floating]
Concealment = Literal["repeat", "silence"]
CONCEALMENTS: tuple[Concealment, ...] = ("repeat", "silence")

NOISE_EXPONENTS = {"white": 0.0, "pink": 1.0, "brown": 2.0, "speech": 1.5}
"""Noise colour to the exponent of its 1/f power spectrum; speech is shaped like long-term speech."""

PACKET = SAMPLE_RATE // 50
"""20 ms, what voice over IP sends at a time."""

BURST_PACKETS = 3.0
"""Mean length of a burst of lost packets."""

ROLL_OFF_HZ, PRESENCE_DB, RIPPLE_DB, NOISE_DB = 300.0, 9.0, 2.0, (75.0, 30.0)
"""What the worst microphone has: bass cut-off, presence peak, ripple a term; noise of best and worst."""


class Codec(NamedTuple):
    """How libsndfile is asked for it.

    ``compression`` is libsndfile's level, 0 to 1. ``severity`` is the log-spectral distance that the
    codec causes, relative to the worst one's, measured once on human speech.
    """

    container: str
    subtype: str
    rate: int
    compression: float | None
    severity: float


CODECS = {
    "vorbis": Codec("OGG", "VORBIS", SAMPLE_RATE, 0.5, 0.25),
    "opus": Codec("OGG", "OPUS", SAMPLE_RATE, 0.9, 0.35),
    "mp3": Codec("MP3", "MPEG_LAYER_III", SAMPLE_RATE, 0.5, 0.4),
    "mp3-low": Codec("MP3", "MPEG_LAYER_III", SAMPLE_RATE, 0.9, 0.5),
    "opus-12k": Codec("OGG", "OPUS", SAMPLE_RATE, 0.976, 0.55),
    "vorbis-low": Codec("OGG", "VORBIS", SAMPLE_RATE, 1.0, 0.6),
    "ulaw": Codec("WAV", "ULAW", 8_000, None, 0.8),
    "gsm": Codec("WAV", "GSM610", 8_000, None, 0.95),
    "opus-6k": Codec("OGG", "OPUS", SAMPLE_RATE, 1.0, 1.0),
}


@dataclass(frozen=True)
class Microphone:
    """How one microphone colours what it records.

    Attributes
    ----------
    index
        Its place in the bank.
    severity
        0 (flat and silent) to 1: scales everything below.
    roll_off, presence
        0 to 1, shares of ``ROLL_OFF_HZ`` and ``PRESENCE_DB``.
    presence_hz
        Where the presence peak lies.
    ripple
        Terms of a cosine series over log frequency, each a multiple of ``RIPPLE_DB``.
    """

    index: int
    severity: float
    roll_off: float
    presence: float
    presence_hz: float
    ripple: tuple[float, ...]

    @property
    def snr_db(self) -> float:
        """Ratio of the speech's mean power to that of the self-noise."""
        return NOISE_DB[0] + self.severity * (NOISE_DB[1] - NOISE_DB[0])

    def gains_db(self, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Frequency response at ``frequencies`` in Hz."""
        audible = np.maximum(frequencies, 20.0)
        corner = self.severity * self.roll_off * ROLL_OFF_HZ
        bass = -10 * np.log10(1 + (corner / audible) ** 4)
        peak = self.presence * PRESENCE_DB * np.exp(-12 * np.log10(audible / self.presence_hz) ** 2)
        place = np.pi * np.log(audible / 20.0) / np.log(400.0)
        ripple = sum(RIPPLE_DB * term * np.cos(k * place) for k, term in enumerate(self.ripple, start=1))
        return np.asarray(bass + self.severity * (peak + ripple))

    def __str__(self) -> str:
        return f"mic:{self.index}({self.severity:.2f})"


def draw_microphone(seed: int, index: int) -> Microphone:
    """Return microphone ``index`` of a seed's bank."""
    random = rng(seed, "microphone", index)
    return Microphone(
        index,
        severity=float(random.uniform()),
        roll_off=float(random.uniform(0.3, 1.0)),
        presence=float(random.uniform(0.0, 1.0)),
        presence_hz=float(random.uniform(2000, 6000)),
        ripple=tuple(random.normal(size=6).tolist()),
    )


def reverberated(wave: Samples, response: Waveform) -> Samples:
    """Convolve with a room's impulse response."""
    return np.asarray(signal.fftconvolve(wave, response)[: len(wave)])


def coloured_noise(length: int, exponent: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw Gaussian noise of a 1/f^exponent power spectrum above 50 Hz."""
    size = fft.next_fast_len(length, real=True)
    spectrum = fft.rfft(random.normal(size=size))
    spectrum *= np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0) ** (-exponent / 2)
    return np.asarray(fft.irfft(spectrum, size)[:length])


def with_noise(wave: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise at the given ratio of mean powers."""
    power, noise_power = np.mean(np.square(wave)), np.mean(np.square(noise)) + 1e-20
    return np.asarray(wave + noise * np.sqrt(power / noise_power / 10 ** (snr_db / 10)))


def band_limited(wave: Samples, low_hz: float, high_hz: float) -> Samples:
    """Pass a band, with slopes of 18 dB an octave."""
    band = signal.butter(3, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(signal.sosfilt(band, wave))


def equalised(
    wave: Samples, gains_db: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Filter by a gain in dB at each frequency, without delay."""
    size = fft.next_fast_len(len(wave), real=True)
    gains = 10 ** (gains_db(fft.rfftfreq(size, 1 / SAMPLE_RATE)) / 20)
    return np.asarray(fft.irfft(fft.rfft(wave, size) * gains, size)[: len(wave)])


def tilted(wave: Samples, db_per_octave: float) -> Samples:
    """Tilt the spectrum around 1 kHz, down to 60 Hz."""
    return equalised(wave, lambda f: db_per_octave * np.log2(np.maximum(f, 60.0) / 1000))


def clipped(wave: Samples, share: float) -> Samples:
    """Flatten the given share of the samples."""
    limit = np.quantile(np.abs(wave), 1 - share)
    return np.asarray(np.clip(wave, -limit, limit))


def coded(wave: Samples, name: str) -> Waveform:
    """Encode and decode a wave within [-1, 1] by one of ``CODECS``."""
    codec = CODECS[name]
    buffer = io.BytesIO()
    options: dict[str, Any] = {"format": codec.container, "subtype": codec.subtype}
    if codec.compression is not None:
        options["compression_level"] = codec.compression
    sf.write(buffer, _resampled(wave, SAMPLE_RATE, codec.rate), codec.rate, **options)
    buffer.seek(0)
    decoded, rate = sf.read(buffer, dtype="float32")
    decoded = _resampled(decoded, rate, SAMPLE_RATE)
    # Coders pad to whole frames.
    return np.pad(decoded, (0, max(0, len(wave) - len(decoded))))[: len(wave)]


def lost_packets(count: int, share: float, random: np.random.Generator) -> list[bool]:
    """Draw which packets are lost, by Gilbert's model of a good and a bad state.

    Parameters
    ----------
    share
        Expected share of losses, 0 to 0.75.
    """
    into_loss = share / (1 - share) / BURST_PACKETS
    lost, result = bool(random.random() < share), []
    for draw in random.random(count):
        result.append(lost)
        lost = bool(draw >= 1 / BURST_PACKETS) if lost else bool(draw < into_loss)
    return result


def with_lost_packets(
    wave: Samples, share: float, concealment: Concealment, random: np.random.Generator
) -> Samples:
    """Lose packets in bursts; silence, or the last packet at half its level each time, takes their place."""
    count = -(-len(wave) // PACKET)
    packets = np.pad(wave, (0, count * PACKET - len(wave))).reshape(count, PACKET)
    fade = 0.5 if concealment == "repeat" else 0.0
    for index, lost in enumerate(lost_packets(count, share, random)):
        if lost:
            packets[index] = fade * packets[index - 1] if index else 0.0
    return packets.reshape(-1)[: len(wave)]


def _resampled(wave: Samples, rate: int, wanted: int) -> Waveform:
    return np.asarray(soxr.resample(wave, rate, wanted) if rate != wanted else wave, np.float32)
