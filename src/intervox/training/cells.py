"""The cells that training and its validation see, with the labels that they may use."""

from collections.abc import Collection, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError
from intervox.features.store import Features


@dataclass(frozen=True)
class TrainingCells:
    """Cells of one split, labelled.

    Attributes
    ----------
    rows
        Shape (cells,): row of each cell in the features.
    blocks
        Shape (cells,): block of each cell.
    labels
        Factor, or other column that the loss reads, to integers of shape (cells,).
    """

    rows: NDArray[np.int64]
    blocks: NDArray[np.int64]
    labels: dict[str, NDArray[np.int64]]


def training_cells(cells: Any, features: Features, factors: Set[str]) -> TrainingCells:
    """Choose the plan's training cells whose features exist, and number their labels.

    Parameters
    ----------
    cells
        A corpus' plan (pyarrow table); each factor is one of its columns. Empty strings are
        unlabelled.

    Raises
    ------
    IntervoxError
        A factor has no column, or nothing is left to train on.
    """
    chosen = cells_of("train", cells, features, factors)
    if not len(chosen.rows):
        raise IntervoxError("the corpus has no training cells: raise corpus.train.blocks")
    return chosen


def validation_cells(cells: Any, features: Features, factors: Set[str]) -> TrainingCells:
    """Choose the cells of the validation split, which no training engine may have made.

    Raises
    ------
    IntervoxError
        There are none, or an engine of theirs made training cells too: its fingerprint would be
        known, and the figure would not say how the subspaces do on speech of another origin.
    """
    chosen = cells_of("validation", cells, features, factors)
    if not len(chosen.rows):
        raise no_validation_cells()
    split, engine = (np.asarray(cells[name].to_pylist()) for name in ("split", "engine"))
    shared = np.intersect1d(engine[split == "train"], engine[split == "validation"])
    if len(shared):
        raise IntervoxError(
            f"training.validate_every needs engines that training never hears, but {str(shared[0])!r} has "
            "cells in both splits: leave train or validation out of its `splits`, or set validate_every to 0"
        )
    return chosen


def no_validation_cells() -> IntervoxError:
    """Say what to do where there is nothing to validate on."""
    return IntervoxError(
        "training.validate_every needs validation cells: raise corpus.validation.blocks and give "
        "them an engine with `splits: [validation]`, or set validate_every to 0"
    )


def cells_of(split: str, cells: Any, features: Features, columns: Set[str]) -> TrainingCells:
    """Choose and label a split's cells whose features exist; there may be none."""
    check_columns(columns, cells.column_names)
    there = np.asarray(cells["split"].to_pylist()) == split
    rows = np.flatnonzero(there & (features.frames > 0))
    labels = {}
    for column in sorted(columns):
        values = np.asarray(cells[column].to_pylist())[rows]
        numbers = np.unique(values, return_inverse=True)[1]
        labels[column] = np.where(values == "", UNLABELLED, numbers)
    return TrainingCells(rows, cells["block"].to_numpy()[rows], labels)


def check_columns(wanted: Set[str], plan: Collection[str]) -> None:
    """Refuse labels that a corpus' plan has no column for."""
    if missing := wanted - set(plan):
        raise IntervoxError(
            f"no column {min(missing)!r} in the corpus: what a subspace or the loss tells cells "
            "apart by is one of " + ", ".join(plan)
        )
