"""Clips of synthetic speakers, for tests in which who speaks, or what is said, has to be heard."""

from functools import cache

from intervox.audio import Waveform
from intervox.engines.base import load_engine
from intervox.recipe.engines import EspeakSettings

SENTENCES = (
    "the harbour was quiet before the first boats came in",
    "she carried seven oranges over the narrow bridge",
    "nobody expected the clock to strike thirteen again",
)


@cache
def spoken(speaker: int, text: str = SENTENCES[0], seed: int = 0) -> Waveform:
    """Say a text with one of a few voices; the seed moves pitch and pace as one person does."""
    engine = load_engine(EspeakSettings(voices=12))
    return engine.render(text, engine.voices()[speaker].name, seed)
