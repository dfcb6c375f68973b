"""Keywords among words that nobody enrolled: what is missed, and what sets off a false alarm."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.clips import Clips, Labels
from intervox.evaluation.detection import equal_error_rate
from intervox.evaluation.detections import Detections, count_detections, miss_at, thinned
from intervox.evaluation.enrolment import draw_episodes, prototypes
from intervox.evaluation.uncertainty import bootstrap_weights, interval

SHOTS = 5
FALSE_ACCEPTS = (0.01, 0.05, 0.10)
FALSE_ALARMS_PER_HOUR = 10.0


def detect_unknown(
    vectors: NDArray[np.float32], clips: Clips, episodes: int, repeats: int, seed: int
) -> dict[str, Any] | None:
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
    dict or None
        ``unknown`` and ``known`` (how many contents an episode has of each), ``shots``, ``eer`` and
        its ``eer_interval`` (95 %, bootstrap over tested speakers), ``false_reject_at_false_accept``,
        ``curve`` (false accepts, false rejects), ``false_alarms_per_hour`` (threshold, false alarms an
        hour of unknown speech, miss rate) and ``miss_at_false_alarms_per_hour``; the last two are
        absent where durations are unknown. None with fewer than three contents, or too few examples
        of one.
    """
    contents, counts = np.unique(clips.contents, return_counts=True)
    unknown = len(contents) // 3
    # Half of the speakers say half of a content's clips on average: a quarter leaves room.
    shots = min(SHOTS, max(1, int(counts.min()) // 4))
    random = np.random.default_rng([seed, 8])
    vocabularies = [np.sort(random.permutation(contents)[unknown:]) for _ in range(episodes)]
    counted = _detections(vectors, clips, vocabularies, shots, seed) if unknown else None
    if counted is None:
        return None
    trials, unknown_hours = counted
    accept, reject = trials.curve()
    accepts, rejects = trials.resampled(bootstrap_weights(len(trials.wanted), repeats, seed))
    eers = [equal_error_rate(*curves) for curves in zip(accepts, rejects, strict=True)]
    result: dict[str, Any] = {
        "unknown": unknown,
        "known": len(contents) - unknown,
        "shots": shots,
        "eer": round(equal_error_rate(accept, reject), 5),
        "eer_interval": interval(np.asarray(eers)),
        "false_reject_at_false_accept": {
            f"{limit:.2f}": round(miss_at(accept, reject, limit), 5) for limit in FALSE_ACCEPTS
        },
        "curve": np.stack([accept, reject], axis=1)[thinned(accept)].round(5).tolist(),
    }
    if unknown_hours:
        hourly = accept * trials.exposure.sum() / unknown_hours
        missed = round(miss_at(hourly, reject, FALSE_ALARMS_PER_HOUR), 5)
        result["false_alarms_per_hour"] = _hourly_curve(trials, hourly, reject)
        result["miss_at_false_alarms_per_hour"] = {f"{FALSE_ALARMS_PER_HOUR:g}": missed}
    return result


def _detections(
    vectors: NDArray[np.float32],
    clips: Clips,
    vocabularies: list[Labels],
    shots: int,
    seed: int,
) -> tuple[Detections, float] | None:
    """Pool the scores of all episodes, and the hours of unknown speech (0 where not all are known)."""
    who = np.unique(clips.speakers, return_inverse=True)[1]
    scores, rows, right, unknown = [], [], [], []
    random = np.random.default_rng([seed, 9])
    for keywords, examples, tested in draw_episodes(clips, vocabularies, shots, random):
        cosines = vectors[tested] @ prototypes(vectors, examples).T
        scores.append(cosines.max(axis=1))
        rows.append(tested)
        right.append(keywords[cosines.argmax(axis=1)] == clips.contents[tested])
        unknown.append(np.isin(clips.contents[tested], keywords, invert=True))
    if not rows:
        return None
    score, row = np.concatenate(scores), np.concatenate(rows)
    hit, strange = np.concatenate(right), np.concatenate(unknown)
    speakers = int(who.max()) + 1
    trials = count_detections(
        (score[hit], who[row[hit]]),
        (score[strange], who[row[strange]]),
        np.bincount(who[row[~strange]], minlength=speakers),
        np.bincount(who[row[strange]], minlength=speakers),
    )
    durations = clips.duration[row[strange]]
    return trials, float(durations.sum() / 3600) if durations.all() else 0.0


def _hourly_curve(
    trials: Detections, hourly: NDArray[np.float64], reject: NDArray[np.float64]
) -> list[list[float]]:
    """Thresholds with their false alarms an hour and miss rates; the last has no false alarm left."""
    thresholds = np.append(trials.thresholds, trials.thresholds[-1] + 1)
    chosen = thinned(hourly)
    points: list[list[float]] = np.stack([thresholds, hourly, reject], axis=1)[chosen].round(5).tolist()
    return points
