"""Blocks: fully crossed grids of speakers and texts, dealt for synthesis or found in recordings."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from intervox.clips.labels import Text
from intervox.corpus.plan.people import Speaker
from intervox.errors import IntervoxError
from intervox.recipe.corpus import BlockSettings, CorpusRecipe
from intervox.recipe.engines import SPLITS, RecordingsSettings

_TRIES = 30
"""Grids that are grown for each recorded block; the largest is taken."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Block:
    """A grid of speakers and contents, to be crossed.

    Attributes
    ----------
    own
        Voice to the texts that only its speakers say, in place of ``texts``: of unlabelled recordings.
    """

    split: str
    speakers: Sequence[Speaker]
    texts: Sequence[Text] = ()
    own: Mapping[str, Sequence[Text]] = field(default_factory=dict)

    def said_by(self, speaker: Speaker) -> Sequence[Text]:
        """Return what a speaker says in this block."""
        return self.own.get(speaker.voice.name, self.texts)


def all_blocks(
    recipe: CorpusRecipe,
    speakers: dict[str, list[Speaker]],
    texts: dict[str, list[Text]],
    random: np.random.Generator,
) -> Iterator[Block]:
    """Yield each split's synthetic blocks, then its recorded ones.

    Parameters
    ----------
    speakers, texts
        By split. A recorded text that is also synthesised stays in the split of its synthetic one.

    Raises
    ------
    IntervoxError
        A split has fewer speakers or texts than a block, or no two people on record share two texts.
    """
    recorded = _recorded_blocks(recipe, speakers, texts, random)
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
        yield from recorded[split]


def _synthetic_blocks(
    recipe: CorpusRecipe,
    split: str,
    speakers: Sequence[Speaker],
    texts: Sequence[Text],
    random: np.random.Generator,
) -> Iterator[Block]:
    """Deal speakers and texts of one language into each block, every engine by its share."""
    settings: BlockSettings = getattr(recipe, split)
    shares: dict[str, float] = {engine.key: engine.share for engine in recipe.engines}
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


class Deck(Generic[Item]):
    """Cards dealt without replacement, shuffled anew when they run out.

    Over any number of draws, two items differ by at most one draw and what is left over in a
    round comes first in the next.
    """

    def __init__(self, items: Sequence[Item], random: np.random.Generator) -> None:
        self._items = items
        self._random = random
        self._queue: list[int] = []

    def __len__(self) -> int:
        return len(self._items)

    def draw(self, count: int) -> list[Item]:
        """Return ``count`` different items, at most as many as there are."""
        if len(self._queue) < count:
            rest = set(self._queue)
            order = self._random.permutation(len(self._items)).tolist()
            self._queue += [i for i in order if i not in rest] + [i for i in order if i in rest]
        drawn, self._queue = self._queue[:count], self._queue[count:]
        return [self._items[index] for index in drawn]

    def after(self, item: Item) -> Item:
        """Return the neighbour of an item, whoever's turn it is."""
        return self._items[(self._items.index(item) + 1) % len(self._items)]


class Turns:
    """Names in turn, each as often as its weight says (smooth weighted round robin)."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._weights = weights
        self._credit = dict.fromkeys(weights, 0.0)

    def next(self, without: Container[str] = ()) -> str:
        """Return whose turn it is among those that are not in ``without``."""
        weights = {name: weight for name, weight in self._weights.items() if name not in without}
        for name, weight in weights.items():
            self._credit[name] += weight
        chosen = max(weights, key=lambda name: self._credit[name])
        self._credit[chosen] -= sum(weights.values())
        return chosen


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


def _recorded_blocks(
    recipe: CorpusRecipe,
    speakers: dict[str, list[Speaker]],
    texts: dict[str, list[Text]],
    random: np.random.Generator,
) -> dict[str, list[Block]]:
    """Find the blocks of every recorded engine, split by split."""
    result: dict[str, list[Block]] = {split: [] for split in SPLITS}
    for settings in recipe.engines:
        if not isinstance(settings, RecordingsSettings):
            continue
        people: dict[str, list[Speaker]] = {
            split: [s for s in speakers[split] if s.engine == settings.key] for split in SPLITS
        }
        said = _split_recorded_texts(recipe, people, texts, random)
        for split in (split for split in SPLITS if people[split]):
            size = getattr(recipe, split)
            finders = {
                language: _Finder(
                    [s for s in people[split] if s.voice.language == language],
                    [text for text in said[split] if text.language == language],
                    (size.speakers, size.contents),
                    random,
                )
                for language in sorted({speaker.voice.language for speaker in people[split]})
            }
            turns = Turns({language: float(finder.speakers) for language, finder in finders.items()})
            result[split] = [finders[turns.next()].find(split) for _ in range(settings.blocks)]
    return result


def _split_recorded_texts(
    recipe: CorpusRecipe,
    people: dict[str, list[Speaker]],
    texts: dict[str, list[Text]],
    random: np.random.Generator,
) -> dict[str, list[Text]]:
    """Give each recorded text, in all its spellings, to one split that has recorded speakers."""
    homes = {text.key: split for split in SPLITS for text in texts[split]}
    used = [split for split in SPLITS if people[split]]
    said = {
        Text(text, speaker.voice.language, "recorded")
        for split in used
        for speaker in people[split]
        for text in speaker.takes or ()
    }
    new = sorted({text.key for text in said} - homes.keys())
    shuffled = [new[index] for index in random.permutation(len(new))]
    for split in used[1:]:
        # A block needs two texts, however few are held out.
        held = max(2, round(len(new) * recipe.held_out))
        homes |= dict.fromkeys(shuffled[:held], split)
        shuffled = shuffled[held:]
    homes |= dict.fromkeys(shuffled, used[0])
    result: dict[str, list[Text]] = {split: [] for split in SPLITS}
    for text in sorted(said, key=lambda text: (text.language, text.text)):
        result[homes[text.key]].append(text)
    return result


class _Finder:
    """Greedy search for dense grids, everyone and everything used about equally often."""

    def __init__(
        self,
        speakers: Sequence[Speaker],
        texts: Sequence[Text],
        size: tuple[int, int],
        random: np.random.Generator,
    ) -> None:
        self.speakers = len(speakers)
        self._speakers = {speaker.label: speaker for speaker in speakers}
        self._takes = {speaker.label: speaker.takes or frozenset() for speaker in speakers}
        self._texts = {text.text: text for text in texts}
        self._size = size
        self._seeds = Deck(list(self._texts), random)
        self._uses = dict.fromkeys([*self._speakers, *self._texts], 0)
        self._random = random

    def find(self, split: str) -> Block:
        """Return the largest of some tried grids, at most of the size asked for."""
        tried = [self._grow(self._seeds.draw(1)[0]) for _ in range(_TRIES)] if self._texts else []
        grids = [grid for grid in tried if min(map(len, grid)) >= 2]
        if not grids:
            raise IntervoxError(
                f"the recordings have no two {split} speakers who say the same two texts of that split: "
                "give a parallel corpus, keep the engine to fewer `splits`, or set `match` to normalised"
            )
        labels, texts = max(grids, key=lambda grid: len(grid[0]) * len(grid[1]))
        for name in (*labels, *texts):
            self._uses[name] += 1
        return Block(
            split, [self._speakers[label] for label in labels], [self._texts[text] for text in texts]
        )

    def _grow(self, seed: str) -> tuple[list[str], list[str]]:
        """Take speakers of one text, the least used first, while they share enough texts."""
        most_speakers, most_texts = self._size
        chosen: list[str] = []
        shared = set(self._texts)
        for label in self._least_used([name for name, said in self._takes.items() if seed in said]):
            left = shared & self._takes[label]
            if len(left) >= min(most_texts, len(shared)) or len(chosen) < 2 <= len(left):
                chosen, shared = [*chosen, label], left
            if len(chosen) == most_speakers:
                break
        # Spellings that normalise alike are one content, which a block holds once.
        spelt = {self._texts[text].key: text for text in self._least_used(sorted(shared))[::-1]}
        return chosen, list(spelt.values())[::-1][:most_texts]

    def _least_used(self, names: Sequence[str]) -> list[str]:
        order = self._random.permutation(len(names))
        return sorted((names[index] for index in order), key=lambda name: self._uses[name])
