"""Keywords in running speech: windows against prototypes, peaks against events."""

import numpy as np

from intervox.clips.labels import Clips
from intervox.evaluation.findings import Running
from intervox.evaluation.keywords import curve_points, prototypes
from intervox.evaluation.streams import EXAMPLES, StreamSet, StreamWindows
from intervox.metrics.bootstrap import bootstrap_weights, estimable, interval
from intervox.metrics.events import (
    REFRACTORY_SECONDS,
    TOLERANCE_SECONDS,
    Detections,
    average_precision,
    count_detections,
    match_events,
    miss_at,
    pick_peaks,
)
from intervox.metrics.vectors import Vectors
from intervox.seeds import rng

DRAWS = 10
FALSE_ALARMS_PER_HOUR = (10.0, 60.0)


def running_speech(
    vectors: Vectors,
    windows: StreamWindows,
    stream_set: StreamSet,
    enrolment: Vectors,
    clips: Clips,
    repeats: int,
    seed: int,
) -> Running | None:
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
    Running or None
        None where no keyword occurs.
    """
    events = sum(len(stream.events) for stream in stream_set.streams)
    if not events:
        return None
    found = _detections(vectors, windows, stream_set, _prototypes(stream_set, enrolment, clips, seed))
    alarms, misses = found.curve()
    weights = bootstrap_weights(len(found.wanted), repeats, rng(seed, "bootstrap"))
    resampled = found.resampled(weights)
    precision = float(average_precision(found, np.ones((1, len(found.wanted))))[0])
    miss, missed = {}, {}
    for limit in FALSE_ALARMS_PER_HOUR:
        miss[f"{limit:g}"] = miss_at(alarms, misses, limit)
        samples = np.asarray([miss_at(*curve, limit) for curve in zip(*resampled, strict=True)])
        missed[f"{limit:g}"] = interval(miss[f"{limit:g}"], estimable(samples, found.groups))
    return Running(
        keywords=stream_set.keywords.tolist(),
        events=events,
        hours=round(float(found.exposure.sum()) / DRAWS, 5),
        checked=stream_set.checked,
        window_seconds=windows.window_seconds,
        hop_seconds=windows.hop_seconds,
        shots=EXAMPLES,
        curve=curve_points(alarms, misses),
        miss_at={limit: round(value, 5) for limit, value in miss.items()},
        miss_interval={limit: bounds for limit, bounds in missed.items() if bounds},
        average_precision=round(precision, 5),
        interval=interval(precision, estimable(average_precision(found, weights), found.groups)),
    )


def _prototypes(stream_set: StreamSet, enrolment: Vectors, clips: Clips, seed: int) -> list[list[Vectors]]:
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
    vectors: Vectors,
    windows: StreamWindows,
    stream_set: StreamSet,
    draws: list[list[Vectors]],
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
