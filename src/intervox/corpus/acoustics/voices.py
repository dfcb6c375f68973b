"""Voice transformation: new speakers, and other styles of one, by WORLD.

Another pitch, vocal tract, breath and rate make a new speaker of a voice; another pitch, pitch range,
rate and spectral tilt another style of the same speaker (``styles``). WORLD takes speech apart into
pitch, spectral envelope and aperiodicity, and puts it together again from changed ones. The words stay.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError, missing_extra
from intervox.seeds import rng

F0_RANGE = (65.0, 400.0)
"""Hz; speaking pitch from low men to children. No transformation leaves it."""

PITCH = (0.70, 1.45)
FORMANTS = (0.85, 1.20)
BREATH = (0.0, 0.5)
RATE = (0.88, 1.14)
"""What is drawn, log-uniformly except for breath; sources in ``docs/quality.md``."""

_LARGEST_TILT = 1.35
_LEAST_CHANGE = 0.06
_FRAME_MS = 5.0
_SEARCH_HZ = (60.0, 500.0)
_LEAD_SAMPLES = 1600
_BREATH_FULL_HZ = 4000.0
_TILT_FROM_HZ = 60.0
_MOST_OCTAVES = 1.0
"""A wider contour leaves its median by no more: an octave error of the tracker must not become two."""

_PART = re.compile(r"(?P<name>pitch|formants|breath|rate|range|tilt)(?P<value>[+-]?\d+(?:\.\d+)?)")

Spectra = NDArray[np.float64]


@dataclass(frozen=True)
class Transformation:
    """How a voice is changed.

    Attributes
    ----------
    pitch
        Ratio of the fundamental frequencies.
    formants
        Ratio of the formant frequencies: above 1, a shorter vocal tract.
    breath
        0 leaves the voice as it is, 1 makes it all noise above 4 kHz.
    rate
        Ratio of the speeds.
    range
        Ratio of the pitch's distances from its median, in octaves.
    tilt
        dB per octave that the spectrum of voiced sounds gains towards high frequencies; their power
        stays.
    """

    pitch: float = 1.0
    formants: float = 1.0
    breath: float = 0.0
    rate: float = 1.0
    range: float = 1.0
    tilt: float = 0.0

    def __str__(self) -> str:
        voice = (
            f"pitch{self.pitch:.2f}/formants{self.formants:.2f}/breath{self.breath:.2f}/rate{self.rate:.2f}"
        )
        styled = (self.range, self.tilt) != (1, 0)
        return voice + (f"/range{self.range:.2f}/tilt{self.tilt:+.2f}" if styled else "")

    @classmethod
    def parse(cls, label: str) -> "Transformation":
        """Read what ``str`` wrote; parts that are left out change nothing.

        Raises
        ------
        IntervoxError
            The label is no transformation.
        """
        parts = [_PART.fullmatch(part) for part in label.split("/")]
        values = {part["name"]: float(part["value"]) for part in parts if part}
        ratios = [value for name, value in values.items() if name not in ("breath", "tilt")]
        if len(values) < len(parts) or min(ratios, default=1) <= 0 or not 0 <= values.get("breath", 0) <= 1:
            raise IntervoxError(
                f"{label!r} is no voice transformation: write it like pitch1.18/formants0.93/breath0.20, "
                "ratios above 0 and breath from 0 to 1"
            )
        return cls(**values)


def draw_transformations(count: int, seed: int) -> list[Transformation]:
    """Spread ``count`` transformations over what people differ by, each another label.

    The points are those of a scrambled Halton sequence, so that a longer list continues where a
    shorter one ends. Left out are those that hardly change anything, and those whose pitch and
    formants go opposite ways by more than 1.35: few people have a long vocal tract and a high voice.
    """
    from scipy.stats import qmc

    points = qmc.Halton(4, rng=rng(seed, "voices.transformations"))
    logs = np.log([PITCH, FORMANTS, RATE])
    found: dict[str, Transformation] = {}
    while len(found) < count:
        for point in points.random(64):
            pitch, formants, rate = np.exp(logs[:, 0] + point[:3] * (logs[:, 1] - logs[:, 0]))
            opposite = abs(np.log(pitch / formants))
            small = abs(np.log(formants)) < _LEAST_CHANGE and abs(np.log(pitch)) < 2 * _LEAST_CHANGE
            if opposite > np.log(_LARGEST_TILT) or small:
                continue
            breath = BREATH[0] + point[3] * (BREATH[1] - BREATH[0])
            label = str(Transformation(pitch, formants, breath, rate))
            found[label] = Transformation.parse(label)
    return list(found.values())[:count]


def transform_voice(wave: Waveform, transformation: Transformation, seed: int) -> Waveform:
    """Let another speaker, or the same in another style, say the same clip.

    Parameters
    ----------
    wave
        Shape (samples,). Silence and unvoiced sounds are fine, as is any length.
    transformation
        Its pitch ratio is held back where the clip's median pitch would leave ``F0_RANGE``.
    seed
        Gives each rendition its own breath noise.

    Returns
    -------
    Waveform
        Shape (samples / rate,), at the level of the input. Equal arguments give equal samples.

    Raises
    ------
    IntervoxError
        The extra ``voices`` is not installed.
    """
    try:
        import pyworld
    except ImportError:
        raise missing_extra("pyworld-prebuilt", "voices", "voice transformation") from None
    length = round(len(wave) / transformation.rate)
    if not len(wave) or not np.any(wave):
        return np.zeros(length, np.float32)
    # WORLD starts its noise anew at each call: other silence before it moves the noise along.
    lead = int(rng(seed, "voices.lead").integers(_LEAD_SAMPLES))
    samples = np.pad(wave.astype(np.float64), (lead, _LEAD_SAMPLES))
    pitch, envelope, noise = _analyse(pyworld, samples)
    spoken = pyworld.synthesize(
        _ranged(pitch, transformation.range) * _pitch_ratio(pitch, transformation.pitch),
        _tilted(_stretched(envelope, transformation.formants), pitch > 0, transformation.tilt),
        _breathed(_stretched(noise, transformation.formants), transformation.breath),
        SAMPLE_RATE,
        _FRAME_MS / transformation.rate,
    )
    start = round(lead / transformation.rate)
    result = spoken[start : start + length]
    power = np.mean(result**2)
    level = np.sqrt(np.mean(samples[lead : lead + len(wave)] ** 2) / power) if power else 0.0
    result = result * min(level, 1 / max(np.abs(result).max(), 1e-9))
    return np.asarray(np.pad(result, (0, length - len(result))), np.float32)


def _analyse(pyworld: Any, samples: Spectra) -> tuple[Spectra, Spectra, Spectra]:
    """Return pitch (frames,) in Hz, 0 where unvoiced, envelope and aperiodicity (frames, bins)."""
    rough, times = pyworld.dio(samples, SAMPLE_RATE, *_SEARCH_HZ, frame_period=_FRAME_MS)
    pitch = pyworld.stonemask(samples, rough, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(samples, pitch, times, SAMPLE_RATE)
    return pitch, envelope, pyworld.d4c(samples, pitch, times, SAMPLE_RATE)


def _pitch_ratio(pitch: Spectra, wanted: float) -> float:
    """Hold the ratio back where the median would leave ``F0_RANGE``, never past no change at all."""
    voiced = pitch[pitch > 0]
    if not len(voiced):
        return wanted
    lowest, highest = np.array(F0_RANGE) / np.median(voiced)
    return float(np.clip(wanted, min(lowest, 1.0), max(highest, 1.0)))


def _ranged(pitch: Spectra, ratio: float) -> Spectra:
    """Move the pitch away from its median, or towards it, on the scale of octaves."""
    voiced = pitch > 0
    if ratio == 1 or not voiced.any():
        return pitch
    median = np.median(pitch[voiced])
    octaves = ratio * np.log2(pitch[voiced] / median)
    result = pitch.copy()
    result[voiced] = median * 2 ** np.clip(octaves, -_MOST_OCTAVES, _MOST_OCTAVES)
    return result


def _tilted(envelope: Spectra, voiced: NDArray[np.bool_], db_per_octave: float) -> Spectra:
    """Tilt the power spectra of voiced frames and keep the power of each.

    Vocal effort changes the glottal source; with unvoiced sounds as they are, it is no channel.
    """
    if not db_per_octave:
        return envelope
    hertz = np.linspace(0, SAMPLE_RATE / 2, envelope.shape[1])
    gain = 10 ** (db_per_octave / 10 * np.log2(np.maximum(hertz, _TILT_FROM_HZ) / 1000))
    tilted = envelope[voiced] * gain
    result = envelope.copy()
    result[voiced] = tilted * (envelope[voiced].sum(axis=1) / tilted.sum(axis=1))[:, None]
    return result


def _stretched(spectra: Spectra, formants: float) -> Spectra:
    """Move what is at f to ``formants`` x f; above the band, its last value goes on."""
    bins = np.arange(spectra.shape[1])
    source = np.minimum(bins / formants, bins[-1])
    below = source.astype(int)
    above, weight = np.minimum(below + 1, bins[-1]), source - below
    logs = np.log(np.maximum(spectra, 1e-16))
    return np.ascontiguousarray(np.exp(logs[:, below] * (1 - weight) + logs[:, above] * weight))


def _breathed(noise: Spectra, breath: float) -> Spectra:
    """Turn a share of the voiced power into noise, rising with frequency up to 4 kHz."""
    hertz = np.linspace(0, SAMPLE_RATE / 2, noise.shape[1])
    share = breath * np.minimum(hertz / _BREATH_FULL_HZ, 1.0)
    return np.sqrt(noise**2 + share * (1 - noise**2))
