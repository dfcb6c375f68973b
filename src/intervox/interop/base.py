"""What the formats share."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape (dim,) of a clip, (frames, dim) of its frames, (clips, dim) of a file."""

Row = Callable[[str, Mapping[str, Vectors]], None]
"""Writes one clip: its name, and its vectors by space."""

Table = tuple[list[str], dict[str, Vectors]]
"""A file's content: names of the clips, and space to vectors (clips, dim)."""

NAMES = "path"
"""The column of the clips' names in tables; ``intervox evaluate`` finds labels by it."""

UNNAMED = "embedding"
"""The space of a file with no place for its name."""


def column(space: str) -> str:
    """Return what a space is called in tables that also hold other columns."""
    return space if space == UNNAMED else f"{UNNAMED}.{space}"


def space_of(name: str) -> str | None:
    """Return the space that a column holds, or None for another column."""
    if name == UNNAMED:
        return name
    prefix, dot, space = name.partition(".")
    return space if dot and prefix == UNNAMED else None
