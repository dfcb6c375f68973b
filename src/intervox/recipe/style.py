"""The ``corpus.style`` part of the recipe: how differently one speaker speaks."""

from pydantic import ValidationInfo, field_validator

from intervox.recipe.parts import Part, Range, Share

STYLE_BOUNDS = {
    "pitch_semitones": (-12.0, 12.0),
    "pitch_range": (0.25, 4.0),
    "rate": (0.5, 2.0),
    "tilt_db_per_octave": (-6.0, 6.0),
}
"""What the ranges of ``StyleSettings`` may hold."""


class StyleSettings(Part):
    """do(style): how many renditions are spoken otherwise than their speaker would, and how much.

    ``share`` is that of the training renditions, 0 for none, ``held_out`` that of the other splits',
    which are neutral where it is 0. Each styled rendition draws from every range: the pitch, evenly in
    semitones; the pitch's range around its median and the rate, evenly in the logarithm of the ratio;
    the tilt of the voiced sounds' spectrum, which vocal effort flattens (above 0) or steepens.
    """

    share: Share = 0.0
    held_out: Share = 0.0
    pitch_semitones: Range = (-4.0, 4.0)
    pitch_range: Range = (0.5, 2.0)
    rate: Range = (0.7, 1.4)
    tilt_db_per_octave: Range = (-2.0, 2.0)

    @field_validator(*STYLE_BOUNDS)
    @classmethod
    def _within_bounds(cls, value: Range, info: ValidationInfo) -> Range:
        lowest, highest = STYLE_BOUNDS[str(info.field_name)]
        if not lowest <= value[0] <= value[1] <= highest:
            raise ValueError(f"give two numbers from {lowest:g} to {highest:g}, the lower bound first")
        return value

    @property
    def on(self) -> bool:
        """Whether any rendition is styled."""
        return self.share > 0 or self.held_out > 0
