"""Typed against recorded keywords: Speech Commands' words, known by their text or by examples of people.

For every keyword, clips of it and of the other words, by speakers who gave no example, are scored. The
threshold lets 1 % of the other words pass. The same clips for all rows, in one run; examples are drawn
several times. Typed keywords are said by eSpeak NG, which training of the packaged model heard too; no
human recording of a word is heard by the typed rows.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from intervox.applications.spotter import KeywordSpotter
from intervox.evaluation.loading import protocol_clips
from intervox.evaluation.protocols import find_protocols
from intervox.model.loading import load_model
from intervox.typed import enrol_typed

Vectors = NDArray[np.float32]
FALSE_ALARMS = 0.01


def unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def measure(scores: NDArray[np.floating], said: NDArray[np.int64]) -> tuple[float, float]:
    """Return the accuracy among all words, and the mean share of misses at 1 % false alarms, in %."""
    misses = []
    for word in range(scores.shape[1]):
        others = np.sort(scores[said != word, word])
        threshold = others[-max(1, int(FALSE_ALARMS * len(others)))]
        misses.append(np.mean(scores[said == word, word] <= threshold))
    return 100 * float(np.mean(scores.argmax(axis=1) == said)), 100 * float(np.mean(misses))


def drawn(
    vectors: Vectors,
    said: NDArray[np.int64],
    speakers: NDArray[np.str_],
    examples: int,
    typed: Vectors,
    seed: int,
) -> tuple[float, float]:
    """Draw examples, add them to typed prototypes (which may be zeros), and measure on other speakers."""
    random = np.random.default_rng(seed)
    rows = [
        random.choice(np.flatnonzero(said == word), examples, replace=False) for word in range(len(typed))
    ]
    prototypes = unit(np.stack([vectors[own].sum(axis=0) for own in rows]) + typed)
    tested = ~np.isin(speakers, speakers[np.concatenate(rows)])
    return measure(vectors[tested] @ prototypes.T, said[tested])


def main(options: argparse.Namespace) -> None:
    clips = protocol_clips(find_protocols(("speech_commands",), options.clips)[0])
    words, said = np.unique(clips.contents, return_inverse=True)
    model = load_model()
    vectors = model.encode(clips.paths.tolist())["content"]
    spotter = KeywordSpotter(model)
    begun = time.perf_counter()
    for word in words.tolist():
        enrol_typed(spotter, word)
    seconds = (time.perf_counter() - begun) / len(words)
    typed = spotter.prototypes_
    table = Table("known by", "right word, %", "misses at 1 % false alarms, %")
    table.add_row("text", *(f"{figure:.1f}" for figure in measure(vectors @ typed.T, said)))
    nothing = np.zeros_like(typed)
    for count in options.examples:
        for name, start in ((f"{count} recorded", nothing), (f"text and {count} recorded", typed)):
            found = [
                drawn(vectors, said, clips.speakers, count, start, seed) for seed in range(options.draws)
            ]
            table.add_row(name, *(f"{figure:.1f}" for figure in np.mean(found, axis=0)))
    console = Console()
    console.print(table)
    console.print(f"{len(clips)} clips, {len(words)} words; {seconds:.1f} s to enrol one by its text")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, help="about how many; all by default")
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 3, 5, 10])
    parser.add_argument("--draws", type=int, default=20)
    main(parser.parse_args())
