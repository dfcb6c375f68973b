"""Whether a threshold that was set for a false-accept rate keeps it on people.

Half of the speakers of every evaluation set at hand are enrolled, from one clip and from three; their
other clips, and those of the other half, are tested. Half of the strangers set the threshold where the
table says "cohort", and the other half is tested in every row; "references" are the synthetic voices
that the packaged model carries. Prints what is accepted of strangers, and refused of the enrolled.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from intervox import Embedder, SpeakerVerifier, load_model
from intervox.applications.verifier import MIN_FALSE_ACCEPTS
from intervox.evaluation.protocols import Protocol, find_protocols

RATES = (0.01, 0.05)
EXAMPLES = (1, 3)


@dataclass(frozen=True)
class Parts:
    """Who is enrolled with which clips, what is tested of them, and two groups of strangers' clips."""

    enrolling: list[tuple[str, Path]]
    own: list[tuple[str, Path]]
    cohort: list[Path]
    strangers: list[Path]


def divide(protocol: Protocol, examples: int) -> Parts:
    """Divide speakers by a draw, and the enrolled ones' clips by the order of a draw."""
    random = np.random.default_rng(0)
    clips: dict[str, list[Path]] = {}
    for index in random.permutation(len(protocol.rows)):
        clips.setdefault(protocol.rows[index].speaker, []).append(protocol.rows[index].path)
    speakers = random.permutation(sorted(name for name, paths in clips.items() if len(paths) > examples))
    enrolled, rest = speakers[: len(speakers) // 2], speakers[len(speakers) // 2 :]
    halves = (rest[: len(rest) // 2], rest[len(rest) // 2 :])
    cohort, strangers = ([path for name in half for path in clips[name]] for half in halves)
    return Parts(
        [(name, path) for name in enrolled for path in clips[name][:examples]],
        [(name, path) for name in enrolled for path in clips[name][examples:]],
        cohort,
        strangers,
    )


def rows(model: Embedder, protocol: Protocol, examples: int) -> Iterator[tuple[str, float, float, float]]:
    """Yield how the threshold was set, the threshold, and what it accepts and refuses."""
    parts = divide(protocol, examples)
    names, paths = zip(*parts.enrolling, strict=True)
    verifier = SpeakerVerifier(model).fit(paths, names)
    whose = np.searchsorted(verifier.classes_, [name for name, _ in parts.own])
    own = verifier.decision_function(path for _, path in parts.own)[np.arange(len(whose)), whose]
    cohort, strangers = (verifier.decision_function(clips) for clips in (parts.cohort, parts.strangers))

    def outcome(how: str) -> tuple[str, float, float, float]:
        threshold = verifier.threshold_
        return how, threshold, float((strangers >= threshold).mean()), float((own < threshold).mean())

    yield outcome("default")
    for rate in RATES:
        verifier.set_false_accept_rate(rate)
        yield outcome(f"{rate:.0%} of references")
        if rate * cohort.size >= MIN_FALSE_ACCEPTS:
            verifier.set_threshold(cohort, rate)
            yield outcome(f"{rate:.0%} of a cohort")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1_500, help="about how many of each set")
    options = parser.parse_args()
    model = load_model()
    table = Table("set", "examples", "threshold by", "cosine", "strangers accepted %", "enrolled refused %")
    for protocol in find_protocols(("auto",), options.clips):
        for examples in EXAMPLES:
            for how, threshold, accepted, refused in rows(model, protocol, examples):
                figures = (f"{threshold:.2f}", f"{100 * accepted:.1f}", f"{100 * refused:.1f}")
                table.add_row(protocol.name, str(examples), how, *figures)
    Console(width=110).print(table)
