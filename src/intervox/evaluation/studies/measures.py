"""Light measuring that the studies share: whether each subspace knows its own factor, with resamples."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.keywords import shot_resamples
from intervox.evaluation.representations import Representation, subspace_representations
from intervox.evaluation.test_sets import CLEAN, EVALUATION_SEED, TestSet, draw, has_keywords
from intervox.metrics.bootstrap import SpeakerResamples
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.metrics.vectors import Vectors, cosine
from intervox.model.model import SubspaceModel
from intervox.recipe import EvaluationSettings
from intervox.seeds import rng
from intervox.storage import read_json, write_json

Samples = NDArray[np.float64]
"""The value on all speakers, then that of every resample: shape (1 + resamples,)."""

Spaces = Mapping[str, Representation]
"""Factor to the representation that is measured for it."""

CONTENT_TRIALS = "content"
"""The stratum of ``with_content_trials``."""

Measure = Callable[[TestSet, Mapping[str, Vectors], EvaluationSettings], Samples | None]
"""From a test set and its vectors by factor to samples; None where it can't be measured there."""


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
    spaces: Spaces,
    test_sets: Sequence[TestSet],
    settings: EvaluationSettings,
    measures: Mapping[str, Measure],
    degraded: Collection[str] | None = None,
) -> dict[str, Samples]:
    """Return the samples of every measure, keyed ``<protocol> <condition> <measure>``.

    Parameters
    ----------
    degraded
        The measures that clips under drawn conditions are asked for; ``CHOSEN_MEASURES`` by default.
    """
    also = CHOSEN_MEASURES if degraded is None else degraded
    result = {}
    for test_set in test_sets:
        for condition in test_set.whole:
            asked = {name: each for name, each in measures.items() if condition == CLEAN or name in also}
            if not asked:
                continue
            vectors = {factor: space.vectors(test_set, condition) for factor, space in spaces.items()}
            for name, samples in asked.items():
                found = samples(test_set, vectors, settings)
                if found is not None:
                    result[f"{test_set.name} {condition} {name}"] = found
    return result


def write_samples(path: Path, found: Mapping[str, Samples]) -> None:
    """Write what ``measure`` returned; JSON has no NaN, so null stands for it."""
    nulls = {
        key: [None if np.isnan(each) else each for each in values.tolist()] for key, values in found.items()
    }
    write_json(path, nulls)


def read_samples(path: Path) -> dict[str, Samples]:
    """Read what ``write_samples`` wrote."""
    return {key: np.asarray(values, float) for key, values in read_json(path).items()}


def error_rate(space: str, stratum: str, factor: str = "speaker") -> Measure:
    """Measure the EER of a stratum's trials in a space, resampled over a factor's values."""

    def samples(
        test_set: TestSet, vectors: Mapping[str, Vectors], settings: EvaluationSettings
    ) -> Samples | None:
        if stratum not in test_set.trials or space not in vectors:
            return None
        trials = test_set.trials[stratum]
        scores = cosine(vectors[space], trials.targets), cosine(vectors[space], trials.impostors)
        groups = test_set.clips.labels[factor]
        resamples = SpeakerResamples(groups, settings.bootstrap, rng(EVALUATION_SEED, "bootstrap"))
        rates = resamples.equal_error_rates(scores, trials)
        return np.array([equal_error_rate(*error_rates(*scores)), *rates])

    return samples


def one_shot(
    test_set: TestSet, vectors: Mapping[str, Vectors], settings: EvaluationSettings
) -> Samples | None:
    """Measure the accuracy from one example of other speakers, in the content space."""
    if "content" not in vectors or not has_keywords(test_set.clips):
        return None
    found = shot_resamples(
        vectors["content"], test_set.clips, 1, settings.episodes, settings.bootstrap, EVALUATION_SEED
    )
    return np.array([found[0], *found[1]]) if found else None


CHOSEN_MEASURES = ("different_text", "content_eer")
"""What a choice among variants reads: whether each subspace knows its own factor."""

MEASURES: dict[str, Measure] = {
    "different_text": error_rate("speaker", "different_text"),
    "same_text_impostors": error_rate("speaker", "same_text_impostors"),
    "one_shot": one_shot,
    "content_eer": error_rate("content", CONTENT_TRIALS, "content"),
    "speaker_leak": error_rate("content", "different_text"),
}
"""What is measured, in this order: the speaker subspace, words in the content subspace, voices in it."""
