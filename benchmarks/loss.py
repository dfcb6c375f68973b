"""The loss and its gradient: seconds and memory of three ways, one of them pytorch-metric-learning's.

Two spaces of 192 and 48 dims over one batch of crossed cells. The sides:

- ``whole``: our loss, all pairs at once (``chunk`` of all cells);
- ``chunks``: our loss, some anchors at a time, computed again for their gradient;
- ``theirs``: pytorch-metric-learning's SupConLoss, once a space.

With the denominator ``all`` they are one function, and the losses that are printed agree. Every
measurement is a fresh process, so that its peak is its own, and the sides take turns; ratios are of
the same round. Memory is what the loss added to the highest resident set of the process.
``python benchmarks/loss.py --cells 1152 4096 16384``
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

DIMS = {"speaker": 192, "content": 48}
TEMPERATURE = 0.1
CONTENTS = 16
"""Contents of a block; its speakers are as many."""

Loss = Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor]
Result = tuple[float, float, float]
"""The loss, median seconds of loss and gradient, and GB that it added to the peak."""


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

    subspaces = {
        name: SubspaceSettings(factor=name, dim=dim, temperature=TEMPERATURE) for name, dim in DIMS.items()
    }
    settings = LossSettings.model_validate(
        {"denominator": denominator, "chunk": chunk, "cross_covariance": 0.0}
    )
    loss = MultiPart(subspaces, settings)
    return lambda vectors, labels: loss(vectors, labels).total


def theirs() -> Loss:
    from pytorch_metric_learning.losses import SupConLoss

    loss = SupConLoss(temperature=TEMPERATURE)
    return lambda vectors, labels: sum(loss(vectors[name], labels[name]) for name in DIMS)


def sides(cells: int, chunk: int) -> dict[str, Callable[[], Loss]]:
    """Name the ways of computing the loss of a batch of so many cells."""
    found: dict[str, Callable[[], Loss]] = {"theirs": theirs}
    for denominator in ("all", "negatives"):
        found[f"whole, {denominator}"] = partial(ours, denominator, cells)
        if chunk < cells:
            found[f"chunks of {chunk}, {denominator}"] = partial(ours, denominator, chunk)
    return found


def measure(side: str, cells: int, chunk: int, repeats: int) -> Result:
    loss = sides(cells, chunk)[side]()
    loss(*batch(CONTENTS**2)).item()
    vectors, labels = batch(cells)
    held, spent, value = peak(), [], 0.0
    for _ in range(repeats):
        leaves = {name: rows.clone().requires_grad_() for name, rows in vectors.items()}
        begun = time.perf_counter()
        total = loss(leaves, labels)
        total.backward()  # type: ignore[no-untyped-call]
        spent.append(time.perf_counter() - begun)
        value = total.item()
    return value, statistics.median(spent), peak() - held


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def fresh(side: str, cells: int, chunk: int, repeats: int) -> Result:
    """Measure in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, side, cells, chunk, repeats).result()


def compare(cells: int, chunk: int, rounds: int, repeats: int) -> None:
    """Print a line for each side; its ratio is to theirs in the same round."""
    results: dict[str, list[Result]] = {side: [] for side in sides(cells, chunk)}
    for _ in range(rounds):
        for side, measured in results.items():
            measured.append(fresh(side, cells, chunk, repeats))
    for side, measured in results.items():
        ratios = [t[1] / own[1] for t, own in zip(results["theirs"], measured, strict=True)]
        print(
            f"{cells:8,d} cells  {side:26s} loss {measured[0][0]:8.4f}"
            f"{1000 * statistics.median(m[1] for m in measured):9.1f} ms"
            f"{statistics.median(m[2] for m in measured):8.3f} GB"
            f"{statistics.median(ratios):7.2f} times as fast as theirs",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[1152, 4096])
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    for cells in options.cells:
        compare(cells, options.chunk, options.rounds, options.repeats)
