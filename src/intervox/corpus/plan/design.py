"""The design: which cells are synthesised, decided before any is.

Splits share no voice, no voice family and no text; an engine whose ``splits`` leave out ``train`` is held
out as a whole.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from intervox.clips.labels import Text
from intervox.clips.schema import CELL_SCHEMA, Cell, with_factors
from intervox.corpus.acoustics.conditions import Condition, condition_bank
from intervox.corpus.acoustics.styles import FACTOR as STYLE
from intervox.corpus.acoustics.styles import draw_style
from intervox.corpus.acoustics.voices import Transformation
from intervox.corpus.plan.blocks import Block, Deck, all_blocks
from intervox.corpus.plan.people import Cast, Speaker, all_speakers, split_speakers
from intervox.corpus.plan.texts import texts as inventory
from intervox.corpus.plan.unlabelled import unlabelled_blocks
from intervox.engines.base import load_engine
from intervox.errors import IntervoxError
from intervox.recipe.corpus import CorpusRecipe
from intervox.recipe.engines import SPLITS
from intervox.recipe.style import StyleSettings
from intervox.seeds import rng

_AUDITION = range(12, 29)
"""Characters of an audition text: enough to show a voice, and no more than that."""


def plan_cells(recipe: CorpusRecipe, seed: int, casting: Cast | None = None) -> pa.Table:
    """Lay out every cell of the corpus.

    Parameters
    ----------
    recipe
        Engines, texts, block sizes and conditions.
    seed
        Decides everything that is drawn.
    casting
        Merges or leaves out near-duplicate voices.

    Returns
    -------
    pyarrow.Table
        One row per cell, ``CELL_SCHEMA`` and ``plan_factors``, in the order of synthesis. Rows that differ
        in ``copy`` alone are one rendition under different conditions.

    Raises
    ------
    IntervoxError
        A block asks for more speakers or contents than its split has.
    """
    random = rng(seed, "design.blocks")
    speakers = split_speakers(recipe, random, casting)
    texts = _split_texts(recipe, speakers, seed, random)
    conditions = Deck(condition_bank(recipe.conditions, seed)[1:] or [Condition()], random)
    crossing = _Crossing(recipe, seed, conditions, random)
    schema = with_factors(CELL_SCHEMA, plan_factors(recipe))
    tables: list[pa.Table] = []
    count = 0
    # Unlabelled recordings come last: the other cells are those of the recipe without them.
    blocks = chain(all_blocks(recipe, speakers, texts, random), unlabelled_blocks(recipe, seed))
    for number, block in enumerate(blocks):
        rows = [cell.row() for cell in crossing.cells(block, number, count)]
        tables.append(pa.Table.from_pylist(rows, schema=schema))
        count += tables[-1].num_rows
    return pa.concat_tables(tables).combine_chunks()


def plan_factors(recipe: CorpusRecipe) -> list[str]:
    """Name the further columns of a recipe's plan: the factors of its engines' manifests, and style."""
    styled = {STYLE} if recipe.style.on else set()
    return sorted(styled.union(*(load_engine(settings).factors for settings in recipe.engines)))


def plan_audition(recipe: CorpusRecipe, seed: int) -> pa.Table:
    """Lay out the casting's block: every synthetic voice crossed with a few texts of its language.

    Returns
    -------
    pyarrow.Table
        ``CELL_SCHEMA``; one clean training cell each.
    """
    assert recipe.casting is not None
    random = rng(seed, "design.audition")
    everyone = [speaker for settings in recipe.engines for speaker in all_speakers(settings)]
    plain = recipe.model_copy(update={"copies": 1, "dry_copy": True, "style": StyleSettings()})
    crossing = _Crossing(plain, seed, Deck([Condition()], random), random)
    rows: list[dict[str, Any]] = []
    languages = sorted({speaker.voice.language for speaker in everyone if not speaker.recorded})
    for number, language in enumerate(languages):
        people = [s for s in everyone if s.voice.language == language and not s.recorded]
        known = [text for text in inventory(recipe.texts, [language], seed) if len(text.text) in _AUDITION]
        said = [known[index] for index in random.permutation(len(known))[: recipe.casting.texts]]
        if len(said) < recipe.casting.texts:
            raise IntervoxError(
                f"casting needs {recipe.casting.texts} texts of {_AUDITION.start} to "
                f"{_AUDITION.stop - 1} characters in {language!r}: add texts, or lower casting.texts"
            )
        block = Block("train", people, said)
        rows += [cell.row() for cell in crossing.cells(block, number, len(rows))]
    return pa.Table.from_pylist(rows, schema=CELL_SCHEMA)


class _Crossing:
    """Turns blocks into cells, one after the other."""

    def __init__(
        self, recipe: CorpusRecipe, seed: int, conditions: Deck[Condition], random: np.random.Generator
    ) -> None:
        self._recipe = recipe
        self._seed = seed
        self._conditions = conditions
        self._random = random
        self._contents: dict[tuple[str, str], str] = {}
        self._unknown = dict.fromkeys(plan_factors(recipe), "")

    def cells(self, block: Block, number: int, first_id: int) -> Iterator[Cell]:
        """Cross one block; held-out cells are clean, and evaluation degrades them as it does human ones."""
        copies = self._recipe.copies if block.split == "train" else 1
        renditions = ((speaker, text) for speaker in self._present(block) for text in block.said_by(speaker))
        for index, (speaker, text) in enumerate(renditions):
            # One seed for all copies: do(condition) holds the rendition and changes the recording.
            first_copy = first_id + index * copies
            cell_seed = int(rng(self._seed, "design.cell", first_copy).integers(2**31))
            labels = speaker.source.labels(text.text, speaker.voice.name, cell_seed)
            transformation, style = self._styled(block.split, speaker, first_copy)
            for copy, condition in enumerate(self._drawn(block.split, copies)):
                yield Cell(
                    cell_id=first_copy + copy,
                    block=number,
                    split=block.split,
                    speaker=speaker.label,
                    # The same text, however it is punctuated, is one content.
                    content=self._contents.setdefault(text.key, f"t{len(self._contents):05d}"),
                    condition=str(condition),
                    severity=condition.severity,
                    text=text.text,
                    kind=text.kind,
                    language=text.language,
                    engine=speaker.engine,
                    voice=speaker.voice.name,
                    transformation=str(transformation or ""),
                    session=labels.session,
                    seed=cell_seed,
                    copy=copy,
                    factors=self._unknown | style | dict(labels.factors),
                )

    def _present(self, block: Block) -> list[Speaker]:
        """Choose who speaks: merged near-duplicates take turns from block to block."""
        return [
            (one, *one.also)[int(self._random.integers(1 + len(one.also)))] if one.also else one
            for one in block.speakers
        ]

    def _styled(
        self, split: str, speaker: Speaker, first_copy: int
    ) -> tuple[Transformation | None, dict[str, str]]:
        """Say what becomes of a speaker's voice in a rendition, and the style where it is known."""
        settings = self._recipe.style
        if speaker.recorded or not settings.on:
            return speaker.transformation, {}
        # A stream of its own: a corpus with styles has the speakers, texts and conditions of one without.
        random = rng(self._seed, "style.rendition", first_copy)
        style = draw_style(settings, settings.share if split == "train" else settings.held_out, random)
        return style.of(speaker.transformation), {STYLE: style.name}

    def _drawn(self, split: str, copies: int) -> list[Condition]:
        """Draw a rendition's conditions, each another: equal copies would be trivial positives."""
        settings = self._recipe.conditions
        drawn: list[Condition] = []
        for copy in range(copies):
            dry = split != "train" or (self._recipe.dry_copy and copy == 0)
            clean = dry or (self._random.random() < settings.clean and Condition() not in drawn)
            condition = Condition() if clean else self._conditions.draw(1)[0]
            while condition in drawn and len(self._conditions) >= copies:
                condition = self._conditions.after(condition)
            drawn.append(condition)
        return drawn


def _split_texts(
    recipe: CorpusRecipe, speakers: dict[str, list[Speaker]], seed: int, random: np.random.Generator
) -> dict[str, list[Text]]:
    """Share the texts of each language out over the splits that have blocks."""
    everyone = [speaker for people in speakers.values() for speaker in people if not speaker.recorded]
    languages = sorted({speaker.voice.language for speaker in everyone})
    result: dict[str, list[Text]] = {split: [] for split in SPLITS}
    homes: dict[tuple[str, str], str] = {}
    for language in languages:
        texts = inventory(recipe.texts, [language], seed)
        shuffled = [texts[index] for index in random.permutation(len(texts))]
        # Regions of one language share texts, and each text has one split.
        new = [text.key for text in shuffled if text.key not in homes]
        held = round(len(new) * recipe.held_out)
        for split in ("test", "validation"):
            if getattr(recipe, split).blocks:
                homes |= dict.fromkeys(new[:held], split)
                new = new[held:]
        homes |= dict.fromkeys(new, "train")
        for text in shuffled:
            result[homes[text.key]].append(text)
    return result
