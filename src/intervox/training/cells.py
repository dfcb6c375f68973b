"""The cells that training and its validation see, and which of them a step sees.

A batch is decided by (seed, step) alone, so a resumed run sees what an undisturbed one would have.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.recipe.training import TrainingSettings
from intervox.seeds import rng

Labels = Mapping[str, NDArray[np.int64]]
"""Factor, or other column that the loss reads, to integers of shape (cells,)."""


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


def training_cells(cells: pa.Table, features: Features, factors: Set[str]) -> TrainingCells:
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


def validation_cells(cells: pa.Table, features: Features, factors: Set[str]) -> TrainingCells:
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


def cells_of(split: str, cells: pa.Table, features: Features, columns: Set[str]) -> TrainingCells:
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


def labels_of_several(
    labels: NDArray[np.int64], renditions: NDArray[np.int64], pieces: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Take the label from pieces of unlabelled recordings whose class is one rendition and its copies.

    What varies within such a class is the condition alone. A closed form would take all else that tells it
    from others, as the voice, for what the class is about.
    """
    pairs = np.unique(np.stack([labels, renditions]), axis=1)[0]
    classes, counts = np.unique(pairs, return_counts=True)
    return np.where(np.isin(labels, classes[counts > 1]) | ~pieces, labels, UNLABELLED)


def check_columns(wanted: Set[str], plan: Collection[str]) -> None:
    """Refuse labels that a corpus' plan has no column for."""
    if missing := wanted - set(plan):
        raise IntervoxError(
            f"no column {min(missing)!r} in the corpus: what a subspace or the loss tells cells "
            "apart by is one of " + ", ".join(plan)
        )


class Batch(NamedTuple):
    """What a step sees.

    Attributes
    ----------
    cells
        Shape (cells of the batch,): numbers of cells.
    labels
        Column to the labels that the loss may use, of the same shape.
    """

    cells: NDArray[np.int64]
    labels: dict[str, NDArray[np.int64]]


def make_sampler(
    cells: TrainingCells, factors: Sequence[str], settings: TrainingSettings, seed: int
) -> "BlockSampler | ObservationalSampler":
    """Choose the sampler that ``training.batches`` names; ``factors`` are those of the subspaces."""
    if settings.batches == "crossed":
        return BlockSampler(cells.blocks, cells.labels, settings.blocks_per_step, seed)
    if settings.batches == "shuffled":
        # Each cell is a block of its own.
        return BlockSampler(np.arange(len(cells.rows)), cells.labels, settings.cells_per_step, seed)
    return ObservationalSampler(cells.blocks, cells.labels, settings.blocks_per_step, seed, factors)


class BlockSampler:
    """Draw whole crossed blocks without replacement, epoch after epoch.

    Parameters
    ----------
    blocks
        Shape (cells,): block of each cell.
    labels
        Of the same cells.
    blocks_per_step
        How many blocks make a batch; at most as many as there are.
    seed
        Decides the order.
    """

    def __init__(self, blocks: NDArray[np.integer], labels: Labels, blocks_per_step: int, seed: int) -> None:
        # Cells in the order of their blocks, and where each block begins: flat in memory for any number.
        self._cells = np.argsort(blocks, kind="stable")
        ends = np.flatnonzero(np.diff(blocks[self._cells])) + 1
        self._starts = np.concatenate([[0], ends, [len(blocks)]])
        self._labels = labels
        self._count = len(self._starts) - 1
        self._per_step = min(blocks_per_step, self._count)
        self._seed = seed
        # Steps follow one another: drawing an epoch's order anew in each would cost a pass over it.
        self._order = lru_cache(2)(self._drawn)

    def batch(self, step: int) -> Batch:
        """Return what a step sees."""
        epoch, place = divmod(step * self._per_step, self._count)
        # The step may go over the epoch's end; a block that it then meets twice is in it once.
        following = self._order(epoch)[place : place + self._per_step]
        if missing := self._per_step - len(following):
            following = np.concatenate([following, self._order(epoch + 1)[:missing]])
        chosen = dict.fromkeys(following.tolist())
        cells = np.concatenate([self._cells[self._starts[one] : self._starts[one + 1]] for one in chosen])
        return Batch(cells, {column: values[cells] for column, values in self._labels.items()})

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        return rng(self._seed, "sampler.blocks", epoch).permutation(self._count)


class ObservationalSampler:
    """Draw what two corpora that nobody crossed would give: the control of ``BlockSampler``.

    Speech as it is found has speakers with texts of their own, and texts with speakers of their own.
    A batch has one part for each factor. A part holds one class (a speaker) of each of many blocks,
    with all its cells there, and their labels of this factor alone. So each factor's loss sees as
    many classes, cells and positives a step as in crossed batches, and of the same cells; but the
    negatives no longer share the other factor with the anchor, save by chance where a class is in
    several blocks.

    Parameters
    ----------
    blocks, labels, blocks_per_step, seed
        As for ``BlockSampler``. A part holds as many classes as ``blocks_per_step`` blocks do, at
        most one of each block.
    factors
        Those of the subspaces; other columns keep their labels in every part.
    """

    def __init__(
        self,
        blocks: NDArray[np.integer],
        labels: Labels,
        blocks_per_step: int,
        seed: int,
        factors: Sequence[str],
    ) -> None:
        self._labels = labels
        self._classes = {factor: _classes(blocks, labels[factor]) for factor in sorted(set(factors))}
        self._per_step = blocks_per_step
        self._seed = seed

    def batch(self, step: int) -> Batch:
        """Return what a step sees."""
        parts = {factor: self._part(step, index) for index, factor in enumerate(self._classes)}
        cells = np.concatenate(list(parts.values()))
        owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
        labels = {column: values[cells] for column, values in self._labels.items()}
        for index, factor in enumerate(parts):
            labels[factor] = np.where(owner == index, labels[factor], UNLABELLED)
        return Batch(cells, labels)

    def _part(self, step: int, index: int) -> NDArray[np.int64]:
        by_block = list(self._classes.values())[index]
        random = rng(self._seed, "sampler.observational", step, index)
        wanted = round(self._per_step * sum(len(classes) for classes in by_block) / max(len(by_block), 1))
        chosen = random.permutation(len(by_block))[:wanted]
        picked = [by_block[block][random.integers(len(by_block[block]))] for block in chosen]
        return np.concatenate(picked) if picked else np.zeros(0, np.int64)


def _groups(values: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Split cell indices by value, in ascending order of both."""
    order = np.argsort(values, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1)


def _classes(blocks: NDArray[np.integer], labels: NDArray[np.integer]) -> list[list[NDArray[np.int64]]]:
    """List each block's labelled classes, as cell indices; blocks without any are left out."""
    members = [cells[labels[cells] != UNLABELLED] for cells in _groups(blocks)]
    return [[cells[part] for part in _groups(labels[cells])] for cells in members if len(cells)]
