"""Keyword spotting across speakers: a linear probe, and prototypes from one or five examples."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SHOTS = (1, 5)
FOLDS = 3


def probe_accuracy(vectors: NDArray[np.float32], labels: NDArray[Any], speakers: NDArray[Any]) -> float:
    """Return the accuracy of a linear classifier on speakers that it was not trained on.

    Logistic regression on standardised vectors, three folds over speakers, every clip tested once.

    Parameters
    ----------
    vectors
        Shape (clips, dim).
    labels, speakers
        Shape (clips,).
    """
    folds = min(FOLDS, len(np.unique(speakers)))
    correct = 0
    for train, test in GroupKFold(folds).split(vectors, labels, speakers):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=60))
        with warnings.catch_warnings():
            # An early stop regularises; at 60 iterations the accuracy has long settled.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(vectors[train], labels[train])
        correct += int((probe.predict(vectors[test]) == labels[test]).sum())
    return correct / len(labels)


def shot_accuracies(
    vectors: NDArray[np.float32],
    labels: NDArray[Any],
    speakers: NDArray[Any],
    shots: int,
    episodes: int,
    seed: int,
) -> list[float]:
    """Return the accuracies of the nearest prototype, enrolled from speakers who are not tested.

    Each episode halves the speakers at random, draws ``shots`` examples of every keyword from the
    first half, averages them, and classifies all clips of the second half by cosine.

    Parameters
    ----------
    vectors
        Unit vectors, shape (clips, dim).
    labels, speakers
        Shape (clips,).

    Returns
    -------
    list
        One accuracy an episode, less those in which some keyword has too few examples. The same
        seed draws the same episodes.
    """
    return [
        float(correct.mean()) for _, correct in _episodes(vectors, labels, speakers, shots, episodes, seed)
    ]


def shot_resamples(
    vectors: NDArray[np.float32],
    labels: NDArray[Any],
    speakers: NDArray[Any],
    episodes: int,
    repeats: int,
    seed: int,
) -> tuple[float, NDArray[np.float64]]:
    """Return the one-shot accuracy over all episodes, and that of every resample of the speakers.

    The same seed draws the same episodes and the same speakers, so two representations can be
    compared resample by resample.
    """
    who = np.unique(speakers, return_inverse=True)[1]
    count = int(who.max()) + 1
    right, tested = np.zeros(count), np.zeros(count)
    for rows, correct in _episodes(vectors, labels, speakers, 1, episodes, seed):
        right += np.bincount(who[rows], correct, count)
        tested += np.bincount(who[rows], minlength=count)
    random = np.random.default_rng([seed, 6])
    drawn = random.integers(count, size=(repeats, count))
    return float(right.sum() / tested.sum()), right[drawn].sum(axis=1) / tested[drawn].sum(axis=1)


def _episodes(
    vectors: NDArray[np.float32],
    labels: NDArray[Any],
    speakers: NDArray[Any],
    shots: int,
    episodes: int,
    seed: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield the clips that each episode tests, and which of them it gets right."""
    random = np.random.default_rng([seed, shots, 7])
    classes, label = np.unique(labels, return_inverse=True)
    names, speaker = np.unique(speakers, return_inverse=True)
    for _ in range(episodes):
        enrolling = np.isin(speaker, random.permutation(len(names))[: len(names) // 2])
        examples = []
        for index in range(len(classes)):
            available = np.flatnonzero(enrolling & (label == index))
            if len(available) >= shots:
                examples.append(random.choice(available, shots, replace=False))
        if len(examples) < len(classes):
            continue
        prototypes = vectors[np.stack(examples)].mean(axis=1)
        prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True) + 1e-9
        tested = np.flatnonzero(~enrolling)
        yield tested, np.argmax(vectors[tested] @ prototypes.T, axis=1) == label[tested]


def _summary(accuracies: list[float]) -> dict[str, Any] | None:
    """Mean and standard deviation over episodes; None where there were none."""
    if not accuracies:
        return None
    return {
        "accuracy": round(float(np.mean(accuracies)), 5),
        "deviation": round(float(np.std(accuracies)), 5),
        "episodes": len(accuracies),
    }


def spot_keywords(
    vectors: NDArray[np.float32],
    labels: NDArray[Any],
    speakers: NDArray[Any],
    episodes: int,
    seed: int,
    probe: bool,
) -> dict[str, Any]:
    """Evaluate one representation: ``shot_1``, ``shot_5`` and chance, with ``probe`` its accuracy."""
    frequent = np.unique(labels, return_counts=True)[1].max()
    result: dict[str, Any] = {"chance": round(float(frequent / len(labels)), 5)}
    if probe:
        result["probe"] = round(probe_accuracy(vectors, labels, speakers), 5)
    for shots in SHOTS:
        result[f"shot_{shots}"] = _summary(shot_accuracies(vectors, labels, speakers, shots, episodes, seed))
    return result
