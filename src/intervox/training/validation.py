"""What training is judged by while it runs: error rates on cells of engines that it never hears.

A pair of cells is scored by the cosine of a subspace. Targets share the subspace's factor and differ
in the others (same speaker, other words); impostors differ in all. So an error rate falls only where
the subspace tells its factor by something that the other factors do not carry.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.model.model import SubspaceModel
from intervox.seeds import rng
from intervox.training.cells import TrainingCells

MAX_TRIALS = 20_000
"""Of each kind, a subspace."""

CRITERION = "mean"
"""Name of the figure that decides: the mean error rate over subspaces."""

_DRAWS = 8 * MAX_TRIALS
_MEANS_AT_ONCE, _CLIPS_AT_ONCE = 4096, 64

Pairs = NDArray[np.int64]
"""Shape (trials, 2): numbers of cells."""


@dataclass(frozen=True)
class Trials:
    """Pairs of one subspace."""

    targets: Pairs
    impostors: Pairs


class Validation:
    """Held-out trials, drawn once, and how well a model does on them.

    Parameters
    ----------
    cells
        Of the validation split.
    factors
        Subspace to its factor.
    seed
        Decides the draw.
    crop
        An attentive map sees as many frames of each clip, from its start.

    Raises
    ------
    IntervoxError
        No subspace has both targets and impostors.
    """

    def __init__(self, cells: TrainingCells, factors: Mapping[str, str], seed: int, crop: int) -> None:
        drawn = {
            name: draw_trials(cells.labels, factor, sorted(set(factors.values()) - {factor}), seed)
            for name, factor in factors.items()
        }
        self.trials = {name: t for name, t in drawn.items() if len(t.targets) and len(t.impostors)}
        if not self.trials:
            raise IntervoxError(
                "the validation cells hold no trials, two cells that share a factor and differ in the "
                "others: raise corpus.validation.speakers and contents to at least 2"
            )
        self._rows = cells.rows
        self._crop = crop

    def measure(self, model: SubspaceModel, features: Features) -> dict[str, float]:
        """Return each subspace's equal error rate, in [0, 1], and their mean as ``CRITERION``.

        A subspace without trials (a factor that no validation cell is labelled for) has no figure
        and no say in the mean.
        """
        pairs = [pairs for t in self.trials.values() for pairs in (t.targets, t.impostors)]
        used = np.unique(np.concatenate(pairs))
        place = np.zeros(len(self._rows), np.int64)
        place[used] = np.arange(len(used))
        vectors = self._project(model, features, self._rows[used])
        rates = {
            name: round(
                equal_error_rate(
                    _cosines(vectors[name], place[t.targets]), _cosines(vectors[name], place[t.impostors])
                ),
                6,
            )
            for name, t in self.trials.items()
        }
        return rates | {CRITERION: round(float(np.mean(list(rates.values()))), 6)}

    def _project(
        self, model: SubspaceModel, features: Features, rows: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        size = _CLIPS_AT_ONCE if model.reads_frames else _MEANS_AT_ONCE
        parts = []
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            if model.reads_frames:
                parts.append(model.project_frames(*features.states(batch, self._crop)))
            else:
                parts.append(model.project(features.rows(batch)))
        return {name: np.concatenate([part[name] for part in parts]) for name in self.trials}


def draw_trials(labels: Mapping[str, NDArray[np.int64]], factor: str, others: list[str], seed: int) -> Trials:
    """Draw at most ``MAX_TRIALS`` targets and impostors, each pair once.

    Parameters
    ----------
    labels
        Factor to integers of shape (cells,); cells that ``factor`` does not label are in no trial.
    others
        Factors in which both cells differ. One that never differs within a class of ``factor``
        (a speaker's language) can't be asked to, and is ignored.
    """
    random = rng(seed, "validation.trials")
    known = np.flatnonzero(labels[factor] != UNLABELLED)
    alike = known[_pairs_within(labels[factor][known], random)]
    others = [other for other in others if _differ(alike, labels[other]).any()]
    anyone = known[random.integers(max(len(known), 1), size=(_DRAWS if len(known) else 0, 2))]
    unlike = anyone[_differ(anyone, labels[factor])]
    for other in others:
        alike, unlike = (pairs[_differ(pairs, labels[other])] for pairs in (alike, unlike))
    return Trials(_at_most(alike, random), _at_most(unlike, random))


def _pairs_within(values: NDArray[np.int64], random: np.random.Generator) -> Pairs:
    """Draw pairs of two places with the same value; every such pair is equally likely."""
    _, kind, counts = np.unique(values, return_inverse=True, return_counts=True)
    partners = counts[kind] - 1
    if not partners.any():
        return np.zeros((0, 2), np.int64)
    order = np.argsort(kind, kind="stable")
    rank = np.empty_like(order)
    starts = np.cumsum(counts) - counts
    rank[order] = np.arange(len(order)) - starts[kind[order]]
    first = random.choice(len(values), _DRAWS, p=partners / partners.sum())
    ahead = 1 + random.integers(partners[first])
    second = order[starts[kind[first]] + (rank[first] + ahead) % counts[kind[first]]]
    return np.stack([first, second], axis=1)


def _differ(pairs: Pairs, values: NDArray[np.int64]) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = values[pairs[:, 0]] != values[pairs[:, 1]]
    return different


def _at_most(pairs: Pairs, random: np.random.Generator) -> Pairs:
    size = int(pairs.max(initial=0)) + 1
    once = np.unique(pairs.min(axis=1) * size + pairs.max(axis=1))
    chosen = once[np.sort(random.permutation(len(once))[:MAX_TRIALS])]
    return np.stack(np.divmod(chosen, size), axis=1)


def _cosines(vectors: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = np.einsum("nd,nd->n", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
    return cosines


def equal_error_rate(targets: NDArray[np.floating], impostors: NDArray[np.floating]) -> float:
    """Return where the ROC's false accepts equal its false rejects, between thresholds on a line."""
    truth = np.repeat([1, 0], [len(targets), len(impostors)])
    accepted, detected, _ = roc_curve(truth, np.concatenate([targets, impostors]), drop_intermediate=False)
    return float(np.interp(0.0, accepted - (1 - detected), accepted))
