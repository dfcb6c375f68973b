"""Keyword spotting across speakers: a linear probe, prototypes of a few examples, and unknown words."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from intervox.clips.labels import Clips, Labels
from intervox.evaluation.findings import Keywords, OpenSet, Shots
from intervox.metrics.bootstrap import bootstrap_weights, estimable, interval
from intervox.metrics.detection import equal_error_rate
from intervox.metrics.events import Detections, count_detections, miss_at, thinned
from intervox.metrics.probes import logistic
from intervox.metrics.vectors import Vectors, unit
from intervox.seeds import rng

SHOTS = (1, 5, 10)
FOLDS = 3
OFFICIAL_TEST = 1_000
"""Clips that an official test part needs: that of a few words or people tells less than folds over all."""

OPEN_SET_SHOTS = 5
FALSE_ACCEPTS = (0.01, 0.05, 0.10)
FALSE_ALARMS_PER_HOUR = 10.0

Rows = NDArray[np.int64]
Answers = list[tuple[Rows, NDArray[np.bool_]]]
"""Tested clips, and whether each is told right."""


def spot_keywords(
    vectors: Vectors, clips: Clips, episodes: int, repeats: int, seed: int, probe: bool, open_set: bool
) -> Keywords:
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
    """
    frequent = np.unique(clips.contents, return_counts=True)[1].max()
    probed = accuracy_resamples([probe_correct(vectors, clips)], clips, repeats, seed) if probe else None
    shots = {}
    for count in SHOTS:
        if answers := shots_correct(vectors, clips, count, episodes, seed):
            value, resampled = accuracy_resamples(answers, clips, repeats, seed)
            found = Shots(
                accuracy=round(value, 5), interval=interval(value, resampled), episodes=len(answers)
            )
            shots[f"shot_{count}"] = found
    return Keywords(
        chance=round(float(frequent / len(clips)), 5),
        probe=round(probed[0], 5) if probed else None,
        probe_interval=interval(*probed) if probed else None,
        **shots,
        open_set=detect_unknown(vectors, clips, episodes, repeats, seed) if open_set else None,
    )


def probe_correct(vectors: Vectors, clips: Clips) -> tuple[Rows, NDArray[np.bool_]]:
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
    for train, test in splits(clips):
        if len(np.unique(clips.contents[train])) == 1:
            predicted = np.repeat(clips.contents[train[:1]], len(test))
        else:
            scaler = StandardScaler().fit(vectors[train])
            probe = logistic(scaler.transform(vectors[train]), clips.contents[train])
            predicted = probe.predict(scaler.transform(vectors[test]))
        tested.append(test)
        correct.append(predicted == clips.contents[test])
    return np.concatenate(tested), np.concatenate(correct)


def splits(clips: Clips) -> Iterator[tuple[Rows, Rows]]:
    """Yield the clips that train and those that test."""
    train, test = np.flatnonzero(clips.split == "train"), np.flatnonzero(clips.split == "test")
    strangers = not np.isin(clips.speakers[test], clips.speakers[train]).any()
    known = np.isin(clips.contents[test], clips.contents[train]).all()
    if len(train) and len(test) >= OFFICIAL_TEST and strangers and known:
        yield train, test
    else:
        folds = GroupKFold(min(FOLDS, len(np.unique(clips.speakers))))
        yield from folds.split(clips.contents, groups=clips.speakers)


def shots_correct(vectors: Vectors, clips: Clips, shots: int, episodes: int, seed: int) -> Answers:
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
    draws = draw_episodes(clips, [contents] * episodes, shots, rng(seed, "keywords.episodes", shots))
    return [
        (tested, np.argmax(vectors[tested] @ prototypes(vectors, examples).T, axis=1) == label[tested])
        for _, examples, tested in draws
    ]


def shot_resamples(
    vectors: Vectors, clips: Clips, shots: int, episodes: int, repeats: int, seed: int
) -> tuple[float, NDArray[np.float64]] | None:
    """Return the accuracy of ``shots`` examples, and that of every resample of the tested speakers.

    The same seed draws the same episodes and the same speakers, so two representations can be
    compared resample by resample. None where no episode has enough examples of every keyword.
    """
    answers = shots_correct(vectors, clips, shots, episodes, seed)
    return accuracy_resamples(answers, clips, repeats, seed) if answers else None


def accuracy_resamples(
    answers: Answers, clips: Clips, repeats: int, seed: int
) -> tuple[float, NDArray[np.float64]]:
    """Accuracy over all answers, and with speakers drawn with replacement; NaN where none was tested."""
    who = np.unique(clips.speakers, return_inverse=True)[1]
    count = int(who.max()) + 1
    rows, correct = (np.concatenate(part) for part in zip(*answers, strict=True))
    right = np.bincount(who[rows], correct, count)
    tested = np.bincount(who[rows], minlength=count)
    weights = bootstrap_weights(count, repeats, rng(seed, "bootstrap"))
    with np.errstate(invalid="ignore"):
        resampled = (weights @ right) / (weights @ tested)
    return float(right.sum() / tested.sum()), estimable(resampled, int(np.count_nonzero(tested)))


def draw_episodes(
    clips: Clips, vocabularies: Sequence[Labels], shots: int, random: np.random.Generator
) -> Iterator[tuple[Labels, Rows, Rows]]:
    """Halve the speakers: one half gives the examples, all clips of the other half are tested.

    Parameters
    ----------
    clips
        Their labels.
    vocabularies
        The keywords to enrol, for each episode.
    shots
        Examples of each keyword.

    Yields
    ------
    keywords, examples, tested
        Shapes (keywords,), (keywords, shots) and (tested,), the latter two clip indices. Episodes
        in which some keyword has too few examples are left out.
    """
    names, speaker = np.unique(clips.speakers, return_inverse=True)
    said = {keyword: np.flatnonzero(clips.contents == keyword) for keyword in np.unique(clips.contents)}
    for keywords in vocabularies:
        enrols = np.zeros(len(names), bool)
        enrols[random.permutation(len(names))[: len(names) // 2]] = True
        enrolling = enrols[speaker]
        available = [said[keyword][enrolling[said[keyword]]] for keyword in keywords]
        examples = [random.choice(rows, shots, replace=False) for rows in available if len(rows) >= shots]
        if len(examples) == len(keywords):
            yield keywords, np.stack(examples), np.flatnonzero(~enrolling)


def prototypes(vectors: Vectors, examples: Rows) -> Vectors:
    """Average each keyword's examples: unit vectors of shape (keywords, dim)."""
    return unit(vectors[examples].mean(axis=1))


def detect_unknown(vectors: Vectors, clips: Clips, episodes: int, repeats: int, seed: int) -> OpenSet | None:
    """Enrol two thirds of the contents, and detect them among clips of all contents.

    Every episode draws the unknown third anew, as some words are easier to tell from the rest than
    others. It halves the speakers as ``draw_episodes`` does, averages five examples of each known
    content (fewer where a content has fewer than twenty clips) and scores every clip of the other half
    by its largest cosine with a prototype. A known clip is missed where that lies below the
    threshold or belongs to another content; an unknown clip at or above it is a false alarm. One
    threshold holds for all episodes. (The largest cosine ranks better than its margin over the second
    or a softmax: unknown words lie far from all prototypes more often than between two.) By chance, the
    equal error rate with n known contents is n/(n + 1), as a keyword has to be named rightly too.

    Parameters
    ----------
    vectors
        Unit vectors, shape (clips, dim).
    clips
        Their labels; ``duration`` gives the hours of unknown speech.
    episodes, repeats, seed
        As for ``spot_keywords``.

    Returns
    -------
    OpenSet or None
        None with fewer than three contents, or too few examples of one.
    """
    contents, counts = np.unique(clips.contents, return_counts=True)
    unknown = len(contents) // 3
    # Half of the speakers say half of a content's clips on average: a quarter leaves room.
    shots = min(OPEN_SET_SHOTS, max(1, int(counts.min()) // 4))
    random = rng(seed, "open_set.episodes")
    vocabularies = [np.sort(random.permutation(contents)[unknown:]) for _ in range(episodes)]
    counted = _detections(vectors, clips, vocabularies, shots, seed) if unknown else None
    if counted is None:
        return None
    trials, unknown_hours = counted
    accept, reject = trials.curve()
    weights = bootstrap_weights(len(trials.wanted), repeats, rng(seed, "bootstrap"))
    accepts, rejects = trials.resampled(weights)
    eers = np.asarray([equal_error_rate(*curves) for curves in zip(accepts, rejects, strict=True)])
    eer = equal_error_rate(accept, reject)
    by_hour: dict[str, Any] = {}
    if unknown_hours:
        hourly = accept * trials.exposure.sum() / unknown_hours
        missed = round(miss_at(hourly, reject, FALSE_ALARMS_PER_HOUR), 5)
        by_hour = {
            "false_alarms_per_hour": _hourly_curve(trials, hourly, reject),
            "miss_at_false_alarms_per_hour": {f"{FALSE_ALARMS_PER_HOUR:g}": missed},
        }
    return OpenSet(
        unknown=unknown,
        known=len(contents) - unknown,
        shots=shots,
        eer=round(eer, 5),
        eer_interval=interval(eer, estimable(eers, trials.groups)),
        false_reject_at_false_accept={
            f"{limit:.2f}": round(miss_at(accept, reject, limit), 5) for limit in FALSE_ACCEPTS
        },
        curve=curve_points(accept, reject),
        **by_hour,
    )


def _detections(
    vectors: Vectors, clips: Clips, vocabularies: list[Labels], shots: int, seed: int
) -> tuple[Detections, float] | None:
    """Pool the scores of all episodes, and the hours of unknown speech (0 where not all are known)."""
    who = np.unique(clips.speakers, return_inverse=True)[1]
    scores, rows, right, unknown = [], [], [], []
    random = rng(seed, "open_set.keywords")
    for keywords, examples, tested in draw_episodes(clips, vocabularies, shots, random):
        cosines = vectors[tested] @ prototypes(vectors, examples).T
        scores.append(cosines.max(axis=1))
        rows.append(tested)
        right.append(keywords[cosines.argmax(axis=1)] == clips.contents[tested])
        unknown.append(np.isin(clips.contents[tested], keywords, invert=True))
    if not rows:
        return None
    score, row, hit, strange = (np.concatenate(part) for part in (scores, rows, right, unknown))
    speakers = int(who.max()) + 1
    trials = count_detections(
        (score[hit], who[row[hit]]),
        (score[strange], who[row[strange]]),
        np.bincount(who[row[~strange]], minlength=speakers),
        np.bincount(who[row[strange]], minlength=speakers),
    )
    durations = clips.duration[row[strange]]
    return trials, float(durations.sum() / 3600) if durations.all() else 0.0


def curve_points(alarms: NDArray[np.float64], misses: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return some points of a curve, false alarms and miss rate each."""
    points = np.stack([alarms, misses], axis=1)[thinned(alarms)].round(5)
    return [(alarm, miss) for alarm, miss in points.tolist()]


def _hourly_curve(
    trials: Detections, hourly: NDArray[np.float64], reject: NDArray[np.float64]
) -> list[list[float]]:
    """Thresholds with their false alarms an hour and miss rates; the last has no false alarm left."""
    thresholds = np.append(trials.thresholds, trials.thresholds[-1] + 1)
    points: list[list[float]] = (
        np.stack([thresholds, hourly, reject], axis=1)[thinned(hourly)].round(5).tolist()
    )
    return points
