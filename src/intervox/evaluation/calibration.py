"""From a cosine to a probability: logistic calibration on held-out synthetic cells."""

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from intervox.evaluation.evaluate import CONDITIONS, EVALUATION_SEED, SYNTHETIC, TestSet
from intervox.evaluation.verification import cosine, draw_trials
from intervox.storage import write_json
from intervox.subspaces.model import CALIBRATION, SubspaceModel

CALIBRATION_TRIALS = 20_000


def calibrate(model: SubspaceModel, test_sets: list[TestSet], folder: Path) -> None:
    """Fit slope and offset for the speaker and content subspaces; write ``calibration.json``.

    Only the synthetic test set is read, clean and cross-condition together, so no human recording
    decides a threshold. Classes are weighted alike: the probability holds at even odds.
    """
    found = [test_set for test_set in test_sets if test_set.name == SYNTHETIC]
    if not found:
        return
    held_out = found[0]
    values = {"speaker": held_out.speakers, "content": held_out.contents}
    calibration = {}
    for space, factor in model.factors.items():
        if factor not in values:
            continue
        other = np.arange(len(held_out.speakers))  # every clip its own value: any pair is a trial
        trials = draw_trials(values[factor], other, CALIBRATION_TRIALS, EVALUATION_SEED)["all"]
        scores, same = [], []
        for condition in CONDITIONS:
            vectors = model.project(held_out.means[condition])[space]
            for pairs, label in ((trials.targets, True), (trials.impostors, False)):
                scores.append(cosine(vectors, pairs))
                same.append(np.full(len(pairs), label))
        fit = LogisticRegression(class_weight="balanced", C=1e3)
        fit.fit(np.concatenate(scores)[:, None], np.concatenate(same))
        calibration[space] = [round(float(fit.coef_[0, 0]), 5), round(float(fit.intercept_[0]), 5)]
    write_json(folder / CALIBRATION, calibration)
