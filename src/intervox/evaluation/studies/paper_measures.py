"""The measures of the paper: verification by the speakers' genders, and words read by a linear head."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from intervox.clips.labels import Clips
from intervox.evaluation.keywords import Rows, accuracy_resamples, splits
from intervox.evaluation.studies.measures import Measure, Samples, error_rate
from intervox.evaluation.test_sets import EVALUATION_SEED, TestSet, has_keywords
from intervox.metrics.trials import Trials, usual_stratum
from intervox.metrics.vectors import Vectors
from intervox.recipe import EvaluationSettings
from intervox.seeds import rng

EPOCHS = 30
BATCH = 64
LEARNING_RATE = 1e-3
"""Of the linear head. The epochs are the paper's; what it does not give are our choice: AdamW as PyTorch sets
it, at this rate, on vectors standardised over the training clips."""

ALL, SAME, DIFFERENT = "paper", "paper_same_gender", "paper_different_gender"
"""Strata: the trials of the paper, and those of them between speakers of one gender, or of two."""

OFFICIAL = ("list:O_cleaned", "list:O")
"""VoxCeleb1's trials, the cleaned list first."""

KEYWORD_HEAD = "keyword_head"


def with_paper_trials(test_set: TestSet, genders: Mapping[str, str] | None = None) -> TestSet:
    """Add the paper's trials: VoxCeleb1's list where it is there, the usual stratum elsewhere.

    All targets stand in both strata of genders: only impostors can differ in it. Trials with a speaker
    whose gender is not known are left out of these two.

    Parameters
    ----------
    genders
        Speaker to gender, for those that the corpus does not tell.
    """
    if not test_set.trials:
        return test_set
    official = next((name for name in OFFICIAL if name in test_set.trials), None)
    chosen = test_set.trials[official or usual_stratum(test_set.trials)]
    labels = dict(test_set.clips.labels)
    known = labels.get("gender", np.full(len(test_set.clips), ""))
    given = genders or {}
    gender = np.array([given.get(who, own) for who, own in zip(labels["speaker"], known, strict=True)])
    labels |= {"gender": gender} if (gender != "").any() else {}
    clips = replace(test_set.clips, labels=labels)
    return replace(test_set, clips=clips, trials=test_set.trials | {ALL: chosen} | _by_gender(chosen, gender))


def _by_gender(trials: Trials, gender: NDArray[np.str_]) -> dict[str, Trials]:
    targets = trials.targets[(gender[trials.targets] != "").all(axis=1)]
    impostors = trials.impostors[(gender[trials.impostors] != "").all(axis=1)]
    alike = np.equal(*gender[impostors].T) if len(impostors) else np.zeros(0, bool)
    found = {SAME: impostors[alike], DIFFERENT: impostors[~alike]}
    return {name: Trials(targets, pairs) for name, pairs in found.items() if len(targets) and len(pairs)}


def head_correct(
    vectors: Vectors, clips: Clips, epochs: int = EPOCHS, seed: int = EVALUATION_SEED
) -> tuple[Rows, NDArray[np.bool_]]:
    """Tell which clips a linear head gets right, of speakers that it was not trained on.

    The split is that of the keyword probe: the official one where it tests enough clips, else three folds
    over speakers.

    Parameters
    ----------
    vectors
        Shape (clips, dim).
    clips
        Their labels.
    epochs
        Passes over the training clips, in shuffled batches of ``BATCH``.

    Returns
    -------
    tested, correct
        Shape (tested,): clip indices, and whether each is told right.
    """
    words, label = np.unique(clips.contents, return_inverse=True)
    tested, correct = [], []
    for fold, (train, test) in enumerate(splits(clips)):
        mean, deviation = vectors[train].mean(axis=0), vectors[train].std(axis=0) + 1e-6
        inputs = torch.from_numpy((vectors - mean) / deviation)
        head = _fit_head(inputs[train], torch.from_numpy(label[train]), len(words), epochs, seed + fold)
        with torch.inference_mode():
            predicted = head(inputs[test]).argmax(dim=1).numpy()
        tested.append(test)
        correct.append(predicted == label[test])
    return np.concatenate(tested), np.concatenate(correct)


def _fit_head(inputs: torch.Tensor, labels: torch.Tensor, words: int, epochs: int, seed: int) -> nn.Linear:
    head = nn.Linear(inputs.shape[1], words)
    with torch.no_grad():  # the start is the same whatever was drawn before
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    optimiser = torch.optim.AdamW(head.parameters(), LEARNING_RATE)
    with torch.enable_grad():
        for epoch in range(epochs):
            order = torch.from_numpy(rng(seed, "paper.head", epoch).permutation(len(inputs)))
            for batch in torch.split(order, BATCH):  # type: ignore[no-untyped-call]
                optimiser.zero_grad()
                loss = nn.functional.cross_entropy(head(inputs[batch]), labels[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    return head


def _keyword_head(space: str) -> Measure:
    def samples(
        test_set: TestSet, vectors: Mapping[str, Vectors], settings: EvaluationSettings
    ) -> Samples | None:
        if space not in vectors or not has_keywords(test_set.clips):
            return None
        answers = head_correct(vectors[space], test_set.clips)
        value, resampled = accuracy_resamples([answers], test_set.clips, settings.bootstrap, EVALUATION_SEED)
        return np.array([value, *resampled])

    return samples


def measure_name(what: str, space: str) -> str:
    """Name what is read from a space, such as ``paper_same_gender from content``, without blanks."""
    return f"{what}-from-{space}"


@cache
def paper_measures() -> dict[str, Measure]:
    """Return the measures by name, each from the matching and from the other space."""
    errors = {
        measure_name(stratum, space): error_rate(space, stratum)
        for stratum in (ALL, SAME, DIFFERENT)
        for space in ("speaker", "content")
    }
    return errors | {
        measure_name(KEYWORD_HEAD, space): _keyword_head(space) for space in ("content", "speaker")
    }
