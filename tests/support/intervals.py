"""Intervals that a test needs."""

from collections.abc import Sequence
from typing import get_args

from intervox.metrics.bootstrap import Interval, Missing


def ends(interval: Interval | None) -> tuple[float, float]:
    """Return the ends of an interval that must be there."""
    assert isinstance(interval, tuple), interval
    return interval


def holds(interval: Sequence[float] | str, value: float) -> bool:
    """Whether an interval, as metrics.json has it, holds a value, or says why there is none."""
    if isinstance(interval, str):
        return interval in get_args(Missing)
    low, high = interval
    return low <= value <= high
