"""ABX across speakers: is a word nearer to the same word of another voice than to another word?

A and B are said by one speaker, X by another; A and X are the same content, B is not (Schatz et al.
2013). The error is the share of triples where X is nearer to B: it needs no training and no
threshold, and judges sequences of frames where all other measures judge the mean of a clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intervox.metrics.bootstrap import Interval, estimable, interval

GRIDS = 3
GRID_SIZE = 8
PAIRS_AT_ONCE = 64

Frames = NDArray[np.floating]
"""Unit vectors of a clip's frames, shape (frames, dim)."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Speakers crossed with contents.

    Attributes
    ----------
    speakers
        Shape (speakers,): their names.
    clips
        Shape (speakers, contents): the number of a clip of each cell, -1 where there is none.
    """

    speakers: NDArray[np.str_]
    clips: Integers


def draw_grids(
    speaker: NDArray[np.str_], content: NDArray[np.str_], random: np.random.Generator
) -> list[Grid]:
    """Choose the clips of at most ``GRIDS`` grids of ``GRID_SIZE`` speakers and contents.

    A grid takes some contents of the speaker who shares most, and the speakers who share most of
    those, one clip each; no clip is in two grids. All triples lie within a grid: as in training, speakers and
    contents are crossed there, and few clips make many triples.

    Parameters
    ----------
    speaker, content
        Shape (clips,).

    Returns
    -------
    list of Grid
        Empty where no two speakers share two contents.
    """
    speakers, who = np.unique(speaker, return_inverse=True)
    contents, what = np.unique(content, return_inverse=True)
    free = random.permutation(len(speaker))
    grids: list[Grid] = []
    while len(grids) < GRIDS:
        said = np.zeros((len(speakers), len(contents)), bool)
        said[who[free], what[free]] = True
        shared = said & (said.sum(axis=0) > 1)
        richest = np.lexsort((random.random(len(speakers)), shared.sum(axis=1)))[-1]
        columns = random.permutation(np.flatnonzero(shared[richest]))[:GRID_SIZE]
        overlap = said[:, columns].sum(axis=1)
        rows = np.argsort(-overlap, kind="stable")[:GRID_SIZE]
        rows = rows[overlap[rows] > 1]
        if len(rows) < 2:
            break
        cells = np.full((len(rows), len(columns)), -1)
        for i, j in np.argwhere(said[np.ix_(rows, columns)]):
            cells[i, j] = free[np.argmax((who[free] == rows[i]) & (what[free] == columns[j]))]
        free = free[~np.isin(free, cells)]
        grids.append(Grid(speakers[rows], cells))
    return grids


@dataclass(frozen=True)
class AbxError:
    """Error in [0, 1] (0.5 is chance, ties count half), its interval, and the number of triples."""

    error: float
    interval: Interval | None
    triples: int


def abx_error(
    frames: dict[int, Frames], grids: Sequence[Grid], repeats: int, random: np.random.Generator
) -> AbxError | None:
    """Measure the ABX error across speakers.

    Parameters
    ----------
    frames
        Clip to unit vectors (frames, dim), for every clip of the grids.
    grids
        From ``draw_grids``.
    repeats, random
        Of the bootstrap: speakers are drawn with replacement, and a triple weighs by the product of
        its two speakers' counts.

    Returns
    -------
    AbxError or None
        None where there are no triples.
    """
    names = np.unique(np.concatenate([grid.speakers for grid in grids])) if grids else np.array([])
    wrong, counts = np.zeros((2, len(names), len(names)))
    for grid in grids:
        errors = _triples(_distances(frames, grid.clips))
        here = np.ix_(*[np.searchsorted(names, grid.speakers)] * 2)
        wrong[here] += np.nansum(errors, axis=(2, 3))
        counts[here] += np.isfinite(errors).sum(axis=(2, 3))
    if not counts.any():
        return None
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), repeats)
    weighed = np.einsum("rs,st,rt->r", drawn, counts, drawn)
    resamples = np.einsum("rs,st,rt->r", drawn, wrong, drawn)[weighed > 0] / weighed[weighed > 0]
    error = float(wrong.sum() / counts.sum())
    bounds = interval(error, estimable(resamples, len(names)))
    return AbxError(round(error, 5), bounds, int(counts.sum()))


def dtw_distances(pairs: Sequence[tuple[Frames, Frames]]) -> NDArray[np.float64]:
    """Return the mean angle along the best path of dynamic time warping, for every pair.

    The angle is in units of pi, so that a distance lies in [0, 1]. Steps go one frame ahead in one
    or both; the sum along the path is divided by the path's length; of equal steps the one in both
    is taken, then the one in the second (as ABXpy and Libri-light do).

    Parameters
    ----------
    pairs
        Two arrays of unit vectors, (n, dim) and (m, dim), each.
    """
    result = np.empty(len(pairs))
    order = sorted(range(len(pairs)), key=lambda index: (len(pairs[index][0]), len(pairs[index][1])))
    for start in range(0, len(order), PAIRS_AT_ONCE):
        chosen = order[start : start + PAIRS_AT_ONCE]
        result[chosen] = _dtw_batch([pairs[index] for index in chosen])
    return result


def _distances(frames: dict[int, Frames], cells: Integers) -> NDArray[np.float64]:
    """Distances (speakers, contents, speakers, contents) across speakers; nan for all other pairs."""
    size, flat = cells.size, cells.ravel()
    speaker = np.repeat(np.arange(len(cells)), cells.shape[1])
    first, second = np.triu_indices(size, 1)
    used = (flat[first] >= 0) & (flat[second] >= 0) & (speaker[first] != speaker[second])
    first, second = first[used], second[used]
    table = np.full((size, size), np.nan)
    pairs = [(frames[a], frames[b]) for a, b in zip(flat[first], flat[second], strict=True)]
    table[first, second] = table[second, first] = dtw_distances(pairs)
    return table.reshape(*cells.shape, *cells.shape)


def _triples(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Errors (speaker of A and B, speaker of X, content of A and X, content of B); nan is no triple."""
    to_b = np.einsum("tcsd->stcd", distances)
    to_a = np.einsum("tcsc->stc", distances)[..., None]
    errors = np.where(to_a == to_b, 0.5, to_a > to_b)
    contents = np.arange(distances.shape[1])
    missing = np.isnan(to_a) | np.isnan(to_b) | (contents[:, None] == contents)
    return np.where(missing, np.nan, errors)


def _dtw_batch(pairs: Sequence[tuple[Frames, Frames]]) -> NDArray[np.float64]:
    """All pairs at once, one anti-diagonal at a time."""
    rows, columns = (np.array([len(pair[side]) for pair in pairs]) for side in (0, 1))
    n, m = int(rows.max()), int(columns.max())
    padded = [np.zeros((len(pairs), size, pairs[0][0].shape[1]), np.float32) for size in (n, m)]
    for index, pair in enumerate(pairs):
        for side in (0, 1):
            padded[side][index, : len(pair[side])] = pair[side]
    cosines = padded[0] @ padded[1].transpose(0, 2, 1)
    angles = np.arccos(np.clip(cosines, -1, 1)) / np.pi
    # Row i moved right by i: column k then holds the anti-diagonal i + j = k.
    skewed = np.full((len(pairs), n, n + m), np.inf, np.float32)
    skewed[:, :, :m] = angles
    diagonals = skewed.reshape(len(pairs), -1)[:, : n * (n + m - 1)].reshape(len(pairs), n, n + m - 1)
    return _walk(np.ascontiguousarray(diagonals.transpose(2, 0, 1)), rows, columns)


def _walk(diagonals: NDArray[np.float32], rows: Integers, columns: Integers) -> NDArray[np.float64]:
    """Carry cost and length of the best path over (diagonals, pairs, rows); read them at the ends."""
    count, n = diagonals.shape[1:]
    costs = np.full((3, count, n + 1), np.inf, np.float32)
    lengths = np.zeros((3, count, n + 1), np.float32)
    costs[0, :, 0] = 0  # before the first frames, on the diagonal that is two before
    result = np.empty(count)
    for k, angles in enumerate(diagonals):
        before, last, now = costs[k % 3], costs[(k + 1) % 3], costs[(k + 2) % 3]
        steps = lengths[k % 3], lengths[(k + 1) % 3], lengths[(k + 2) % 3]
        both, second, first = before[:, :-1], last[:, 1:], last[:, :-1]
        alone = np.minimum(second, first)
        is_both = both <= alone
        now[:, 1:] = angles + np.where(is_both, both, alone)
        one = np.where(second <= first, steps[1][:, 1:], steps[1][:, :-1])
        steps[2][:, 1:] = np.where(is_both, steps[0][:, :-1], one) + 1
        now[:, 0] = np.inf
        ended = np.flatnonzero(rows + columns - 2 == k)
        result[ended] = now[ended, rows[ended]] / steps[2][ended, rows[ended]]
    return result
