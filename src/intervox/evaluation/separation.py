"""The separation matrix: which factor can be read from which space, by which probe, against what chance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from intervox.evaluation.clips import Clips, Labels
from intervox.evaluation.probes import KINDS, Probed, Task, draw_task, probe
from intervox.evaluation.vectors import Vectors

SEEDS = 3
CONDITION = "condition"

Measure = Callable[[Vectors, Task], dict[str, Any]]


@dataclass(frozen=True)
class FactorData:
    """The clips on which one factor is probed.

    Attributes
    ----------
    labels
        Shape (clips,): the factor; empty strings are unknown.
    groups
        Shape (clips,): what training and test must not share.
    vectors
        Space to vectors (clips, dim).
    """

    labels: Labels
    groups: Labels
    vectors: Mapping[str, Vectors]


def factor_data(clips: Clips, vectors: Mapping[str, Mapping[str, Vectors]]) -> dict[str, FactorData]:
    """Lay out every factor of a test set for its probes.

    Who speaks is probed across texts; all else, and the condition, across speakers. The condition is
    that of the clips' own copies, so its clips are those of all conditions pooled; the other factors
    are probed on the first condition.

    Parameters
    ----------
    clips
        The labels of the test set.
    vectors
        Condition to space to vectors (clips, dim).
    """
    first = next(iter(vectors.values()))
    data = {
        factor: FactorData(
            clips.labels[factor], clips.contents if factor == "speaker" else clips.speakers, first
        )
        for factor in clips.factors
    }
    if len(vectors) > 1:
        pooled = {space: np.concatenate([spaces[space] for spaces in vectors.values()]) for space in first}
        names = np.repeat(list(vectors), len(clips))
        data[CONDITION] = FactorData(names, np.tile(clips.speakers, len(vectors)), pooled)
    return data


def separation_matrix(
    data: Mapping[str, FactorData], repeats: int, workers: int = 1, seeds: int = SEEDS
) -> dict[str, Any]:
    """Probe every factor from every space.

    Parameters
    ----------
    data
        Factor to its clips, from ``factor_data``.
    repeats
        Bootstrap resamples behind each interval.
    workers
        Threads that share the probes.
    seeds
        How often each probe is trained, on other folds and from another start.

    Returns
    -------
    dict
        Factor to space to ``linear`` and ``mlp`` (``accuracy``, ``interval``, ``shuffled``,
        ``shuffled_interval``, ``seeds``), ``chance``, ``information`` (``bits``, ``interval`` of
        the linear probe, ``mlp_bits``, ``mlp_interval``, ``entropy_bits``), ``classes`` and
        ``clips``. A factor that can't be probed on unseen groups is absent.
    """
    return _each_cell(data, workers, seeds, lambda vectors, task: _cell(vectors, task, repeats))


def linear_readings(
    data: Mapping[str, FactorData], repeats: int, workers: int = 1, seeds: int = SEEDS
) -> dict[str, Any]:
    """Probe every factor from every space by a linear probe alone, on the clips of the matrix.

    For the spaces of ``residual.rejected`` this is what is left of a factor once a subspace is taken
    out; for those of ``residual.projected`` what a subspace takes.

    Returns
    -------
    dict
        Factor to space to ``accuracy``, ``interval`` and ``chance``.
    """

    def cell(vectors: Vectors, task: Task) -> dict[str, Any]:
        accuracy = probe(vectors, task, "linear", repeats).accuracy
        return {
            "accuracy": accuracy.value,
            "interval": accuracy.interval,
            "chance": round(task.chance, 5),
        }

    return _each_cell(data, workers, seeds, cell)


def _each_cell(data: Mapping[str, FactorData], workers: int, seeds: int, measure: Measure) -> dict[str, Any]:
    order = tuple(range(seeds))
    tasks = {factor: draw_task(clips.labels, clips.groups, order) for factor, clips in data.items()}
    jobs = [
        (factor, space, vectors, task)
        for factor, task in tasks.items()
        if task is not None
        for space, vectors in data[factor].vectors.items()
    ]
    # One thread a job: matrices this small make the libraries' own threads wait for each other.
    with threadpool_limits(1):
        measured = Parallel(n_jobs=workers, prefer="threads")(
            delayed(_on_one_thread)(measure, vectors, task) for _, _, vectors, task in jobs
        )
    matrix: dict[str, Any] = {}
    for (factor, space, _, _), result in zip(jobs, measured, strict=True):
        matrix.setdefault(factor, {})[space] = result
    return matrix


def _on_one_thread(measure: Measure, vectors: Vectors, task: Task) -> dict[str, Any]:
    # OpenMP's limit, unlike BLAS', holds for the thread that sets it alone.
    with threadpool_limits(1, user_api="openmp"):
        return measure(vectors, task)


def _cell(vectors: Vectors, task: Task, repeats: int) -> dict[str, Any]:
    linear, mlp = (probe(vectors, task, kind, repeats) for kind in KINDS)
    controls = [probe(vectors, task, kind, repeats, shuffled=True) for kind in KINDS]
    return {
        "linear": _both(linear, controls[0], task),
        "mlp": _both(mlp, controls[1], task),
        "chance": round(task.chance, 5),
        "information": {
            "bits": linear.bits.value,
            "interval": linear.bits.interval,
            "mlp_bits": mlp.bits.value,
            "mlp_interval": mlp.bits.interval,
            "entropy_bits": linear.entropy_bits,
        },
        "classes": task.classes,
        "clips": len(task.rows),
    }


def _both(real: Probed, control: Probed, task: Task) -> dict[str, Any]:
    return {
        "accuracy": real.accuracy.value,
        "interval": real.accuracy.interval,
        "shuffled": control.accuracy.value,
        "shuffled_interval": control.accuracy.interval,
        "seeds": len({seed for seed, _ in task.folds}),
    }
