"""The loss and its gradient: seconds and memory beside pytorch-metric-learning's SupConLoss.

Two spaces of 192 and 48 dims over one batch of crossed cells. Both sides' SupConLoss is the same
function (the denominator ``all``, and the losses that are printed agree); ours is also timed with its
default, ``negatives``. Every measurement is a fresh process, so that its peak is its own, and the
alternatives take turns. Memory is the highest resident set of the process, all libraries included, and
in brackets what the batch's loss added to it. ``python benchmarks/loss.py``
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
from torch import Tensor
from torch.nn.functional import normalize

DIMS = {"speaker": 192, "content": 48}
TEMPERATURE = 0.1
CONTENTS = 16
"""Contents of a block; its speakers are as many."""

Loss = Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]


def batch(cells: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Crossed blocks of 16 speakers and 16 contents, whose speakers and contents are their own."""
    generator = torch.Generator().manual_seed(0)
    vectors = {
        name: normalize(torch.randn(cells, dim, generator=generator), dim=1) for name, dim in DIMS.items()
    }
    cell = torch.arange(cells)
    block = cell // CONTENTS**2
    return vectors, {"speaker": cell // CONTENTS, "content": block * CONTENTS + cell % CONTENTS}


def ours(denominator: str, chunk: int) -> Loss:
    from intervox.recipe.training import LossSettings, SubspaceSettings
    from intervox.training.losses import MultiPart

    subspaces = {name: SubspaceSettings(factor=name, dim=dim) for name, dim in DIMS.items()}
    settings = LossSettings.model_validate(
        {"denominator": denominator, "chunk": chunk, "cross_covariance": 0.0}
    )
    loss = MultiPart(subspaces, settings)
    return lambda vectors, labels: loss(vectors, labels, dict.fromkeys(DIMS, TEMPERATURE), {}).total


def theirs() -> Loss:
    from pytorch_metric_learning.losses import SupConLoss

    loss = SupConLoss(temperature=TEMPERATURE)
    return lambda vectors, labels: sum(loss(vectors[name], labels[name]) for name in DIMS)


def measure(side: str, cells: int, chunk: int, repeats: int) -> tuple[float, float, float, float]:
    """Return the loss, the median seconds of loss and gradient, the peak and what was added to it, in GB."""
    loss = theirs() if side == "theirs" else ours(side, chunk)
    loss(*batch(CONTENTS**2))
    vectors, labels = batch(cells)
    held, spent, value = peak(), [], 0.0
    for _ in range(repeats):
        leaves = {name: rows.clone().requires_grad_() for name, rows in vectors.items()}
        begun = time.perf_counter()
        total = loss(leaves, labels)
        total.backward()  # type: ignore[no-untyped-call]
        spent.append(time.perf_counter() - begun)
        value = total.item()
    return value, statistics.median(spent), peak(), peak() - held


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def fresh(side: str, cells: int, chunk: int, repeats: int) -> tuple[float, float, float, float]:
    """Measure in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, side, cells, chunk, repeats).result()


def row(name: str, cells: int, results: list[tuple[float, float, float, float]]) -> tuple[float, float]:
    value, _, held, added = results[0]
    seconds = statistics.median(spent for _, spent, _, _ in results)
    print(f"{name:34s}{cells:8,d}{value:10.4f}{seconds:9.3f} s{held:8.2f} GB (+{added:.2f})", flush=True)
    return seconds, added


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=4096)
    parser.add_argument("--large", type=int, default=16384)
    parser.add_argument("--chunk", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    sides = {"theirs": "pytorch-metric-learning, twice", "all": "ours, all", "negatives": "ours, negatives"}
    rounds = [
        {side: fresh(side, options.cells, options.chunk, options.repeats) for side in sides}
        for _ in range(options.rounds)
    ]
    print(f"{'loss and gradient, two spaces':34s}{'cells':>8s}{'loss':>10s}{'time':>11s}{'peak memory':>20s}")
    measured = {
        side: row(name, options.cells, [each[side] for each in rounds]) for side, name in sides.items()
    }
    row(sides["negatives"], options.large, [fresh("negatives", options.large, options.chunk, 2)])
    for side in ("all", "negatives"):
        ratios = [each["theirs"][1] / each[side][1] for each in rounds]
        print(
            f"{sides[side]}: {statistics.median(ratios):.1f} times as fast "
            f"(rounds {', '.join(f'{ratio:.1f}' for ratio in ratios)}), "
            f"{measured[side][1] / measured['theirs'][1]:.2f} of the memory"
        )
