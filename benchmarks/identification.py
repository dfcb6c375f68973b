"""Who of many? Identification of 10, 50 and 200 enrolled people and of strangers, beside Resemblyzer.

On Speech Commands: three clips enrol a person, others of hers are tested, and clips of strangers. A third
of the strangers is the cohort, a third sets each system's threshold (1 % of them taken for anybody), and a
third is tested. The same clips for all systems, in one run.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from intervox.applications.normalise import Cohort
from intervox.audio import load_audio
from intervox.errors import IntervoxError
from intervox.evaluation.baselines.peers import load_peer
from intervox.evaluation.loading import protocol_clips
from intervox.evaluation.protocols import find_protocols
from intervox.model.loading import load_model

Vectors = NDArray[np.float32]
Embed = Callable[[list[str]], Vectors]
ENROLLED_BY = 3
RATE = 0.01


def embedders(peers: bool) -> dict[str, Embed]:
    """The packaged model and, where it is installed, Resemblyzer."""
    model = load_model()
    found: dict[str, Embed] = {"intervox": lambda paths: model.encode(paths)["speaker"]}
    if peers:
        peer = load_peer("resemblyzer")
        found["Resemblyzer"] = lambda paths: peer.encode([load_audio(path) for path in paths])[0][:, 0]
    return found


def unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def prototypes(vectors: Vectors, speakers: NDArray[np.str_], names: NDArray[np.str_]) -> tuple[Vectors, Any]:
    """Average the first clips of each name; also which rows are left to test."""
    rows = [np.flatnonzero(speakers == name) for name in names]
    return unit(np.stack([vectors[own[:ENROLLED_BY]].mean(axis=0) for own in rows])), [
        own[ENROLLED_BY:] for own in rows
    ]


def measure(
    scores: Callable[[Vectors], Vectors], known: Vectors, owner: Any, strangers: list[Vectors]
) -> Any:
    """Return the shares of known clips that get their name, and of strangers who get any."""
    highest = np.sort(scores(strangers[0]).max(axis=1))
    threshold = highest[-max(1, int(RATE * len(highest)))]
    found = scores(known)
    closest = found.argmax(axis=1)
    named = (closest == owner) & (found.max(axis=1) > threshold)
    taken = scores(strangers[1]).max(axis=1) > threshold
    return 100 * np.mean(closest == owner), 100 * named.mean(), 100 * taken.mean()


def ways(known: Vectors, others: Cohort) -> dict[str, Callable[[Vectors], Vectors]]:
    """How clips are scored against prototypes: cosines, and those normalised."""
    return {"": lambda clips: clips @ known.T, ", s-norm": lambda clips: others.scores(clips, known)}


def main(options: argparse.Namespace) -> None:
    protocol = find_protocols(("speech_commands",), None)[0]
    clips = protocol_clips(protocol)
    names, counts = np.unique(clips.speakers, return_counts=True)
    usable = np.random.default_rng(0).permutation(names[counts > ENROLLED_BY])
    people = max(options.people)
    if len(usable) < people + 30:
        raise IntervoxError(f"Speech Commands has {len(usable)} usable speakers here: name fewer --people")
    rows = np.flatnonzero(np.isin(clips.speakers, usable))
    paths, speakers = clips.paths[rows].tolist(), clips.speakers[rows]
    table = Table("system", "people", "closest is right, %", "named, %", "strangers named, %")
    for system, embed in embedders(options.peers).items():
        vectors = unit(np.asarray(embed(paths), np.float32))
        groups = np.array_split(usable[people:], 3)
        cohort, setting, tested = (vectors[np.isin(speakers, group)] for group in groups)
        others = Cohort(cohort)
        for count in options.people:
            known, rest = prototypes(vectors, speakers, usable[:count])
            owner = np.repeat(np.arange(count), [len(own) for own in rest])
            own = vectors[np.concatenate(rest)]
            for way, scores in ways(known, others).items():
                figures = measure(scores, own, owner, [setting, tested])
                table.add_row(system + way, str(count), *(f"{figure:.1f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--peers", action="store_true", help="measure Resemblyzer too")
    main(parser.parse_args())
