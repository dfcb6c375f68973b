"""What commands share that can listen to a microphone instead of reading clips."""

from collections.abc import Callable, Iterable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from intervox.errors import IntervoxError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MICROPHONE = "microphone"
"""What results call it, in the place of a clip."""

MicrophoneOption = Annotated[
    bool, typer.Option("--microphone", help="Listen until Ctrl-C instead of reading clips.")
]


class _Timed(Protocol):
    """Something that is said of a stretch of sound."""

    @property
    def end(self) -> float:
        """In seconds."""


Found = TypeVar("Found", bound=_Timed)


def check_source(clips: list[str] | None, microphone: bool) -> list[str]:
    """Return the clips, or raise an ``IntervoxError`` unless there are either clips or a microphone."""
    if clips and microphone:
        raise IntervoxError("recordings and --microphone are both given: leave one out")
    if not clips and not microphone:
        raise IntervoxError("there is nothing to listen to: name recordings, or --microphone")
    return clips or []


def listen(
    answers: "Callable[[Iterable[NDArray[np.float32]]], Iterator[Found]]", show: Callable[[Found, int], None]
) -> None:
    """Listen to the microphone until Ctrl-C, and say at the end how late the answers came.

    Parameters
    ----------
    answers
        From sound to what is found in it, as it is heard.
    show
        Prints an answer; also given how many milliseconds after the end of what it is about it is there.
    """
    from intervox.applications.live import Clock, microphone_chunks

    clock = Clock(microphone_chunks())
    late: list[int] = []
    try:
        for found in answers(clock):
            late.append(round(clock.milliseconds_since(found.end)))
            show(found, late[-1])
    except KeyboardInterrupt:
        pass
    if late:
        count = f"{len(late)} answer{'' if len(late) == 1 else 's'}"
        typer.echo(
            f"{count}, {median(late):.0f} ms after the end of the sound (at most {max(late)} ms)", err=True
        )
