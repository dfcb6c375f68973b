"""What is shown while something runs: bars with a rate and the time left, and no chatter of libraries."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

console = Console(stderr=True)

_WIDE = 110
"""The fewest columns of a terminal with room for notes beside the rate."""


class Bar:
    """One running bar; ``advance`` moves it and may replace the text that follows the rate."""

    def __init__(self, progress: Progress, description: str, total: int | None, unit: str) -> None:
        self._progress = progress
        self._unit = unit
        self._task = progress.add_task(description, total=total, rate="")

    def advance(self, count: int, note: str = "") -> None:
        """Move on by ``count`` units."""
        self._progress.advance(self._task, count)
        speed = self._progress.tasks[self._task].speed
        rate = f"{speed:,.1f} {self._unit}/s" if speed else ""
        if speed and speed < 1:
            rate = f"{1 / speed:,.1f} s each"
        shown = (rate, note) if self._progress.console.width >= _WIDE else (rate,)
        self._progress.update(self._task, rate=" · ".join(part for part in shown if part))


@contextmanager
def progress_bar(description: str, total: int | None, unit: str) -> Iterator[Bar]:
    """Show a bar of ``total`` units, or of an unknown number, while the block runs."""
    # Where there is little room, the bar alone gets shorter.
    with Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=console,
    ) as progress:
        yield Bar(progress, description, total, unit)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings, logged or not, while the block runs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)
