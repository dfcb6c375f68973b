"""Intervals that a test needs."""

from intervox.metrics.bootstrap import Interval


def ends(interval: Interval | None) -> tuple[float, float]:
    """Return the ends of an interval that must be there."""
    assert isinstance(interval, tuple), interval
    return interval
