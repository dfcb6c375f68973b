"""The design: which cells are synthesised, decided before any is.

A block crosses a few speakers with a few contents completely. Splits share no voice, no voice
family and no text; an engine whose ``splits`` leave out ``train`` is held out as a whole.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from intervox.clips.corpus import CELL_SCHEMA
from intervox.clips.labels import Text
from intervox.corpus.acoustics.conditions import Condition, condition_bank
from intervox.corpus.plan.people import Casting, Speaker, all_speakers, split_speakers
from intervox.corpus.plan.recorded import Deck, Turns, recorded_blocks
from intervox.corpus.plan.texts import texts as inventory
from intervox.errors import IntervoxError
from intervox.recipe.corpus import SPLITS, BlockSettings, CorpusRecipe
from intervox.seeds import rng

_AUDITION = range(12, 29)
"""Characters of an audition text: enough to show a voice, and no more than that."""


@dataclass(frozen=True)
class Block:
    """A grid of speakers and contents, to be crossed."""

    split: str
    speakers: Sequence[Speaker]
    texts: Sequence[Text]


def plan_cells(recipe: CorpusRecipe, seed: int, casting: Casting | None = None) -> pa.Table:
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
        One row a cell, ``CELL_SCHEMA``, in the order of synthesis. Rows that differ in ``copy``
        alone are one rendition under different conditions.

    Raises
    ------
    IntervoxError
        A block asks for more speakers or contents than its split has.
    """
    random = rng(seed, "design.blocks")
    speakers = split_speakers(recipe, random, casting)
    texts = _split_texts(recipe, speakers, seed, random)
    contents = _Contents()
    conditions = Deck(condition_bank(recipe.conditions, seed)[1:] or [Condition()], random)
    tables: list[pa.Table] = []
    cells = 0
    for number, block in enumerate(_blocks(recipe, speakers, texts, random)):
        rows = list(_cells(recipe, block, seed, cells, contents, conditions, random))
        for offset, row in enumerate(rows):
            row |= {"cell_id": cells + offset, "block": number}
        tables.append(pa.Table.from_pylist(rows, schema=CELL_SCHEMA))
        cells += len(rows)
    return pa.concat_tables(tables).combine_chunks()


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
    plain = recipe.model_copy(update={"copies": 1, "dry_copy": True})
    contents, clean = _Contents(), Deck([Condition()], random)
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
        for row in _cells(plain, block, seed, len(rows), contents, clean, random):
            rows.append(row | {"cell_id": len(rows), "block": number})
    return pa.Table.from_pylist(rows, schema=CELL_SCHEMA)


class _Contents:
    """Labels for contents: the same text, however it is punctuated, is one content."""

    def __init__(self) -> None:
        self._labels: dict[tuple[str, str], str] = {}

    def label(self, text: Text) -> str:
        return self._labels.setdefault(text.key, f"t{len(self._labels):05d}")


def _blocks(
    recipe: CorpusRecipe,
    speakers: dict[str, list[Speaker]],
    texts: dict[str, list[Text]],
    random: np.random.Generator,
) -> Iterator[Block]:
    """Yield each split's synthetic blocks, then its recorded ones."""
    recorded = recorded_blocks(recipe, speakers, texts, random)
    for split in SPLITS:
        settings: BlockSettings = getattr(recipe, split)
        free = [speaker for speaker in speakers[split] if not speaker.recorded]
        if free:
            yield from _synthetic_blocks(recipe, split, free, texts[split], random)
        elif settings.blocks and not recorded[split]:
            raise IntervoxError(
                f"corpus.{split} has blocks but no speakers: add it to an engine's `splits`, or raise "
                "`voices` or held_out until the split's share is at least one voice family"
            )
        yield from (Block(split, people, said) for people, said in recorded[split])


def _synthetic_blocks(
    recipe: CorpusRecipe,
    split: str,
    speakers: Sequence[Speaker],
    texts: Sequence[Text],
    random: np.random.Generator,
) -> Iterator[Block]:
    """Deal speakers and texts of one language into each block, every engine by its share."""
    settings: BlockSettings = getattr(recipe, split)
    shares: dict[str, float] = {engine.name: engine.share for engine in recipe.engines}
    languages = Counter(speaker.voice.language for speaker in speakers)
    turns = Turns({language: float(count) for language, count in languages.items()})
    dealers = {
        language: _Dealer(
            [speaker for speaker in speakers if speaker.voice.language == language],
            [text for text in texts if text.language == language],
            shares,
            random,
        )
        for language in languages
    }
    for _ in range(settings.blocks):
        people, said = dealers[turns.next()].deal(split, settings)
        yield Block(split, people, said)


class _Dealer:
    """Blocks of one split and language: everyone has a turn before anyone has a second."""

    def __init__(
        self,
        speakers: Sequence[Speaker],
        texts: Sequence[Text],
        shares: dict[str, float],
        random: np.random.Generator,
    ) -> None:
        self._language = speakers[0].voice.language
        self._sizes = Counter(speaker.engine for speaker in speakers)
        self._engines = Turns({engine: shares[engine] for engine in self._sizes})
        self._speakers = {
            engine: Deck([speaker for speaker in speakers if speaker.engine == engine], random)
            for engine in self._sizes
        }
        self._texts = Deck(texts, random)

    def deal(self, split: str, settings: BlockSettings) -> tuple[list[Speaker], list[Text]]:
        for what, found in (("speakers", self._sizes.total()), ("contents", len(self._texts))):
            wanted = getattr(settings, what)
            if found < wanted:
                raise IntervoxError(
                    f"corpus.{split}.{what} asks for {wanted} in a block, but only {found} of language "
                    f"{self._language!r} are in the {split} split: raise the number of voices or texts, or "
                    f"lower corpus.{split}.{what}"
                )
        slots: Counter[str] = Counter()
        for _ in range(settings.speakers):
            full = {engine for engine, size in self._sizes.items() if slots[engine] == size}
            slots[self._engines.next(full)] += 1
        people = [speaker for engine in slots for speaker in self._speakers[engine].draw(slots[engine])]
        return people, self._texts.draw(settings.contents)


def _cells(
    recipe: CorpusRecipe,
    block: Block,
    seed: int,
    first_id: int,
    contents: _Contents,
    conditions: Deck[Condition],
    random: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """Cross one block; held-out cells are clean, and evaluation degrades them as it does human ones."""
    copies = recipe.copies if block.split == "train" else 1
    # Merged near-duplicates take turns from block to block.
    speakers = [(s, *s.also)[int(random.integers(1 + len(s.also)))] if s.also else s for s in block.speakers]
    renditions = ((speaker, text) for speaker in speakers for text in block.texts)
    for index, (speaker, text) in enumerate(renditions):
        # One seed for all copies: do(condition) holds the rendition and changes the recording.
        cell_seed = int(rng(seed, "design.cell", first_id + index * copies).integers(2**31))
        shared = {
            "split": block.split,
            "speaker": speaker.label,
            "content": contents.label(text),
            "text": text.text,
            "kind": text.kind,
            "language": text.language,
            "engine": speaker.engine,
            "voice": speaker.voice.name,
            "transformation": str(speaker.transformation or ""),
            "session": speaker.session(text.text, cell_seed),
            "seed": cell_seed,
        }
        for copy, condition in enumerate(_conditions(recipe, block.split, copies, conditions, random)):
            yield shared | {"condition": str(condition), "severity": condition.severity, "copy": copy}


def _conditions(
    recipe: CorpusRecipe, split: str, copies: int, deck: Deck[Condition], random: np.random.Generator
) -> list[Condition]:
    """Draw a rendition's conditions, each another: equal copies would be trivial positives."""
    drawn: list[Condition] = []
    for copy in range(copies):
        dry = split != "train" or (recipe.dry_copy and copy == 0)
        clean = dry or (random.random() < recipe.conditions.clean and Condition() not in drawn)
        condition = Condition() if clean else deck.draw(1)[0]
        while condition in drawn and len(deck) >= copies:
            condition = deck.after(condition)
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
