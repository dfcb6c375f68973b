"""The separation matrix: which factor can be read from which space, by which probe, against what chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from intervox.clips.labels import Clips, Labels
from intervox.evaluation.representations import Representation, linear_spaces, projected, raw_space, rejected
from intervox.evaluation.results import RAW
from intervox.evaluation.test_sets import CLEAN, EVALUATION_SEED, TestSet
from intervox.metrics.abx import abx_error, frame_embeddings
from intervox.metrics.geometry import dependence, principal_angles
from intervox.metrics.information import block_scores
from intervox.metrics.probes import KINDS, Probed, Task, draw_task, probe
from intervox.metrics.vectors import Means, Vectors
from intervox.model.model import SubspaceModel

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


RESIDUAL = "residual"
CONDITION_SEVERITY = "0.50"
"""Of the copies that the condition is told from; each disturbance is a class, clean another."""


@dataclass(frozen=True)
class SpaceEvidence:
    """What the separation of some spaces is measured on.

    Attributes
    ----------
    spaces
        The own spaces and, for a linear model, ``residual`` and ``raw``.
    model
        The model that they are of, where there is one: its frames, angles and rejections are measured.
    rejected, projected
        Raw layers without a subspace, and on it alone, by the subspace's name.
    """

    spaces: Sequence[Representation]
    model: SubspaceModel | None = None
    rejected: Sequence[Representation] = field(default_factory=tuple)
    projected: Sequence[Representation] = field(default_factory=tuple)

    @classmethod
    def of_model(
        cls, model: SubspaceModel, own: Sequence[Representation], training: Means
    ) -> "SpaceEvidence":
        """Fit what a model is measured beside on training cells' layer means (cells, layers, dim)."""
        linear = linear_spaces(model)
        spaces = [*own, Representation(RAW, raw_space(model, training))]
        if len(linear) == len(model.subspaces):
            spaces.append(Representation(RESIDUAL, rejected(model, linear, training)))
        return cls(
            spaces,
            model,
            [Representation(name, rejected(model, [name], training)) for name in linear],
            [Representation(name, projected(model, name)) for name in linear],
        )

    def measure(self, test_set: TestSet, repeats: int, seeds: int, workers: int) -> dict[str, Any]:
        """Measure one test set; see ``separation`` in ``docs/formats.md``."""
        data = self._factors(test_set, self.spaces)
        matrix = separation_matrix(data, repeats, workers, seeds)
        own = [space.name for space in self.spaces if space.name not in (RAW, RESIDUAL)]
        result: dict[str, Any] = {"matrix": matrix}
        for kind, spaces in (("rejection", self.rejected), ("projection", self.projected)):
            if spaces:
                result[kind] = linear_readings(self._factors(test_set, spaces), repeats, workers, seeds)
        with threadpool_limits(1):
            clean = {name: data["speaker"].vectors[name] for name in own}
            pairs = dependence(clean, test_set.clips.speakers, EVALUATION_SEED)
            angles = principal_angles(self.model, EVALUATION_SEED) if self.model else {}
            if pairs:
                geometry = {
                    pair: found | ({"principal_angles": angles[pair]} if pair in angles else {})
                    for pair, found in pairs.items()
                }
                result["geometry"] = geometry
            if heard := self._abx(test_set, repeats):
                result["abx"] = heard
        factors = [factor for factor in ("speaker", "content") if factor in matrix]
        result["blocks"] = block_scores(matrix, own, factors)
        return result

    def _factors(self, test_set: TestSet, spaces: Sequence[Representation]) -> Mapping[str, FactorData]:
        """Who and what on the clean clips; the condition on copies of a few, or of all."""

        def embed(condition: str) -> dict[str, Vectors]:
            return {space.name: space.vectors(test_set, condition) for space in spaces}

        clean = embed(CLEAN)
        data = factor_data(test_set.clips, {CLEAN: clean})
        few = {
            name.split("@")[0]: view
            for name, view in test_set.severities.items()
            if name.endswith(f"@{CONDITION_SEVERITY}")
        }
        if few:
            rows = next(iter(few.values())).rows
            copies = {name: embed(f"{name}@{CONDITION_SEVERITY}") for name in few}
            copies = {CLEAN: {space: points[rows] for space, points in clean.items()}} | copies
            return data | {CONDITION: factor_data(test_set.clips.take(rows), copies)[CONDITION]}
        if len(test_set.whole) > 1:
            copies = {name: clean if name == CLEAN else embed(name) for name in test_set.whole}
            data |= {CONDITION: factor_data(test_set.clips, copies)[CONDITION]}
        return data

    def _abx(self, test_set: TestSet, repeats: int) -> dict[str, Any]:
        """ABX of every subspace and every raw layer, frame by frame."""
        if not self.model or not test_set.spoken:
            return {}
        spoken = test_set.spoken
        layers = range(self.model.mean.shape[0])
        embedded = frame_embeddings(self.model, spoken.frames, layers)
        found = {
            space: abx_error(
                dict(zip(spoken.clips.tolist(), frames, strict=True)), spoken.grids, repeats, EVALUATION_SEED
            )
            for space, frames in embedded.items()
        }
        raw = {space: result for space, result in found.items() if space.startswith(f"{RAW}.") and result}
        best = min(raw, key=lambda space: float(raw[space]["error"]), default=None)
        return {
            space: result for space, result in found.items() if result and (space == best or space not in raw)
        }
