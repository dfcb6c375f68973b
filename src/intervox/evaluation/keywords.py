"""Keyword spotting across speakers: a linear probe, and prototypes from one, five or ten examples."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from intervox.evaluation.clips import Clips
from intervox.evaluation.enrolment import Rows, draw_episodes, prototypes
from intervox.evaluation.open_set import detect_unknown
from intervox.evaluation.probes import logistic
from intervox.evaluation.uncertainty import bootstrap_weights, interval

SHOTS = (1, 5, 10)
FOLDS = 3
OFFICIAL_TEST = 1_000
"""Clips that an official test part needs: that of a few words or people tells less than folds over all."""


def probe_correct(vectors: NDArray[np.float32], clips: Clips) -> tuple[Rows, NDArray[np.bool_]]:
    """Tell which clips a linear classifier gets right, of speakers that it was not trained on.

    ``probes.logistic`` on standardised vectors. The official split is used where it tests
    ``OFFICIAL_TEST`` clips, shares no speaker and trains every tested content; otherwise three folds
    over speakers, in which every clip is tested once.

    Parameters
    ----------
    vectors
        Shape (clips, dim).
    clips
        Their labels.

    Returns
    -------
    tested, correct
        Shape (tested,): clip indices, and whether each is told right.
    """
    tested, correct = [], []
    for train, test in _splits(clips):
        if len(np.unique(clips.contents[train])) == 1:
            predicted = np.repeat(clips.contents[train[:1]], len(test))
        else:
            scaler = StandardScaler().fit(vectors[train])
            probe = logistic(scaler.transform(vectors[train]), clips.contents[train])
            predicted = probe.predict(scaler.transform(vectors[test]))
        tested.append(test)
        correct.append(predicted == clips.contents[test])
    return np.concatenate(tested), np.concatenate(correct)


def _splits(clips: Clips) -> Iterator[tuple[Rows, Rows]]:
    """Yield the clips that train and those that test."""
    train, test = np.flatnonzero(clips.split == "train"), np.flatnonzero(clips.split == "test")
    strangers = not np.isin(clips.speakers[test], clips.speakers[train]).any()
    known = np.isin(clips.contents[test], clips.contents[train]).all()
    if len(train) and len(test) >= OFFICIAL_TEST and strangers and known:
        yield train, test
    else:
        folds = GroupKFold(min(FOLDS, len(np.unique(clips.speakers))))
        yield from folds.split(clips.contents, groups=clips.speakers)


def shots_correct(
    vectors: NDArray[np.float32], clips: Clips, shots: int, episodes: int, seed: int
) -> list[tuple[Rows, NDArray[np.bool_]]]:
    """Tell which clips the nearest prototype gets right, enrolled from speakers who are not tested.

    Each episode halves the speakers at random, draws ``shots`` examples of every keyword from the
    first half, averages them, and classifies all clips of the second half by cosine.

    Parameters
    ----------
    vectors
        Unit vectors, shape (clips, dim).
    clips
        Their labels.

    Returns
    -------
    list
        An episode's tested clips, and whether each is told right; less the episodes in which some
        keyword has too few examples. The same seed draws the same episodes.
    """
    contents, label = np.unique(clips.contents, return_inverse=True)
    draws = draw_episodes(clips, [contents] * episodes, shots, np.random.default_rng([seed, shots, 7]))
    return [
        (tested, np.argmax(vectors[tested] @ prototypes(vectors, examples).T, axis=1) == label[tested])
        for _, examples, tested in draws
    ]


def shot_resamples(
    vectors: NDArray[np.float32], clips: Clips, shots: int, episodes: int, repeats: int, seed: int
) -> tuple[float, NDArray[np.float64]] | None:
    """Return the accuracy of ``shots`` examples, and that of every resample of the tested speakers.

    The same seed draws the same episodes and the same speakers, so two representations can be
    compared resample by resample. None where no episode has enough examples of every keyword.
    """
    answers = shots_correct(vectors, clips, shots, episodes, seed)
    return _resamples(answers, clips, repeats, seed) if answers else None


def _resamples(
    answers: list[tuple[Rows, NDArray[np.bool_]]], clips: Clips, repeats: int, seed: int
) -> tuple[float, NDArray[np.float64]]:
    """Accuracy over all answers, and with speakers drawn with replacement."""
    who = np.unique(clips.speakers, return_inverse=True)[1]
    count = int(who.max()) + 1
    rows, correct = (np.concatenate(part) for part in zip(*answers, strict=True))
    right = np.bincount(who[rows], correct, count)
    tested = np.bincount(who[rows], minlength=count)
    weights = bootstrap_weights(count, repeats, seed)
    weights = weights[weights @ tested > 0]
    return float(right.sum() / tested.sum()), (weights @ right) / (weights @ tested)


def spot_keywords(
    vectors: NDArray[np.float32],
    clips: Clips,
    episodes: int,
    repeats: int,
    seed: int,
    probe: bool,
    open_set: bool,
) -> dict[str, Any]:
    """Evaluate one representation of a keyword corpus.

    Parameters
    ----------
    vectors
        Unit vectors, shape (clips, dim).
    clips
        Their labels.
    episodes
        Draws of enrolling speakers and examples.
    repeats
        Of the bootstrap over tested speakers; 0 leaves the intervals out.
    seed
        Decides the draws of both.
    probe, open_set
        Whether to add a linear probe, and the detection of keywords among unknown words.

    Returns
    -------
    dict
        ``chance`` (always answering the commonest keyword); ``shot_1``, ``shot_5`` and ``shot_10``:
        ``accuracy`` over all answers of all ``episodes`` and its 95 % ``interval``, None where a
        keyword has too few examples; ``probe`` and ``probe_interval``; ``open_set`` as
        ``detect_unknown`` returns it.
    """
    frequent = np.unique(clips.contents, return_counts=True)[1].max()
    result: dict[str, Any] = {"chance": round(float(frequent / len(clips)), 5)}
    if probe:
        value, resampled = _resamples([probe_correct(vectors, clips)], clips, repeats, seed)
        result |= {"probe": round(value, 5), "probe_interval": interval(resampled)}
    for shots in SHOTS:
        answers = shots_correct(vectors, clips, shots, episodes, seed)
        result[f"shot_{shots}"] = None
        if answers:
            value, resampled = _resamples(answers, clips, repeats, seed)
            result[f"shot_{shots}"] = {
                "accuracy": round(value, 5),
                "interval": interval(resampled),
                "episodes": len(answers),
            }
    if open_set:
        result["open_set"] = detect_unknown(vectors, clips, episodes, repeats, seed)
    return result
