"""do(style): the same speaker, label kept, with another pitch, pitch range, rate and vocal effort.

A style is a change of how its speaker speaks anyway. Its class, the value of the factor ``style``, is
named after what stands out most.
"""

from dataclasses import dataclass

import numpy as np

from intervox.corpus.acoustics.voices import Transformation
from intervox.recipe.style import StyleSettings

FACTOR = "style"
"""Column of the plan where the recipe has styles."""

NEUTRAL = "neutral"

CLASSES = (("low", "high"), ("flat", "lively"), ("slow", "fast"), ("soft", "loud"))
"""Names of styles in which pitch, range, rate or tilt stands out, downwards and upwards."""

_CLEAR = (4.0, 1.0, float(np.log2(1.4)), 2.0)
"""Changes that stand out equally: 4 semitones, twice the range, 1.4 times the rate, 2 dB per octave."""


@dataclass(frozen=True)
class Style:
    """How a rendition departs from its speaker's usual delivery.

    Attributes
    ----------
    semitones
        Of the pitch.
    pitch_range
        Ratio of the pitch's distances from its median, in octaves.
    rate
        Ratio of the speeds.
    tilt
        dB per octave that the spectrum of voiced sounds gains towards high frequencies.
    """

    semitones: float = 0.0
    pitch_range: float = 1.0
    rate: float = 1.0
    tilt: float = 0.0

    @property
    def name(self) -> str:
        """The class: ``neutral``, or that of ``CLASSES`` which stands out most."""
        changes = (
            np.array([self.semitones, np.log2(self.pitch_range), np.log2(self.rate), self.tilt]) / _CLEAR
        )
        most = int(np.argmax(np.abs(changes)))
        return CLASSES[most][int(changes[most] > 0)] if changes[most] else NEUTRAL

    def of(self, voice: Transformation | None) -> Transformation | None:
        """Put the style on a voice that may be a transformed one already: one pass through the vocoder."""
        if self == Style():
            return voice
        voice = voice or Transformation()
        return Transformation(
            voice.pitch * 2 ** (self.semitones / 12),
            voice.formants,
            voice.breath,
            voice.rate * self.rate,
            voice.range * self.pitch_range,
            voice.tilt + self.tilt,
        )


def draw_style(settings: StyleSettings, share: float, random: np.random.Generator) -> Style:
    """Draw a rendition's style, each part by itself; all but ``share`` stay neutral."""
    if random.random() >= share:
        return Style()
    lowest, highest = np.transpose(
        [
            settings.pitch_semitones,
            np.log(settings.pitch_range),
            np.log(settings.rate),
            settings.tilt_db_per_octave,
        ]
    )
    semitones, pitch_range, rate, tilt = random.uniform(lowest, highest).tolist()
    return Style(semitones, float(np.exp(pitch_range)), float(np.exp(rate)), tilt)
