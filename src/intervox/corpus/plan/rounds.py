"""Fair draws: cards dealt without replacement, and names that take turns by their weights."""

from collections.abc import Container, Sequence
from typing import Generic, TypeVar

import numpy as np

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
