"""Separation of a set of spaces on one test set: everything that goes into ``separation``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from threadpoolctl import threadpool_limits

from intervox.evaluation.abx import abx_error, frame_embeddings
from intervox.evaluation.arrangement import RAW
from intervox.evaluation.blocks import block_scores
from intervox.evaluation.geometry import dependence, principal_angles
from intervox.evaluation.representations import Representation
from intervox.evaluation.residual import linear_spaces, projected, raw_space, rejected
from intervox.evaluation.separation import (
    CONDITION,
    FactorData,
    factor_data,
    linear_readings,
    separation_matrix,
)
from intervox.evaluation.test_sets import CLEAN, EVALUATION_SEED, TestSet
from intervox.evaluation.vectors import Means, Vectors
from intervox.subspaces.model import SubspaceModel

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
