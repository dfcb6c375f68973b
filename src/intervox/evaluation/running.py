"""Keywords in running speech: windows against prototypes, peaks against events."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from intervox.clips.labels import Clips, Labels
from intervox.evaluation.keywords import prototypes
from intervox.evaluation.streams import EXAMPLES, Event, StreamSet, StreamWindows
from intervox.metrics.bootstrap import bootstrap_weights, interval
from intervox.metrics.events import Detections, count_detections, miss_at, thinned
from intervox.seeds import rng

DRAWS = 10
REFRACTORY_SECONDS = 0.75
"""Less than from one word to the next in the streams, so that no detection has to hide another."""

TOLERANCE_SECONDS = 0.25
FALSE_ALARMS_PER_HOUR = (10.0, 60.0)


def pick_peaks(scores: NDArray[np.floating], distance: int) -> NDArray[np.int64]:
    """Return the local maxima, less those that are closer than ``distance`` to a higher one.

    Those above a threshold are the same whether the threshold is applied before or after.

    Parameters
    ----------
    scores
        Shape (windows,).
    distance
        In windows.
    """
    padded = np.concatenate([[-np.inf], scores, [-np.inf]])
    return np.asarray(find_peaks(padded, distance=max(1, distance))[0] - 1)


def match_events(
    times: NDArray[np.floating],
    words: Labels,
    scores: NDArray[np.floating],
    events: list[Event],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Tell which detections are right: the best of its keyword within each event.

    Parameters
    ----------
    times, words, scores
        Shape (detections,): seconds, keyword and score.
    events
        What was said; each is detected once, a second detection is a false alarm.
    tolerance
        Seconds by which a detection may lie outside.

    Returns
    -------
    ndarray
        Shape (detections,).
    """
    right = np.zeros(len(times), bool)
    if not events or not len(times):
        return right
    starts, ends = (np.asarray([event[side] for event in events], np.float64) for side in (0, 1))
    said = np.asarray([event[2] for event in events])
    away = np.abs(times[:, None] - (starts + ends) / 2)
    inside = away <= (ends - starts) / 2 + tolerance
    away[~inside | (words[:, None] != said)] = np.inf
    nearest = away.argmin(axis=1)
    for event in range(len(events)):
        candidates = np.flatnonzero((nearest == event) & np.isfinite(away[:, event]))
        if len(candidates):
            right[candidates[scores[candidates].argmax()]] = True
    return right


def running_speech(
    vectors: NDArray[np.float32],
    windows: StreamWindows,
    stream_set: StreamSet,
    enrolment: NDArray[np.float32],
    clips: Clips,
    repeats: int,
    seed: int,
) -> dict[str, Any] | None:
    """Detect keywords in streams by examples of speakers who are not heard there.

    A window's score is its largest cosine with a prototype of five examples; a peak of the score
    with no higher one less than 0.75 s away is a detection. It is right within a quarter of a second
    of an event of its keyword. Ten draws of examples are pooled under one threshold.

    Parameters
    ----------
    vectors
        Unit vectors of the windows, shape (windows, dim).
    windows, stream_set
        From ``StreamWindows`` and ``compose_streams``.
    enrolment
        Unit vectors of the keyword corpus's clips, shape (clips, dim), of the same space: what is
        centred is centred on both together.
    clips
        Their labels.
    repeats, seed
        Of the bootstrap over streams, which share no speaker; the seed also draws the examples.

    Returns
    -------
    dict or None
        ``keywords``, ``events``, ``hours`` (of all streams), ``checked`` (see ``StreamSet``),
        ``window_seconds``, ``hop_seconds``, ``shots``, ``curve`` (false alarms an hour, miss rate),
        ``miss_at`` by false alarms an hour and ``miss_interval``, ``average_precision`` and its
        ``interval`` (95 %). None where no keyword occurs.
    """
    events = sum(len(stream.events) for stream in stream_set.streams)
    if not events:
        return None
    found = _detections(vectors, windows, stream_set, _prototypes(stream_set, enrolment, clips, seed))
    alarms, misses = found.curve()
    weights = bootstrap_weights(len(found.wanted), repeats, seed)
    resampled = found.resampled(weights)
    return {
        "keywords": stream_set.keywords.tolist(),
        "events": events,
        "hours": round(float(found.exposure.sum()) / DRAWS, 5),
        "checked": stream_set.checked,
        "window_seconds": windows.window_seconds,
        "hop_seconds": windows.hop_seconds,
        "shots": EXAMPLES,
        "curve": np.stack([alarms, misses], axis=1)[thinned(alarms)].round(5).tolist(),
        "miss_at": {
            f"{limit:g}": round(miss_at(alarms, misses, limit), 5) for limit in FALSE_ALARMS_PER_HOUR
        },
        "miss_interval": {
            f"{limit:g}": interval(
                np.asarray([miss_at(*curves, limit) for curves in zip(*resampled, strict=True)])
            )
            for limit in FALSE_ALARMS_PER_HOUR
        },
        "average_precision": round(float(average_precision(found, np.ones((1, len(found.wanted))))[0]), 5),
        "interval": interval(average_precision(found, weights)),
    }


def average_precision(found: Detections, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return precision averaged over the recall of all that was wanted, for each resample.

    The sum of precision times gain in recall over falling thresholds, as scikit-learn has it; what
    is never detected adds nothing.

    Parameters
    ----------
    weights
        Shape (resamples, groups), as for ``Detections.resampled``.
    """
    wanted = weights @ found.wanted
    drawn = weights[wanted > 0].astype(np.float32)
    hits, alarms = drawn @ found.hits, drawn @ found.alarms
    precision = hits / np.maximum(hits + alarms, 1)
    gained = hits[:, :-1] - hits[:, 1:]
    return np.asarray((precision[:, :-1] * gained).sum(axis=1) / wanted[wanted > 0], np.float64)


def _prototypes(
    stream_set: StreamSet, enrolment: NDArray[np.float32], clips: Clips, seed: int
) -> list[list[NDArray[np.float32]]]:
    """Draw prototypes for the streams of the first half and of the second, again and again."""
    random = rng(seed, "running.prototypes")
    said = [
        [rows[clips.contents[rows] == keyword] for keyword in stream_set.keywords]
        for rows in reversed(stream_set.examples)
    ]
    return [
        [
            prototypes(enrolment, np.stack([random.choice(rows, EXAMPLES, replace=False) for rows in half]))
            for half in said
        ]
        for _ in range(DRAWS)
    ]


def _detections(
    vectors: NDArray[np.float32],
    windows: StreamWindows,
    stream_set: StreamSet,
    draws: list[list[NDArray[np.float32]]],
) -> Detections:
    """Pool the detections by every draw of prototypes, counted by stream."""
    distance = round(REFRACTORY_SECONDS / windows.hop_seconds)
    score, right, stream = [], [], []
    for index, about in enumerate(stream_set.streams):
        here, centres = vectors[windows.rows(index)], windows.centres(index)
        for enrolled in draws:
            cosines = here @ enrolled[about.half].T
            best, word = cosines.max(axis=1), stream_set.keywords[cosines.argmax(axis=1)]
            peaks = pick_peaks(best, distance)
            found = centres[peaks], word[peaks], best[peaks]
            score.append(best[peaks])
            right.append(match_events(*found, about.events, TOLERANCE_SECONDS))
            stream.append(np.full(len(peaks), index))
    scored, hit, group = np.concatenate(score), np.concatenate(right), np.concatenate(stream)
    return count_detections(
        (scored[hit], group[hit]),
        (scored[~hit], group[~hit]),
        np.asarray([DRAWS * len(about.events) for about in stream_set.streams]),
        np.asarray([DRAWS * about.seconds / 3600 for about in stream_set.streams]),
    )
