"""What ingredients and sweeps share: training on a part of the cells, and measuring a model lightly."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.evaluation.keywords import shot_resamples
from intervox.evaluation.representations import Representation, subspace_representations
from intervox.evaluation.test_sets import CLEAN, EVALUATION_SEED, TestSet, draw
from intervox.metrics.bootstrap import SpeakerResamples
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.metrics.vectors import Vectors, cosine
from intervox.model.model import SubspaceModel
from intervox.recipe import EvaluationSettings, Recipe
from intervox.seeds import rng

Mask = NDArray[np.bool_]
Samples = NDArray[np.float64]
"""The value on all speakers, then that of every resample: shape (1 + resamples,)."""

Spaces = Mapping[str, Representation]
"""Factor to the representation that is measured for it."""

CONTENT_TRIALS = "content"
"""The stratum of ``with_content_trials``."""

_Measure = Callable[[TestSet, Mapping[str, Vectors], EvaluationSettings], Samples | None]


def train_on(cells: pa.Table, mask: Mask) -> pa.Table:
    """Take the cells outside the mask out of training.

    Those of other splits stay what they are: training may be validated on them.
    """
    split = np.asarray(cells["split"].to_pylist())
    kept = np.where((split == "train") & ~mask, "unused", split)
    return cells.set_column(cells.column_names.index("split"), "split", pa.array(kept, pa.string()))


def matched(recipe: Recipe, cells: pa.Table, mask: Mask) -> Recipe:
    """Give smaller blocks more of them a step: every variant sees as many cells a step.

    Parameters
    ----------
    mask
        Shape (cells,): the training cells that are kept.
    """
    block = np.asarray(cells["block"].to_pylist())
    train = np.asarray(cells["split"].to_pylist()) == "train"
    per_block = train.sum() / len(np.unique(block[train]))
    kept = mask.sum() / len(np.unique(block[mask]))
    blocks = max(1, round(recipe.training.blocks_per_step * float(per_block / kept)))
    training = recipe.training.model_copy(update={"blocks_per_step": blocks})
    return recipe.model_copy(update={"training": training})


def measured_factors(recipe: Recipe) -> bool:
    """Whether a recipe has a subspace for both factors that are measured."""
    return {"speaker", "content"} <= {settings.factor for settings in recipe.subspaces.values()}


def spaces_of(model: SubspaceModel) -> Spaces:
    """Return the first subspace of every factor."""
    return {model.factors[space.name]: space for space in reversed(subspace_representations(model))}


def with_content_trials(test_set: TestSet, max_trials: int) -> TestSet:
    """Add the trials that ask "same words?" across speakers, where contents are said by several.

    They are those of ``different_text`` with the factors' roles exchanged: targets share the text and
    not the speaker, impostors neither.
    """
    labels = test_set.clips.labels
    exchanged = replace(test_set.clips, labels={"speaker": labels["content"], "content": labels["speaker"]})
    found = draw(exchanged, max_trials).get("different_text")
    return replace(test_set, trials=test_set.trials | {CONTENT_TRIALS: found}) if found else test_set


def measure(
    spaces: Spaces, test_sets: Sequence[TestSet], settings: EvaluationSettings, names: Collection[str]
) -> dict[str, list[float]]:
    """Return the samples of every measure in ``names``, keyed ``<protocol> <condition> <measure>``.

    Clips under drawn conditions are asked for ``CHOSEN_MEASURES`` alone.
    """
    result = {}
    for test_set in test_sets:
        for condition in test_set.whole:
            vectors = {factor: space.vectors(test_set, condition) for factor, space in spaces.items()}
            for name, samples in MEASURES.items():
                if name in names and (condition == CLEAN or name in CHOSEN_MEASURES):
                    found = samples(test_set, vectors, settings)
                    if found is not None:
                        result[f"{test_set.name} {condition} {name}"] = found.tolist()
    return result


def _errors(space: str, stratum: str, factor: str = "speaker") -> _Measure:
    """EER of a stratum's trials in a space, resampled over a factor's values."""

    def samples(
        test_set: TestSet, vectors: Mapping[str, Vectors], settings: EvaluationSettings
    ) -> Samples | None:
        if stratum not in test_set.trials:
            return None
        trials = test_set.trials[stratum]
        scores = cosine(vectors[space], trials.targets), cosine(vectors[space], trials.impostors)
        groups = test_set.clips.labels[factor]
        resamples = SpeakerResamples(groups, settings.bootstrap, rng(EVALUATION_SEED, "bootstrap"))
        rates = resamples.equal_error_rates(scores, trials)
        return np.array([equal_error_rate(*error_rates(*scores)), *rates[~np.isnan(rates)]])

    return samples


def _one_shot(
    test_set: TestSet, vectors: Mapping[str, Vectors], settings: EvaluationSettings
) -> Samples | None:
    if not test_set.has_keywords:
        return None
    found = shot_resamples(
        vectors["content"], test_set.clips, 1, settings.episodes, settings.bootstrap, EVALUATION_SEED
    )
    return np.array([found[0], *found[1]]) if found else None


CHOSEN_MEASURES = ("different_text", "content_eer")
"""What a choice among variants reads: whether each subspace knows its own factor."""

MEASURES: dict[str, _Measure] = {
    "different_text": _errors("speaker", "different_text"),
    "same_text_impostors": _errors("speaker", "same_text_impostors"),
    "one_shot": _one_shot,
    "content_eer": _errors("content", CONTENT_TRIALS, "content"),
    "speaker_leak": _errors("content", "different_text"),
}
"""What is measured, in this order: the speaker subspace, words in the content subspace, voices in it."""
