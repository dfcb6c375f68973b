"""From a cosine to a probability: logistic calibration on held-out synthetic cells."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from intervox.evaluation.evaluate import CONDITIONS, EVALUATION_SEED, SYNTHETIC, TestSet
from intervox.evaluation.verification import cosine, draw_trials
from intervox.subspaces.model import SubspaceModel

CALIBRATION_TRIALS = 20_000


def calibrate(model: SubspaceModel, test_sets: list[TestSet]) -> dict[str, list[float]]:
    """Fit the slope and offset of each speaker or content subspace.

    Only the synthetic test set is read, clean and cross-condition together, so no human recording
    decides a threshold. Classes are weighted alike: the probability holds at even odds.

    Returns
    -------
    dict
        Subspace to ``[slope, offset]``; empty without a synthetic test set.
    """
    calibration = {}
    for held_out in (test_set for test_set in test_sets if test_set.name == SYNTHETIC):
        values = {"speaker": held_out.speakers, "content": held_out.contents}
        for space, factor in model.factors.items():
            if factor not in values:
                continue
            trials = draw_trials(values[factor], values[factor], CALIBRATION_TRIALS, EVALUATION_SEED)["all"]
            scores, same = [], []
            for condition in CONDITIONS:
                vectors = model.project(held_out.means[condition])[space]
                for pairs, label in ((trials.targets, True), (trials.impostors, False)):
                    scores.append(cosine(vectors, pairs))
                    same.append(np.full(len(pairs), label))
            fit = LogisticRegression(class_weight="balanced", C=1e3)
            fit.fit(np.concatenate(scores)[:, None], np.concatenate(same))
            calibration[space] = [round(float(fit.coef_[0, 0]), 5), round(float(fit.intercept_[0]), 5)]
    return calibration
