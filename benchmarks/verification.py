"""Ten million trials: how long they take to score and measure, and in how much memory.

Random embeddings of many speakers; the same scores are then given to scikit-learn, and a slice of
the trials is scored one by one in Python. Memory is the most that the process held above what it
held with the embeddings and trials in place.
"""

import argparse
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from intervox.metrics.detection import (
    cllr,
    equal_error_rate,
    error_rates,
    fit_calibration,
    min_cllr,
    min_dcf,
)
from intervox.metrics.trials import Pairs, Trials
from intervox.metrics.vectors import Vectors, cosine, unit

SLICE = 100_000
PAGE = resource.getpagesize()


def embeddings(clips: int, speakers: int, dim: int) -> tuple[Vectors, np.ndarray]:
    random = np.random.default_rng(0)
    who = random.integers(speakers, size=clips)
    voices = random.normal(size=(speakers, dim)).astype(np.float32)
    return unit(voices[who] + 1.7 * random.normal(size=(clips, dim)).astype(np.float32)), who


def random_trials(who: np.ndarray, count: int) -> Trials:
    """Half targets, half impostors, with repetitions."""
    random = np.random.default_rng(1)
    order = np.argsort(who, kind="stable")
    starts, sizes = np.unique(who[order], return_index=True, return_counts=True)[1:]
    first = random.integers(len(who), size=count // 2)
    second = order[starts[who[first]] + random.integers(sizes[who[first]])]
    others = random.integers(len(who), size=(count // 2, 2))
    return Trials(np.stack([first, second], axis=1), others[who[others[:, 0]] != who[others[:, 1]]])


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what the work returns, its seconds, and the most memory in GB that it added."""
    held, most, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    result = work()
    spent = time.perf_counter() - begun
    done.set()
    watcher.join()
    return result, spent, max(0, most - held) / 1e9


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def one_by_one(vectors: Vectors, pairs: Pairs) -> list[float]:
    return [float(np.dot(vectors[a], vectors[b])) for a, b in pairs]


def statistics(targets: np.ndarray, impostors: np.ndarray) -> dict[str, float]:
    accept, reject = error_rates(targets, impostors)
    slope, offset = fit_calibration(targets, impostors)
    return {
        "EER": equal_error_rate(accept, reject),
        "minDCF 0.01": min_dcf(accept, reject, 0.01),
        "minCllr": min_cllr(accept, reject),
        "Cllr": cllr(slope * targets + offset, slope * impostors + offset),
    }


def with_sklearn(targets: np.ndarray, impostors: np.ndarray) -> float:
    labels = np.repeat([True, False], [len(targets), len(impostors)])
    accept, hit, _ = roc_curve(labels, np.concatenate([targets, impostors]))
    return float(accept[np.argmin(np.abs(accept + hit - 1))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000_000)
    parser.add_argument("--clips", type=int, default=50_000)
    parser.add_argument("--speakers", type=int, default=1_000)
    parser.add_argument("--dim", type=int, default=192)
    options = parser.parse_args()
    vectors, who = embeddings(options.clips, options.speakers, options.dim)
    trials = random_trials(who, options.trials)
    count = len(trials.targets) + len(trials.impostors)
    print(f"{count:,} trials of {options.clips:,} clips, {options.dim} dims")

    scores, scoring, memory = measured(
        lambda: (cosine(vectors, trials.targets), cosine(vectors, trials.impostors))
    )
    print(f"cosine             {scoring:6.2f} s  +{memory:.2f} GB")
    figures, spent, memory = measured(lambda: statistics(*scores))
    print(
        f"all statistics     {spent:6.2f} s  +{memory:.2f} GB  "
        + str({k: round(v, 5) for k, v in figures.items()})
    )
    rate, roc, memory = measured(lambda: with_sklearn(*scores))
    print(f"sklearn roc_curve  {roc:6.2f} s  +{memory:.2f} GB  EER {rate:.5f}, nothing else")
    _, plain, _ = measured(lambda: one_by_one(vectors, trials.targets[:SLICE]))
    plain *= count / SLICE
    print(f"one by one         {plain:6.2f} s (from {SLICE:,} trials)")
    print(
        f"scoring {plain / scoring:.0f} times as fast; scored and measured in {scoring + spent:.2f} s, ",
        end="",
    )
    print(f"{(plain + roc) / (scoring + spent):.0f} times as fast as one by one and roc_curve")
