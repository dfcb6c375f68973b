"""Blocks found in a recorded corpus: fully crossed grids in a table of who has said what."""

from collections.abc import Container, Sequence
from typing import Generic, TypeVar

import numpy as np

from intervox.clips.labels import Text
from intervox.corpus.plan.people import Speaker
from intervox.errors import IntervoxError
from intervox.recipe.corpus import SPLITS, CorpusRecipe, RecordingsSettings

Item = TypeVar("Item")


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


RecordedBlock = tuple[list[Speaker], list[Text]]

KIND = "recorded"
_TRIES = 30


def recorded_blocks(
    recipe: CorpusRecipe,
    speakers: dict[str, list[Speaker]],
    texts: dict[str, list[Text]],
    random: np.random.Generator,
) -> dict[str, list[RecordedBlock]]:
    """Find the blocks of every recorded engine, split by split.

    Parameters
    ----------
    speakers, texts
        By split. A recorded text that is also synthesised stays in the split of its synthetic one.

    Raises
    ------
    IntervoxError
        No two speakers of a split share two texts.
    """
    result: dict[str, list[RecordedBlock]] = {split: [] for split in SPLITS}
    for settings in recipe.engines:
        if not isinstance(settings, RecordingsSettings):
            continue
        people: dict[str, list[Speaker]] = {
            split: [s for s in speakers[split] if s.engine == settings.name] for split in SPLITS
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
        Text(text, speaker.voice.language, KIND)
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

    def find(self, split: str) -> RecordedBlock:
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
        return [self._speakers[label] for label in labels], [self._texts[text] for text in texts]

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
