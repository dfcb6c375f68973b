"""The design: which cells are synthesised, decided before any is.

A block crosses a few speakers with a few contents completely. Training blocks and test blocks share
no voice, no voice family and no text, so what is measured on the test cells was never trained on.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa

from intervox.corpus.conditions import Condition, draw_condition
from intervox.corpus.texts import builtin_texts, read_texts
from intervox.engines.base import Voice, load_engine
from intervox.errors import IntervoxError
from intervox.recipe_corpus import BlockSettings, ConditionSettings, CorpusRecipe

SPLITS = ("train", "test")

CELL_SCHEMA = pa.schema(
    [
        ("cell_id", pa.int64()),
        ("block", pa.int64()),
        ("split", pa.string()),
        ("speaker", pa.string()),
        ("content", pa.string()),
        ("condition", pa.string()),
        ("text", pa.string()),
        ("language", pa.string()),
        ("engine", pa.string()),
        ("voice", pa.string()),
        ("seed", pa.int64()),
        ("copy", pa.int64()),
    ]
)

Item = TypeVar("Item")

Speaker = tuple[str, Voice]
"""Engine name and voice."""


def plan_cells(recipe: CorpusRecipe, seed: int) -> pa.Table:
    """Lay out every cell of the corpus.

    Parameters
    ----------
    recipe
        Engines, texts, block sizes and conditions.
    seed
        Decides everything that is drawn.

    Returns
    -------
    pyarrow.Table
        One row a cell, ``CELL_SCHEMA``, in the order of synthesis. Rows that differ in ``copy``
        alone are one rendition under different conditions.
    """
    random = np.random.default_rng([seed, 2])
    speakers = _split_speakers(recipe, random)
    contents = _split_texts(recipe, seed, random)
    rows: list[dict[str, object]] = []
    block = 0
    for split in SPLITS:
        settings: BlockSettings = getattr(recipe, split)
        people = _balanced(len(speakers[split]), settings.speakers, settings.blocks, random)
        texts = _balanced(len(contents[split]), settings.contents, settings.blocks, random)
        for who, what in zip(people, texts, strict=True):
            for speaker in (speakers[split][index] for index in who):
                for content, text in (contents[split][index] for index in what):
                    rows += _cell_rows(recipe, len(rows), block, split, speaker, content, text, seed)
            block += 1
    return pa.Table.from_pylist(rows, schema=CELL_SCHEMA)


def cell_condition(
    settings: ConditionSettings, split: str, cell_seed: int, copy: int
) -> tuple[Condition, np.random.Generator]:
    """Return a cell's condition and the generator that goes on to draw its noise.

    Test cells are clean: evaluation puts its own conditions on them, as on human recordings.
    """
    random = np.random.default_rng([cell_seed, copy, 3])
    return (draw_condition(settings, random) if split == "train" else Condition()), random


def _cell_rows(
    recipe: CorpusRecipe,
    first_id: int,
    block: int,
    split: str,
    speaker: Speaker,
    content: str,
    text: str,
    seed: int,
) -> list[dict[str, object]]:
    engine, voice = speaker
    # One seed for all copies: do(condition) holds the rendition and changes the recording.
    cell_seed = int(np.random.default_rng([seed, first_id, 4]).integers(2**31))
    return [
        {
            "cell_id": first_id + copy,
            "block": block,
            "split": split,
            "speaker": f"{engine}:{voice.name}",
            "content": content,
            "condition": str(cell_condition(recipe.conditions, split, cell_seed, copy)[0]),
            "text": text,
            "language": voice.language,
            "engine": engine,
            "voice": voice.name,
            "seed": cell_seed,
            "copy": copy,
        }
        for copy in range(recipe.copies if split == "train" else 1)
    ]


def _split_speakers(recipe: CorpusRecipe, random: np.random.Generator) -> dict[str, list[Speaker]]:
    """Hold out whole voice families until the wanted share of voices is reached."""
    train: list[Speaker] = []
    test: list[Speaker] = []
    for settings in recipe.engines:
        voices = load_engine(settings).voices()
        wanted = round(len(voices) * recipe.held_out)
        held: set[str] = set()
        for family in random.permutation(sorted({voice.family for voice in voices})):
            if sum(voice.family in held for voice in voices) >= wanted:
                break
            held.add(str(family))
        for voice in voices:
            (test if voice.family in held else train).append((settings.name, voice))
    return _checked("speakers", recipe, {"train": train, "test": test})


def _split_texts(
    recipe: CorpusRecipe, seed: int, random: np.random.Generator
) -> dict[str, list[tuple[str, str]]]:
    source = recipe.texts
    texts = read_texts(source.file) if source.file else builtin_texts(source.count, seed)
    named = [(f"t{index:05d}", text) for index, text in enumerate(texts)]
    shuffled = [named[index] for index in random.permutation(len(named))]
    held = round(len(shuffled) * recipe.held_out)
    return _checked("contents", recipe, {"train": shuffled[held:], "test": shuffled[:held]})


def _checked(what: str, recipe: CorpusRecipe, split: dict[str, list[Item]]) -> dict[str, list[Item]]:
    for name, items in split.items():
        settings: BlockSettings = getattr(recipe, name)
        wanted = getattr(settings, what)
        if settings.blocks and len(items) < wanted:
            raise IntervoxError(
                f"corpus.{name}.{what} asks for {wanted} in a block, but only {len(items)} are in the "
                f"{name} split: raise the number of voices or texts, or lower corpus.{name}.{what}"
            )
    return split


def _balanced(
    available: int, per_block: int, blocks: int, random: np.random.Generator
) -> list[Sequence[int]]:
    """Choose ``per_block`` different items for each block, every item about equally often."""
    chosen: list[Sequence[int]] = []
    queue: list[int] = []
    for _ in range(blocks):
        if len(queue) < per_block:
            rest = set(queue)
            order = random.permutation(available).tolist()
            # What is left over comes first, and again only after the others had their turn.
            queue += [i for i in order if i not in rest] + [i for i in order if i in rest]
        chosen.append(queue[:per_block])
        queue = queue[per_block:]
    return chosen
