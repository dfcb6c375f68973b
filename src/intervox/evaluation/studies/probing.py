"""Linear probes of each space for the other space's factor, as measures of a study."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from intervox.evaluation.studies.measures import Measure, Samples
from intervox.evaluation.test_sets import EVALUATION_SEED, TestSet
from intervox.metrics.probes import draw_task, probe
from intervox.metrics.vectors import Vectors
from intervox.recipe import EvaluationSettings
from intervox.seeds import rng


def _probe(
    space: str,
    factor: str,
    groups: str,
    test_set: TestSet,
    vectors: Mapping[str, Vectors],
    settings: EvaluationSettings,
) -> Samples | None:
    """Measure a linear probe's accuracy over what guessing the most frequent class gives."""
    if space not in vectors:
        return None
    labels = test_set.clips.labels
    seeds = tuple(range(EVALUATION_SEED, EVALUATION_SEED + settings.seeds))
    task = draw_task(labels[factor], labels[groups], seeds, rng)
    if task is None:
        return None
    found = probe(vectors[space], task, "linear", settings.bootstrap).accuracy
    return np.array([found.value, *found.samples]) - task.chance


PROBES: dict[str, Measure] = {
    "speaker_probe": partial(_probe, "content", "speaker", "content"),
    "content_probe": partial(_probe, "speaker", "content", "speaker"),
}
"""Who speaks, read from the content space on texts that the probe was not trained on; what is said, read from
the speaker space on speakers that it was not trained on: the accuracy less that of guessing."""
