"""Whom ``intervox verify`` compares clips with: one clip, or somebody who is enrolled."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.interop.arrays import Vectors
    from intervox.model.model import SubspaceModel

Item = TypeVar("Item")

YES, NO, ERROR = 0, 1, 2
"""Exit codes."""

_SIGPIPE = 141
"""What a shell reports of a process that ended because nobody read its output."""

_MANY = 10
"""Items from which on a bar is worth its line."""


@contextmanager
def while_read() -> Iterator[None]:
    """End quietly when whoever reads standard output has had enough, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes it once more while ending.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_SIGPIPE) from None


def say(record: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result at once, as a JSON line or as text."""
    typer.echo(json.dumps(record) if as_json else text)


def complain(clip: str, error: IntervoxError, as_json: bool) -> None:
    """Print what is wrong with one clip of many on standard error, as a JSON line also among the results."""
    typer.echo(f"error: {error}", err=True)
    if as_json:
        typer.echo(json.dumps({"clip": clip, "error": str(error)}))


def watched(
    items: Iterable[Item], total: int | None, description: str, prints: bool = True
) -> Iterator[Item]:
    """Pass items on under a progress bar, if there are many and a bar would disturb nobody.

    Parameters
    ----------
    total
        None where it is not known.
    prints
        Whether results go to standard output, which may be the same terminal.
    """
    if not sys.stderr.isatty() or (prints and sys.stdout.isatty()) or (total or 0) < _MANY:
        yield from items
        return
    from intervox.progress import progress_bar

    with progress_bar(description, total or 0, "clips") as bar:
        for item in items:
            yield item
            bar.advance(1)


def figures(score: float, probability: float, odds: str = " at even odds") -> str:
    """Return a cosine and what it means as text."""
    return f"(cosine {score:.3f}, probability {probability:.3f}{odds})"


SPEAKER = "speaker"


@dataclass(frozen=True)
class Reference:
    """A speaker with whom clips are compared.

    Attributes
    ----------
    vector
        Unit vector, shape (dim,).
    threshold
        Cosine from which on a speaker is the same; None to decide by the probability.
    """

    name: str
    model: "SubspaceModel"
    space: str
    vector: "Vectors"
    threshold: float | None

    def compare(self, vectors: "dict[str, Vectors]") -> tuple[float, float, bool]:
        """Return cosine, probability at even odds, and whether it is the same speaker."""
        score = vectors[self.space] @ self.vector
        probability = float(self.model.probability(score, self.space))
        same = probability >= 0.5 if self.threshold is None else bool(score >= self.threshold)
        return float(score), probability, same


def heard_reference(
    clip: str, model: "SubspaceModel", vectors: "dict[str, Vectors] | IntervoxError", rate: float | None
) -> Reference:
    """Take one clip as the reference; without a rate scikit-learn stays out, which costs half a second."""
    model.check_space(SPEAKER)
    if isinstance(vectors, IntervoxError):
        raise vectors
    threshold = None
    if rate is not None:
        from intervox.applications.verifier import SpeakerVerifier

        threshold = SpeakerVerifier(model).set_false_accept_rate(rate).threshold_
    return Reference(clip, model, SPEAKER, vectors[SPEAKER], threshold)


def enrolled_reference(path: Path, speaker: str | None, model: str | None, rate: float | None) -> Reference:
    """Take a speaker of a file of ``intervox enrol``, by default the only one."""
    from intervox.applications.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.load(path, model)
    names = verifier.classes_.tolist()
    if speaker is None and len(names) != 1:
        raise IntervoxError(f"{path} knows {', '.join(names) or 'nobody'}: say whom to verify with --speaker")
    name = names[0] if speaker is None else speaker
    verifier.check_name(name)
    if rate is not None:
        verifier.set_false_accept_rate(rate)
    vector = verifier.prototypes_[names.index(name)]
    return Reference(name, verifier.model_, verifier.space, vector, verifier.threshold_)
