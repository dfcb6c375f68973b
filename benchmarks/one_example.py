"""What a single example of a keyword finds, and what tells a weak one: `python benchmarks/one_example.py`.

For Speech Commands and FSDD, of the data folder: the share of a word's clips by other people that are at
or above the threshold of `scan`, by one, two, three and five examples; the rank correlation of what is
known of an example when it is enrolled with that share; and the shares with examples below and above
``WEAK_STABILITY``, which was chosen on Speech Commands and is only checked on FSDD.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from intervox.applications.spotter import KeywordSpotter
from intervox.applications.stability import WEAK_STABILITY
from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.clips.manifest import Row
from intervox.evaluation.protocols import find_protocols
from intervox.metrics.vectors import Vectors, unit

SHOTS, DRAWS = (1, 2, 3, 5), 200
FRAME = SAMPLE_RATE // 100
LOUD_DB = 25


@dataclass(frozen=True)
class Words:
    """Clips of one word each: waveforms, unit vectors (clips, dim), and who says what, shape (clips,)."""

    waves: list[Waveform]
    vectors: Vectors
    speakers: NDArray[np.str_]
    contents: NDArray[np.str_]


def chosen(spotter: KeywordSpotter, name: str, clips: int) -> Words:
    """Draw up to so many clips of each word, of as many speakers as there are."""
    rows = find_protocols((name,))[0].rows
    random, kept = np.random.default_rng(0), []
    for content in sorted({row.content for row in rows}):
        shuffled = random.permutation(np.array([row for row in rows if row.content == content], object))
        taken: dict[str, int] = {}
        ranked: list[tuple[int, int, Row]] = []
        for row in shuffled:
            taken[row.speaker] = taken.get(row.speaker, 0) + 1
            ranked.append((taken[row.speaker], len(ranked), row))
        kept += [row for *_, row in sorted(ranked, key=lambda each: each[:2])[:clips]]
    waves = [load_audio(row.path) for row in kept]
    vectors = spotter.model_.encode(waves)[spotter.space]
    speakers, contents = (np.array([getattr(row, label) for row in kept]) for label in ("speaker", "content"))
    return Words(waves, vectors, speakers, contents)


def found_by_each(words: Words, threshold: float) -> NDArray[np.float64]:
    """Return the share of its word's clips, by other people, that each example finds: shape (clips,)."""
    heard = words.vectors @ words.vectors.T >= threshold
    wanted = words.contents[:, None] == words.contents
    wanted &= words.speakers[:, None] != words.speakers
    return np.asarray((heard & wanted).sum(axis=1) / wanted.sum(axis=1))


def found_by_several(words: Words, threshold: float, shots: int) -> tuple[float, float]:
    """Return what the mean of several examples finds, of its word and of the others, of tested people."""
    random = np.random.default_rng(shots)
    people = np.unique(words.speakers)
    right, wrong = [], []
    for word in np.unique(words.contents):
        own = words.contents == word
        for _ in range(DRAWS):
            enrols = np.isin(words.speakers, random.permutation(people)[: len(people) // 2])
            examples = random.choice(np.flatnonzero(own & enrols), shots, replace=False)
            heard = words.vectors @ unit(words.vectors[examples].mean(axis=0)[None])[0] >= threshold
            right.append(heard[own & ~enrols].mean())
            wrong.append(heard[~own & ~enrols].mean())
    return float(np.mean(right)), float(np.mean(wrong))


def _levels(wave: Waveform) -> NDArray[np.float64]:
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    return np.asarray(10 * np.log10(np.square(frames).mean(axis=1) + 1e-10))


SOUND: dict[str, Callable[[Waveform], float]] = {
    "duration": len,
    "loudness": lambda wave: float(np.square(wave).mean()),
    "loud above quiet frames": lambda wave: float(np.subtract(*np.percentile(_levels(wave), [95, 5]))),
    "loud frames": lambda wave: float((_levels(wave) > _levels(wave).max() - LOUD_DB).sum()),
    "clipped samples": lambda wave: float((np.abs(wave) > 0.99 * np.abs(wave).max()).mean()),
    "level at the start": lambda wave: float(_levels(wave)[:3].mean() - _levels(wave).max()),
    "level at the end": lambda wave: float(_levels(wave)[-3:].mean() - _levels(wave).max()),
}


def known_at_enrolment(spotter: KeywordSpotter, words: Words) -> dict[str, NDArray[np.float64]]:
    """Return all that might tell a weak example."""
    random = np.random.default_rng(1)
    others = [
        max(
            vector @ words.vectors[random.choice(np.flatnonzero(words.contents == word))]
            for word in np.unique(words.contents)
            if word != content
        )
        for vector, content in zip(words.vectors, words.contents, strict=True)
    ]
    known = {"stability": np.array([spotter.stability(wave) for wave in words.waves])}
    if references := spotter.model_.references:
        near = words.vectors @ references.vectors[spotter.space].T
        known |= {"closest reference cell": near.max(axis=1), "spread over reference cells": near.std(axis=1)}
    known["closest other keyword"] = np.array(others)
    return known | {name: np.array([of(wave) for wave in words.waves]) for name, of in SOUND.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=60, help="of each word")
    options = parser.parse_args()
    spotter = KeywordSpotter()
    threshold = spotter.scan_threshold_
    for name in ("speech_commands", "fsdd"):
        words = chosen(spotter, name, options.clips)
        print(f"{name}: {len(words.waves)} clips, cosine of {threshold:.3f} or more")
        for shots in SHOTS:
            right, wrong = found_by_several(words, threshold, shots)
            print(
                f"  {shots} examples find {100 * right:.1f} % of their word and {100 * wrong:.2f} % of others"
            )
        found = found_by_each(words, threshold)
        quantiles = ", ".join(f"{100 * q:.0f}" for q in np.quantile(found, [0.1, 0.5, 0.9]))
        print(f"  one example: 10th, 50th and 90th percentile {quantiles} %")
        known = known_at_enrolment(spotter, words)
        for what, values in known.items():
            print(f"  {what:<28} rank correlation {spearmanr(values, found).statistic:+.2f}")
        weak = known["stability"] < WEAK_STABILITY
        print(
            f"  weak (stability below {WEAK_STABILITY}): {100 * weak.mean():.0f} % of the examples; find "
            f"{100 * found[weak].mean():.0f} %, the others {100 * found[~weak].mean():.0f} %"
        )
