"""Whether clips say the same: what ``match`` answers on people, and how long it takes.

On every human corpus at hand, pairs of different speakers: LibriSpeech (different sentences), RAVDESS
(one sentence, or two that share four words of six, in any two emotions) and words (Speech Commands,
FSDD). Prints the share of each answer in %, beside what the cosine of the two clips says at even odds.
"""

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from intervox import Embedder, load_model
from intervox.audio import load_audio
from intervox.evaluation.protocols import Protocol, find_protocols
from intervox.model.matching import ANSWERS, Spoken


def pairs(protocol: Protocol, same: bool, most: int) -> list[tuple[int, int]]:
    """Draw pairs of clips of different speakers, with one content or with two."""
    rows = protocol.rows
    random = np.random.default_rng(0)
    first, second = np.triu_indices(len(rows), 1)
    speakers, contents = (np.array([getattr(row, name) for row in rows]) for name in ("speaker", "content"))
    wanted = (speakers[first] != speakers[second]) & ((contents[first] == contents[second]) == same)
    chosen = random.permutation(np.flatnonzero(wanted))[:most]
    return list(zip(first[chosen].tolist(), second[chosen].tolist(), strict=True))


def row(model: Embedder, spoken: list[Spoken], drawn: list[tuple[int, int]]) -> list[str]:
    """Answer pairs: the share of each answer, that of the cosine's "same", and milliseconds a pair."""
    matching, calibration = model.matching, model.calibration["content"]
    assert matching is not None, "the packaged model can match"
    begun = time.perf_counter()
    answers = [matching.match(spoken[first], spoken[second]).answer for first, second in drawn]
    milliseconds = 1e3 * (time.perf_counter() - begun) / len(drawn)
    cosines = np.array([float(spoken[first].vector @ spoken[second].vector) for first, second in drawn])
    shares = [float(np.mean([answer == name for answer in answers])) for name in (*ANSWERS, "unclear")]
    by_cosine = float((calibration.probability(cosines) >= 0.5).mean())
    return [
        f"{len(drawn):,}",
        *(f"{100 * share:.1f}" for share in (*shares, by_cosine)),
        f"{milliseconds:.1f}",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=800, help="about how many of each set")
    parser.add_argument("--pairs", type=int, default=2_000, help="at most, of each kind")
    options = parser.parse_args()
    model = load_model()
    table = Table("set", "what is said", "pairs", *ANSWERS, "unclear", "same by cosine", "ms a pair")
    for protocol in find_protocols(("auto",), options.clips):
        spoken = list(model.spoken(load_audio(each.path) for each in protocol.rows))
        for same in (True, False):
            if drawn := pairs(protocol, same, options.pairs):
                table.add_row(protocol.name, "the same" if same else "another", *row(model, spoken, drawn))
    Console(width=110).print(table)
