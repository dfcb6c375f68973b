"""The speakers of a corpus: every engine's voices, and the new speakers made from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from intervox.audio import Waveform
from intervox.clips.schema import CastingFacts
from intervox.corpus.acoustics.voices import Transformation, draw_transformations
from intervox.engines.base import Engine, Voice, load_engine
from intervox.recipe.corpus import CorpusRecipe
from intervox.recipe.engines import SPLITS, EngineSettings, UnlabelledSettings


class VoiceSpace(Protocol):
    """Tells how far renditions lie from their voices' centroids."""

    def distances(self, waves: Sequence[Waveform], speakers: Sequence[str]) -> list[float | None]:
        """Return a cosine distance each, None for a speaker without a centroid."""


@dataclass(frozen=True)
class Cast:
    """What an audition found.

    Attributes
    ----------
    labels
        Every voice's label to the one it is planned under; None for one that is left out.
    space
        Measures the renditions that follow.
    figures
        How many voices there were and how much they differ, for ``corpus.json``.
    """

    labels: Mapping[str, str | None]
    space: VoiceSpace
    figures: CastingFacts


@dataclass(frozen=True)
class Speaker:
    """One speaker of the corpus.

    Attributes
    ----------
    label
        Value of the ``speaker`` column. Near-duplicate voices that were merged share it.
    transformation
        What makes a new speaker of the voice, or None.
    takes
        For a recorded engine, the texts that this speaker has said; None where anything can be.
    also
        Near-duplicate voices that were merged with this one; renditions take turns.
    """

    label: str
    engine: str
    voice: Voice
    transformation: Transformation | None
    takes: frozenset[str] | None
    source: Engine = field(repr=False, compare=False)
    also: tuple["Speaker", ...] = ()

    @property
    def recorded(self) -> bool:
        """Whether this is a person on record, who says only what was recorded."""
        return self.takes is not None


def all_speakers(settings: EngineSettings, casting: Cast | None = None) -> list[Speaker]:
    """List an engine's voices, then the speakers that voice transformation makes of them.

    Parameters
    ----------
    settings
        ``transformed`` new speakers are made, dealt evenly over the voices.
    casting
        Gives each its label, or leaves it out.
    """
    engine = load_engine(settings)
    takes = engine.takes()
    voices = engine.voices()
    changes = draw_transformations(settings.transformed, seed=0)
    everyone: list[tuple[Voice, Transformation | None]] = [(voice, None) for voice in voices]
    everyone += [(voices[index % len(voices)], change) for index, change in enumerate(changes)]
    speakers: dict[str, Speaker] = {}
    for voice, change in everyone:
        name = f"{settings.key}:{voice.name}" + (f"~{change}" if change else "")
        label = casting.labels.get(name, name) if casting else name
        if label is None:
            continue
        texts = None if takes is None else takes.get(voice.name, frozenset())
        speaker = Speaker(label, settings.key, voice, change, texts, engine)
        first = speakers.setdefault(label, speaker)
        if first is not speaker:
            speakers[label] = replace(first, also=(*first.also, speaker))
    return list(speakers.values())


def split_speakers(
    recipe: CorpusRecipe, random: np.random.Generator, casting: Cast | None = None
) -> dict[str, list[Speaker]]:
    """Share every engine's speakers out over its splits, voice families whole; unlabelled ones are left out.

    Each held-out split gets ``recipe.held_out`` of the engine's voices; an engine that is not in
    train gives its voices to its held-out splits in equal parts.
    """
    result: dict[str, list[Speaker]] = {split: [] for split in SPLITS}
    for settings in recipe.engines:
        if isinstance(settings, UnlabelledSettings):  # its own blocks have it, see plan.unlabelled
            continue
        speakers = all_speakers(settings, casting)
        homes = _family_homes(recipe, settings, speakers, random)
        for speaker in speakers:
            result[homes[speaker.voice.family]].append(speaker)
    return result


def _family_homes(
    recipe: CorpusRecipe, settings: EngineSettings, speakers: list[Speaker], random: np.random.Generator
) -> dict[str, str]:
    """Choose the split of each family: held-out splits are filled up first, train gets the rest."""
    splits = [split for split in settings.splits if split == "train" or getattr(recipe, split).blocks]
    held = [split for split in ("test", "validation") if split in splits]
    rest = "train" if "train" in splits else held.pop() if held else settings.splits[0]
    share = recipe.held_out if rest == "train" else 1 / (len(held) + 1)
    sizes = Counter(speaker.voice.family for speaker in speakers)
    order = [str(family) for family in random.permutation(sorted(sizes))]
    homes: dict[str, str] = dict.fromkeys(order, rest)
    for split in held:
        wanted, filled = round(len(speakers) * share), 0
        for family in order:
            if filled >= wanted:
                break
            if homes[family] == rest:
                homes[family] = split
                filled += sizes[family]
    return homes
