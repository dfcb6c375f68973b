"""Who of many? Identification of 10, 50 and up to 400 people and of strangers, beside Resemblyzer.

On Speech Commands: one clip or three enrol a person, others of theirs are tested, and clips of strangers. A
third of the strangers is the cohort, a third sets each system's threshold (1 % of their clips taken for
anybody), and a third is tested; the thirds take turns. So many people are enrolled as leave strangers: 400 by
one clip, where few strangers are left, 200 by three. The same clips for all systems, in one run.
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
RATE = 0.01
ENROLLED_BY = {1: (10, 50, 400), 3: (10, 50, 200)}
"""Clips that enrol a person, to how many people."""


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


def prototypes(
    vectors: Vectors, speakers: NDArray[np.str_], names: NDArray[np.str_], clips: int
) -> tuple[Vectors, Any]:
    """Average the first clips of each name; also which rows are left to test."""
    rows = [np.flatnonzero(speakers == name) for name in names]
    return unit(np.stack([vectors[own[:clips]].mean(axis=0) for own in rows])), [own[clips:] for own in rows]


def measure(
    scores: Callable[[Vectors], Vectors], known: Vectors, owner: Any, strangers: list[Vectors]
) -> tuple[float, float, float]:
    """Return the shares of known clips that get their name, and of strangers who get any."""
    highest = np.sort(scores(strangers[0]).max(axis=1))
    threshold = highest[-max(1, int(RATE * len(highest)))]
    found = scores(known)
    closest = found.argmax(axis=1)
    named = (closest == owner) & (found.max(axis=1) > threshold)
    taken = scores(strangers[1]).max(axis=1) > threshold
    return 100 * float(np.mean(closest == owner)), 100 * float(named.mean()), 100 * float(taken.mean())


def ways(known: Vectors, others: Cohort) -> dict[str, Callable[[Vectors], Vectors]]:
    """How clips are scored against prototypes: cosines, and those normalised."""
    return {"": lambda clips: clips @ known.T, ", s-norm": lambda clips: others.scores(clips, known)}


def identified(
    vectors: Vectors, speakers: NDArray[np.str_], people: int, clips: int
) -> tuple[dict[str, NDArray[np.float64]], str]:
    """Enrol so many people by so many clips: way to figures, and how many clips are tested."""
    names, counts = np.unique(speakers, return_counts=True)
    random = np.random.default_rng(0)
    usable = random.permutation(names[counts > clips])
    strangers = random.permutation(np.setdiff1d(names, usable[:people]))
    if len(usable) < people or len(strangers) < 3:
        raise IntervoxError(
            f"Speech Commands has {len(usable)} people with more than {clips} clips here, and {people} are "
            "asked for: name fewer --people"
        )
    known, rest = prototypes(vectors, speakers, usable[:people], clips)
    owner, own = np.repeat(np.arange(people), [len(rows) for rows in rest]), vectors[np.concatenate(rest)]
    thirds = [vectors[np.isin(speakers, group)] for group in np.array_split(strangers, 3)]
    found: dict[str, list[tuple[float, float, float]]] = {}
    for turn in range(3):
        cohort, *others = thirds[turn:] + thirds[:turn]
        for way, scores in ways(known, Cohort(cohort)).items():
            found.setdefault(way, []).append(measure(scores, own, owner, others))
    tested = f"{len(own)} / {sum(map(len, thirds))}"
    return {way: np.mean(figures, axis=0) for way, figures in found.items()}, tested


def main(options: argparse.Namespace) -> None:
    clips = protocol_clips(find_protocols(("speech_commands",), options.clips)[0])
    paths = clips.paths.tolist()
    embedded = {
        system: unit(np.asarray(embed(paths), np.float32))
        for system, embed in embedders(options.peers).items()
    }
    table = Table(
        "system", "people", "by clips", "tested", "closest is right, %", "named, %", "strangers named, %"
    )
    for by, sizes in ENROLLED_BY.items():
        for people in options.people or sizes:
            for system, vectors in embedded.items():
                found, tested = identified(vectors, clips.speakers, people, by)
                for way, figures in found.items():
                    cells = (f"{figure:.1f}" for figure in figures)
                    table.add_row(system + way, str(people), str(by), tested, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, help="about how many; all by default")
    parser.add_argument("--people", type=int, nargs="+", help="enrolled; 10, 50, and 400 or 200 by default")
    parser.add_argument("--peers", action="store_true", help="measure Resemblyzer too")
    main(parser.parse_args())
