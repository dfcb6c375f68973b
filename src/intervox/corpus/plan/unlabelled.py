"""Blocks of recordings without labels: every voice says pieces that no other voice says."""

import math
from collections.abc import Iterator

from intervox.clips.labels import PIECE, Text
from intervox.corpus.plan.blocks import Block, Deck
from intervox.corpus.plan.people import Speaker, all_speakers
from intervox.recipe.corpus import CorpusRecipe
from intervox.recipe.engines import UnlabelledSettings
from intervox.seeds import rng


def unlabelled_blocks(recipe: CorpusRecipe, seed: int) -> Iterator[Block]:
    """Deal unlabelled recordings into training blocks of about the size of the synthetic ones.

    A file and the speakers that voice transformation makes of it stay together and are crossed with the
    file's own pieces. Draws of its own keep it from changing any other block.
    """
    settings = next((engine for engine in recipe.engines if isinstance(engine, UnlabelledSettings)), None)
    if settings is None:
        return
    random = rng(seed, "design.unlabelled")
    files: dict[str, list[Speaker]] = {}
    for speaker in all_speakers(settings):
        files.setdefault(speaker.voice.name, []).append(speaker)
    pieces = {
        name: Deck([Text(text, settings.language, PIECE) for text in sorted(first.takes or ())], random)
        for name, (first, *_) in files.items()
    }
    most = max(len(speakers) for speakers in files.values())
    together = min(len(files), max(1, recipe.train.speakers // most))
    deck = Deck(list(files), random)
    for _ in range(settings.blocks or math.ceil(len(files) / together)):
        drawn = deck.draw(together)
        own = {name: pieces[name].draw(min(len(pieces[name]), recipe.train.contents)) for name in drawn}
        yield Block("train", [speaker for name in drawn for speaker in files[name]], own=own)
