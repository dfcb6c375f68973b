"""The separation matrix as a picture: a row a factor, a column a space, a shade for what is read."""

from dataclasses import dataclass
from typing import Any

SHADES = 20


@dataclass(frozen=True)
class Cell:
    """What probes read of a factor from a space.

    Attributes
    ----------
    shade
        0 to 20: the way from chance to perfect that the better probe goes.
    own
        The space was trained for this factor, so that much is good.
    """

    accuracy: float
    interval: list[float] | None
    mlp: float | None
    shuffled: float | None
    bits: float | None
    shade: int
    own: bool


@dataclass(frozen=True)
class Matrix:
    """A protocol's matrix.

    Attributes
    ----------
    rows
        Factor, chance, and a cell a space; None where it was not probed.
    """

    spaces: list[str]
    rows: list[tuple[str, float, list[Cell | None]]]


def separation_matrix(metrics: dict[str, Any], protocol: str) -> Matrix | None:
    """Arrange a protocol's matrix, own subspaces first; None where there is none."""
    matrix = metrics.get("separation", {}).get(protocol, {}).get("matrix")
    if not matrix:
        return None
    there = dict.fromkeys(space for spaces in matrix.values() for space in spaces)
    spaces = [space for space in metrics["spaces"] if space in there]
    spaces += [space for space in there if space not in metrics["spaces"]]
    rows = []
    for factor, found in matrix.items():
        cells = [
            _cell(found[space], metrics["spaces"].get(space) == factor) if space in found else None
            for space in spaces
        ]
        rows.append((factor, float(next(iter(found.values()))["chance"]), cells))
    return Matrix(spaces, rows)


def _cell(found: dict[str, Any], own: bool) -> Cell:
    linear, mlp, chance = found["linear"], found.get("mlp"), found["chance"]
    best = max(linear["accuracy"], mlp["accuracy"] if mlp else 0)
    return Cell(
        accuracy=linear["accuracy"],
        interval=linear.get("interval"),
        mlp=mlp["accuracy"] if mlp else None,
        shuffled=linear.get("shuffled"),
        bits=(found.get("information") or {}).get("bits"),
        shade=round(SHADES * max(0.0, best - chance) / max(1 - chance, 1e-9)),
        own=own,
    )
