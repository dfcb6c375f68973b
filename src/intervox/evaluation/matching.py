"""Fit what ``SubspaceModel.match`` decides by, on held-out synthetic cells: texts in many voices.

Cells of one text are the same, cells of two texts differ, and a cell with a stretch of another one
spliced into it is partly the same. Nothing else is needed, so any corpus will do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from intervox.audio import Waveform
from intervox.evaluation.loading import Source, heard_twice
from intervox.evaluation.test_sets import EVALUATION_SEED
from intervox.model.matching import (
    ANSWERS,
    WINDOW,
    WORD_SECONDS,
    Aligned,
    Floats,
    Matching,
    Spoken,
    best_path,
    features,
    mapped_steps,
)
from intervox.model.model import SubspaceModel
from intervox.seeds import rng

CELLS = 600
"""Most cells that are heard, each clean and degraded."""

DRAWS = 1_000
"""Pairs that are drawn for each answer."""

_PAIRS_OF_TEXT = 4
"""From which the metric is learnt."""

_SHRINKAGE = 0.05
_DEGRADED = 0.4
"""Share of the clips of a pair that are degraded."""

_LONGEST_SPLICE = 0.6
_LEAST_SPLICE = 4
"""Steps: a short word."""

_LEAST_SENTENCES = 30
"""Pairs of each answer below which sentences are not calibrated."""


@dataclass(frozen=True)
class _Pair:
    """Two clips, what a match should answer, and whether they are words."""

    first: Spoken
    second: Spoken
    answer: int

    @property
    def seconds(self) -> tuple[float, float]:
        return self.first.speech_seconds, self.second.speech_seconds


def matching_on_held_out(model: SubspaceModel, held_out: Source, folder: Path) -> Matching | None:
    """Fit a model's matching on some held-out cells, clean and degraded; see ``fit_matching``."""
    sound = np.flatnonzero(held_out.clips.duration > 0)
    contents = held_out.clips.contents[sound].tolist()
    chosen = chosen_cells(contents)
    waves = heard_twice(held_out, sound[chosen].tolist(), folder)
    return fit_matching(model, *waves, [contents[index] for index in chosen])


def fit_matching(
    model: SubspaceModel,
    clean: Sequence[Waveform],
    degraded: Sequence[Waveform],
    contents: Sequence[str],
    draws: int = DRAWS,
) -> Matching | None:
    """Fit metric and calibration of a model's matching.

    Parameters
    ----------
    clean, degraded
        The same cells twice, in many voices.
    contents
        What each says.
    draws
        Pairs of each answer.

    Returns
    -------
    Matching or None
        None where no content is said twice, or all cells say the same.
    """
    heard = [list(model.spoken(waves)) for waves in (clean, degraded)]
    by_content: dict[str, list[int]] = {}
    for index, content in enumerate(contents):
        by_content.setdefault(content, []).append(index)
    texts = [cells for cells in by_content.values() if len(cells) > 1]
    if len(texts) < 2:
        return None
    random = rng(EVALUATION_SEED, "matching")
    same = [tuple(random.choice(cells, 2, replace=False)) for cells in texts for _ in range(_PAIRS_OF_TEXT)]
    centre = np.concatenate([clip.steps for clip in heard[0]]).mean(axis=0)
    metric = _metric([(heard[0][a].steps - centre, heard[0][b].steps - centre) for a, b in same])
    bare = Matching(centre, metric, (), (), (1.0, 0.0))
    pairs = list(_pairs(heard, texts, draws, random))
    aligned = [bare.align(pair.first, pair.second) for pair in pairs]
    words = [(p, a) for p, a in zip(pairs, aligned, strict=True) if max(p.seconds) < 2 * WORD_SECONDS]
    return bare._replace(
        words=_fit_words([(p, a) for p, a in words if ANSWERS[p.answer] != "partly"]),
        sentences=_fit_sentences([(p, a) for p, a in zip(pairs, aligned, strict=True) if _is_long(p)]),
        local=_fit_local(pairs, aligned),
    )


def _is_long(pair: _Pair) -> bool:
    return max(pair.seconds) >= WORD_SECONDS


def _metric(pairs: Iterable[tuple[Floats, Floats]]) -> Floats:
    """Whiten what differs between aligned steps of one text: the within-content part of an LDA."""
    differences = []
    for first, second in pairs:
        identity = np.eye(first.shape[1], dtype=np.float32)
        mapped = [mapped_steps(steps, np.zeros(1, np.float32), identity) for steps in (first, second)]
        rows, columns = best_path(mapped[0] @ mapped[1].T).T
        differences.append(first[rows] - second[columns])
    stacked = np.concatenate(differences).astype(np.float64)
    within = stacked.T @ stacked / (2 * len(stacked))
    size = len(within)
    values, vectors = np.linalg.eigh(
        (1 - _SHRINKAGE) * within + _SHRINKAGE * np.trace(within) / size * np.eye(size)
    )
    return np.asarray(vectors / np.sqrt(values), np.float32)


def _pairs(
    heard: Sequence[Sequence[Spoken]], texts: Sequence[Sequence[int]], draws: int, random: np.random.Generator
) -> Iterator[_Pair]:
    """Draw pairs of each answer; every text is as likely as any other."""
    for _ in range(draws):
        here, there = random.choice(len(texts), 2, replace=False)
        first, second = random.choice(texts[here], 2, replace=False)
        one, other = (heard[int(random.random() < _DEGRADED)] for _ in range(2))
        stranger = other[int(random.choice(texts[there]))]
        yield _Pair(one[first], stranger, ANSWERS.index("different"))
        yield _Pair(one[first], other[second], ANSWERS.index("same"))
        if len(other[second].steps) >= 3 * _LEAST_SPLICE:
            yield _Pair(one[first], _spliced(other[second], stranger, random), ANSWERS.index("partly"))


def _spliced(clip: Spoken, other: Spoken, random: np.random.Generator) -> Spoken:
    """Replace a stretch of a clip by one of another."""
    count = len(clip.steps)
    length = int(random.integers(_LEAST_SPLICE, max(_LEAST_SPLICE, int(_LONGEST_SPLICE * count)) + 1))
    begin = int(random.integers(0, count - length + 1))
    taken = min(len(other.steps), max(_LEAST_SPLICE - 1, int(length * random.uniform(0.7, 1.4))))
    start = int(random.integers(0, len(other.steps) - taken + 1))

    def joined(own: Floats, foreign: Floats) -> Floats:
        return np.concatenate([own[:begin], foreign[start : start + taken], own[begin + length :]])

    steps, activity = joined(clip.steps, other.steps), joined(clip.activity, other.activity)
    return Spoken(clip.vector, steps, activity, clip.seconds * len(steps) / count)


def _fit_words(pairs: Sequence[tuple[_Pair, Aligned]]) -> tuple[float, ...]:
    inputs = [[float(pair.first.vector @ pair.second.vector), aligned.score] for pair, aligned in pairs]
    answers = [ANSWERS[pair.answer] == "same" for pair, _ in pairs]
    if len(set(answers)) < 2:
        return ()
    fit = LogisticRegression(C=10, class_weight="balanced").fit(inputs, answers)
    cosine, alignment = fit.coef_[0].round(5).tolist()
    return cosine, alignment, round(float(fit.intercept_[0]), 5)


def _fit_sentences(pairs: Sequence[tuple[_Pair, Aligned]]) -> tuple[tuple[float, ...], ...]:
    answers = np.array([pair.answer for pair, _ in pairs])
    if not len(answers) or np.bincount(answers, minlength=len(ANSWERS)).min() < _LEAST_SENTENCES:
        return ()
    inputs = [features(aligned, pair.seconds) for pair, aligned in pairs]
    fit = LogisticRegression(C=10, class_weight="balanced", max_iter=5_000).fit(inputs, answers)
    return tuple(tuple(row) for row in np.column_stack([fit.coef_, fit.intercept_]).round(5).tolist())


def _fit_local(pairs: Sequence[_Pair], aligned: Sequence[Aligned]) -> tuple[float, float]:
    """Tell aligned places of one text from those of two, by the cosine around them."""
    places: dict[int, list[NDArray[np.float32]]] = {0: [], len(ANSWERS) - 1: []}
    for pair, found in zip(pairs, aligned, strict=True):
        if pair.answer in places:
            places[pair.answer].append(found.local(WINDOW)[found.weights > 0.5])
    different, same = (np.concatenate(each) for each in places.values())
    inputs = np.concatenate([different, same])[:, None]
    fit = LogisticRegression(C=10, class_weight="balanced").fit(
        inputs, np.repeat([False, True], [len(different), len(same)])
    )
    return round(float(fit.coef_[0, 0]), 5), round(float(fit.intercept_[0]), 5)


def chosen_cells(contents: Sequence[str], most: int = CELLS) -> list[int]:
    """Choose cells to hear: whole texts, in a random order, up to about ``most`` cells."""
    groups: dict[str, list[int]] = {}
    for index, content in enumerate(contents):
        groups.setdefault(content, []).append(index)
    names = rng(EVALUATION_SEED, "matching.cells").permutation(sorted(groups))
    found: list[int] = []
    for name in names:
        if len(found) >= most:
            break
        found += groups[name][:8]
    return sorted(found)
