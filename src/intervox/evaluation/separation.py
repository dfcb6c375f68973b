"""The separation matrix: which factor can be read from which space, by which probe, against what chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, combinations
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from intervox.clips.labels import Clips, Labels
from intervox.evaluation.findings import (
    Abx,
    Blocks,
    Dci,
    Geometry,
    Information,
    Kept,
    ProbeAccuracy,
    ProbedFactor,
    Reading,
)
from intervox.evaluation.representations import (
    BACKBONE,
    FROZEN,
    Representation,
    frame_embeddings,
    linear_spaces,
    principal_angles,
    projected,
    raw_frame_embeddings,
    raw_space,
    rejected,
)
from intervox.evaluation.results import RAW, Separation
from intervox.evaluation.test_sets import CLEAN, EVALUATION_SEED, Means, TestSet
from intervox.metrics.abx import AbxError, abx_error
from intervox.metrics.bootstrap import interval
from intervox.metrics.information import block_scores, rv_coefficient, shared_bits
from intervox.metrics.probes import KINDS, Task, draw_task, probe
from intervox.metrics.vectors import Vectors
from intervox.model.model import SubspaceModel
from intervox.seeds import rng

SEEDS = 3
PERMUTATIONS = 20
RESIDUAL = "residual"
CONDITION = "condition"
CONDITION_SEVERITY = "0.50"
"""Of the copies that the condition is told from; each disturbance is a class, clean another."""

T = TypeVar("T")
ByFactor = dict[str, dict[str, T]]
"""By factor, then space."""

Bits = NDArray[np.float64]


@dataclass(frozen=True)
class SpaceEvidence:
    """What the separation of some spaces is measured on.

    Attributes
    ----------
    spaces
        The own spaces and, for a linear model, ``residual`` and ``raw``.
    model
        The model that they are of, where there is one: its frames, angles and rejections are measured.
    frozen
        A model of the frozen backbone, whose standardisation the raw frames take.
    rejected, projected
        Raw layers without a subspace, and on it alone, by the subspace's name.
    """

    spaces: Sequence[Representation]
    model: SubspaceModel | None = None
    frozen: SubspaceModel | None = None
    rejected: Sequence[Representation] = field(default_factory=tuple)
    projected: Sequence[Representation] = field(default_factory=tuple)

    @classmethod
    def of_model(
        cls,
        model: SubspaceModel,
        own: Sequence[Representation],
        training: Means,
        frozen: SubspaceModel,
        frozen_training: Means,
    ) -> "SpaceEvidence":
        """Fit what a model is measured beside on training cells' layer means (cells, layers, dim).

        Parameters
        ----------
        training
            Of the model's own backbone.
        frozen, frozen_training
            A model of the foundation model itself, and the means there.
        """
        linear = linear_spaces(model)
        spaces = [*own, Representation(RAW, raw_space(frozen, frozen_training), FROZEN)]
        if len(linear) == len(model.subspaces):
            spaces.append(Representation(RESIDUAL, rejected(model, linear, training)))
        return cls(
            spaces,
            model,
            frozen,
            [Representation(name, rejected(model, [name], training)) for name in linear],
            [Representation(name, projected(model, name)) for name in linear],
        )

    def measure(self, test_set: TestSet, repeats: int, seeds: int, workers: int) -> Separation:
        """Measure one test set."""
        data = self._factors(test_set, self.spaces)
        matrix = separation_matrix(data, repeats, workers, seeds)
        own = [space.name for space in self.spaces if space.name not in (RAW, RESIDUAL)]
        rejection, projection = (
            linear_readings(self._factors(test_set, spaces), repeats, workers, seeds) if spaces else {}
            for spaces in (self.rejected, self.projected)
        )
        with threadpool_limits(1):
            clean = {name: data["speaker"].vectors[name] for name in own}
            lie = geometry(clean, test_set.clips.speakers, self.model)
            abx = self._abx(test_set, repeats, workers)
        return Separation(
            matrix=matrix,
            rejection=rejection,
            projection=projection,
            geometry=lie,
            abx=abx,
            blocks=_blocks(matrix, own),
        )

    def _factors(self, test_set: TestSet, spaces: Sequence[Representation]) -> "dict[str, FactorData]":
        """Who and what on the clean clips; the condition on copies of a few, or of all."""

        def embed(condition: str) -> dict[str, Vectors]:
            return {space.name: space.vectors(test_set, condition) for space in spaces}

        clean = embed(CLEAN)
        few = [name for name in test_set.severities if name.endswith(f"@{CONDITION_SEVERITY}")]
        if few:
            rows = test_set.views[few[0]].rows
            copies = {CLEAN: {space: points[rows] for space, points in clean.items()}}
            copies |= {name.split("@")[0]: embed(name) for name in few}
        else:
            rows = np.arange(len(test_set.clips))
            copies = {name: clean if name == CLEAN else embed(name) for name in test_set.whole}
        of_copies = factor_data(test_set.clips.take(rows), copies)
        condition = {factor: data for factor, data in of_copies.items() if factor == CONDITION}
        return factor_data(test_set.clips, {CLEAN: clean}) | condition

    def _abx(self, test_set: TestSet, repeats: int, workers: int) -> dict[str, Abx]:
        """ABX of every subspace and of the best raw layer, frame by frame."""
        if not self.model or not test_set.spoken:
            return {}
        spoken = test_set.spoken
        own = frame_embeddings(self.model, spoken.frames[BACKBONE])
        raw_layers = raw_frame_embeddings(self.frozen or self.model, spoken.frames[FROZEN])

        def error(space: str, frames: Sequence[Vectors]) -> tuple[str, AbxError | None]:
            with threadpool_limits(1):  # OpenMP counts its threads by the thread that asks
                by_clip = dict(zip(spoken.clips.tolist(), frames, strict=True))
                random = rng(EVALUATION_SEED, "abx.bootstrap")
                return space, abx_error(by_clip, spoken.grids, repeats, random)

        # No more spaces are embedded ahead than are measured.
        threads = Parallel(n_jobs=workers, prefer="threads", pre_dispatch=workers)
        found = threads(delayed(error)(*space) for space in chain(own.items(), raw_layers))
        errors = {space: one for space, one in found if one}
        raw = [space for space in errors if space.startswith(f"{RAW}.")]
        best = min(raw, key=lambda space: errors[space].error, default=None)
        kept = [space for space in errors if space == best or space not in raw]
        return {space: Abx(**asdict(errors[space])) for space in kept}


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
) -> ByFactor[ProbedFactor]:
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
        A factor that can't be probed on unseen groups is absent.
    """
    found = _each_cell(data, workers, seeds, lambda vectors, task: _cell(vectors, task, repeats))
    return {
        factor: {
            space: cell.model_copy(update={"kept": _kept(bits, spaces[RAW][1] if RAW in spaces else None)})
            for space, (cell, bits) in spaces.items()
        }
        for factor, spaces in found.items()
    }


def _kept(bits: Bits, raw: Bits | None) -> Kept | None:
    """Divide bits by those of the raw layers, where these are shown to know the factor at all.

    Parameters
    ----------
    bits, raw
        Shape (1 + resamples,): the value on all groups, then that of every resample.
    """
    if raw is None or raw[0] <= 0:
        return None
    resampled = raw[1:][~np.isnan(raw[1:])]
    if len(resampled) and np.quantile(resampled, 0.025) <= 0:
        return None
    share = float(bits[0] / raw[0])
    return Kept(share=round(share, 5), interval=interval(share, bits[1:] / raw[1:]))


def linear_readings(
    data: Mapping[str, FactorData], repeats: int, workers: int = 1, seeds: int = SEEDS
) -> ByFactor[Reading]:
    """Probe every factor from every space by a linear probe alone, on the clips of the matrix.

    For ``rejected`` spaces this is what is left of a factor once a subspace is taken out; for
    ``projected`` ones what a subspace takes.
    """

    def cell(vectors: Vectors, task: Task) -> Reading:
        accuracy = probe(vectors, task, "linear", repeats).accuracy
        return Reading(accuracy=accuracy.value, interval=accuracy.interval, chance=round(task.chance, 5))

    return _each_cell(data, workers, seeds, cell)


def _each_cell(
    data: Mapping[str, FactorData], workers: int, seeds: int, measure: Callable[[Vectors, Task], T]
) -> ByFactor[T]:
    order = tuple(range(seeds))
    tasks = {factor: draw_task(clips.labels, clips.groups, order, rng) for factor, clips in data.items()}
    jobs = [
        (factor, space, vectors, task)
        for factor, task in tasks.items()
        if task is not None
        for space, vectors in data[factor].vectors.items()
    ]
    # One thread per job: matrices this small make the libraries' own threads wait for each other.
    with threadpool_limits(1):
        measured = Parallel(n_jobs=workers, prefer="threads")(
            delayed(_on_one_thread)(measure, vectors, task) for _, _, vectors, task in jobs
        )
    matrix: ByFactor[T] = {}
    for (factor, space, _, _), result in zip(jobs, measured, strict=True):
        matrix.setdefault(factor, {})[space] = result
    return matrix


def _on_one_thread(measure: Callable[[Vectors, Task], T], vectors: Vectors, task: Task) -> T:
    # OpenMP's limit, unlike BLAS', holds for the thread that sets it alone.
    with threadpool_limits(1, user_api="openmp"):
        return measure(vectors, task)


def _cell(vectors: Vectors, task: Task, repeats: int) -> tuple[ProbedFactor, Bits]:
    accuracies, found = {}, []
    for kind in KINDS:
        real, control = (probe(vectors, task, kind, repeats, shuffled) for shuffled in (False, True))
        found.append(real)
        accuracies[kind] = ProbeAccuracy(
            accuracy=real.accuracy.value,
            interval=real.accuracy.interval,
            shuffled=control.accuracy.value,
            shuffled_interval=control.accuracy.interval,
            seeds=len({seed for seed, _ in task.folds}),
        )
    linear, mlp = found
    bits = np.maximum(*(np.append(each.bits.value, each.bits.samples) for each in found))
    probed = ProbedFactor(
        linear=accuracies["linear"],
        mlp=accuracies["mlp"],
        chance=round(task.chance, 5),
        information=Information(
            bits=linear.bits.value,
            interval=linear.bits.interval,
            mlp_bits=mlp.bits.value,
            mlp_interval=mlp.bits.interval,
            entropy_bits=linear.entropy_bits,
        ),
        classes=task.classes,
        clips=len(task.rows),
    )
    return probed, bits


def geometry(
    vectors: Mapping[str, Vectors], speakers: Labels, model: SubspaceModel | None
) -> dict[str, Geometry]:
    """Say how every two spaces lie to each other, on the same held-out clips."""
    angles = principal_angles(model, EVALUATION_SEED) if model else {}
    random = rng(EVALUATION_SEED, "geometry.permutations")
    result = {}
    for first, second in combinations(vectors, 2):
        a, b = vectors[first], vectors[second]
        by_chance = [rv_coefficient(a, b[random.permutation(len(b))]) for _ in range(PERMUTATIONS)]
        result[f"{first}-{second}"] = Geometry(
            cross_covariance=round(rv_coefficient(a, b), 5),
            cross_covariance_by_chance=round(float(np.mean(by_chance)), 5),
            shared_bits=round(shared_bits(a, b, speakers), 5),
            principal_angles=angles.get(f"{first}-{second}"),
        )
    return result


def _blocks(matrix: ByFactor[ProbedFactor], spaces: Sequence[str]) -> Blocks | None:
    """Summarise what the better of the two probes reads of who and what, as a share of the entropy."""
    factors = [factor for factor in ("speaker", "content") if factor in matrix]
    found = [[matrix[factor][space].information for factor in factors] for space in spaces]
    known = [[min(max(i.bits, i.mlp_bits, 0) / i.entropy_bits, 1) for i in row] for row in found]
    scores = block_scores(np.asarray(known).reshape(len(spaces), len(factors)))
    if scores is None:
        return None
    values = asdict(scores)
    return Blocks(mig=values.pop("mig"), dci=Dci(**values))
