"""Is this word said, and where? Keywords known by a few examples, in clips, recordings and live sound."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from intervox.applications.detections import Detection, attributed, check_people
from intervox.applications.enrolled import Enrolled
from intervox.applications.live import NOTHING, Window, confirmed_peaks, sliding_windows
from intervox.applications.stability import disturbed, may_hold_speech
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import (
    MIN_SAMPLES,
    SAMPLE_RATE,
    AudioSource,
    Waveform,
    load_audio,
    resample_chunks,
    stream_audio,
)
from intervox.errors import IntervoxError
from intervox.metrics.events import HOP_SECONDS, REFRACTORY_SECONDS, WINDOW_SECONDS, pick_peaks
from intervox.model.decision import logit
from intervox.model.embedder import Embedder, is_one_clip
from intervox.model.files import DEFAULT

_LONGEST_WINDOW = 30.0
"""Seconds that somebody may ask for: no keyword is longer."""

WINDOW_BOUNDS = (0.5, 2.0)
"""Seconds: a shorter window says too little of a word, a longer one holds several."""


class KeywordSpotter(Enrolled):
    """Keywords known by one to five examples each, of any speaker, which hold the keyword and little else.

    ``predict`` names isolated clips. ``scan`` and ``stream`` find keywords in whatever is said: a
    window slides over the sound, its score is its largest cosine with a keyword's examples, and a
    peak of the score with no higher one less than 0.75 s away is a detection. What is measured as
    "keywords in running speech" (``evaluation.running``) is this.

    Parameters
    ----------
    model, space
        As of ``Enrolled``.
    threshold
        Minimum cosine for a keyword to be accepted, in clips and in recordings. By default that of
        an even probability, at different odds: a clip is a keyword as likely as not, each keyword
        alike; a window of a recording hardly ever is, see ``prior``.
    window_seconds
        Length of the window; by default that of the examples on average and one hop, so that some
        window holds the whole keyword wherever it is said, within 0.5 and 2 s.
    hop_seconds
        From one window to the next.
    prior
        How probable a keyword is in a window before anything is heard. One window in a hundred
        means one keyword in 25 seconds; where it is rarer than that, a lower prior saves false alarms.
    people
        Whoever is enrolled there is told apart: detections say who speaks, from the same pass of the
        encoder, by the windows around the keyword.
    speaker
        One of ``people``: a keyword counts in this voice only.

    Examples
    --------
    >>> spotter = KeywordSpotter()
    >>> spotter.enrol("yes", ["yes1.wav", "yes2.wav", "yes3.wav"])  # doctest: +SKIP
    >>> for found in spotter.scan("meeting.wav"):  # doctest: +SKIP
    ...     print(f"{found.start:7.2f} s  {found.keyword}  {found.probability:.2f}")
    """

    def __init__(
        self,
        model: Embedder | str | Path = DEFAULT,
        space: str = "content",
        threshold: float | None = None,
        window_seconds: float | None = None,
        hop_seconds: float = HOP_SECONDS,
        prior: float = 0.01,
        people: SpeakerVerifier | None = None,
        speaker: str | None = None,
    ) -> None:
        super().__init__(model, space, threshold)
        self.people = people
        self.speaker = speaker
        self.rivals: NDArray[np.float32] | None = None
        """What sounds like a keyword and is none: unit vectors (rivals, dim); what is closer to one of them
        than to any keyword does not count."""
        self._recent: deque[Window] = deque()
        self.window_seconds = window_seconds
        self.hop_seconds = hop_seconds
        self.prior = prior
        self.closest_: Detection | None = None
        """What the last ``scan`` or ``stream`` has found most like a keyword, above the threshold or not."""

    @property
    def _accept_at(self) -> float:
        """What is at least as probable as not, given how probable each keyword was."""
        return -logit(self._clip_prior)

    @property
    def scan_threshold_(self) -> float:
        """The minimum cosine of a detection, in ``scan`` and ``stream``."""
        return self.score_at(0.5, self.prior) if self.threshold is None else self.threshold

    @property
    def window_seconds_(self) -> float:
        """The length of the window in force."""
        if self.window_seconds is not None:
            return self.window_seconds
        if not self.counts_:
            return WINDOW_SECONDS
        mean = sum(self.seconds_.values()) / sum(self.counts_.values())
        return float(np.clip(mean + self.hop_seconds, *WINDOW_BOUNDS))

    @property
    def _clip_prior(self) -> float:
        return 1 / (2 * max(1, len(self.counts_)))

    def predict_proba(self, X: Iterable[AudioSource]) -> NDArray[np.float64]:
        """Return the calibrated probability that a clip is a keyword: shape (clips, keywords).

        Before it is heard, a clip is some keyword as likely as not, and each of them alike.
        """
        return self.model_.probability(self.decision_function(X), self.space, self._clip_prior)

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = super().scores(vectors)
        if self.rivals is None or not len(vectors):
            return scores
        lost = (vectors @ self.rivals.T).max(axis=1) > scores.max(axis=1)
        return np.where(lost[:, None], np.float32(NOTHING), scores)

    def _further(self) -> dict[str, NDArray[np.float32]]:
        return super()._further() | ({} if self.rivals is None else {"rivals": self.rivals})

    def _take(self, further: Mapping[str, NDArray[np.float32]]) -> None:
        super()._take(further)
        self.rivals = further.get("rivals")

    def scan(self, source: AudioSource) -> Iterator[Detection]:
        """Find keywords in a recording of any length, in memory that does not grow with it.

        Parameters
        ----------
        source
            As ``load_audio`` takes it. Digital silence is passed over.

        Yields
        ------
        Detection
            In the order of time, each as soon as it is certain.

        Raises
        ------
        IntervoxError
            Nothing is enrolled, a parameter is out of range, or the recording can't be read.
        """
        self._check()
        return self._detections(self._windows(stream_audio(source)))

    def stream(self, chunks: Iterable[NDArray[Any]], rate: int = SAMPLE_RATE) -> Iterator[Detection]:
        """Find keywords in sound as it comes: exactly those that ``scan`` finds in the whole.

        A detection is yielded ``latency_seconds`` after the middle of its window has been heard
        (1.25 s with a window of one second), plus what is left of the chunk.

        Parameters
        ----------
        chunks
            Arrays of any lengths, (samples,) or (samples, channels), as a microphone gives them; see
            ``intervox.applications.live``. Where they end, what is pending is yielded.
        rate
            Of the chunks, in Hz.

        Raises
        ------
        IntervoxError
            As ``scan``; a chunk is not an array of numbers, or not finite.
        """
        self._check()
        return self._detections(self._windows(resample_chunks(chunks, rate)))

    @property
    def latency_seconds(self) -> float:
        """Seconds of sound from the middle of a detection's window to the detection.

        Half of the window, and then as many hops as a higher peak could still hide it by. The rest of
        a chunk and the time to compute come on top.
        """
        return self.window_seconds_ / 2 + self._distance * self.hop_seconds

    def set_false_alarms_per_hour(self, rate: float, background: Iterable[AudioSource]) -> Self:
        """Put the threshold where recordings without keywords give so many false alarms an hour.

        Parameters
        ----------
        rate
            Above 0.
        background
            Recordings of any length, such as the spotter will hear, in which no keyword is said. The
            rate holds on them exactly; on others as far as they are alike, and more closely the
            more false alarms it allows in them: of three, 1.7 is the deviation.

        Raises
        ------
        IntervoxError
            They are too short, or too silent, to hold as many false alarms as the rate allows.
        """
        self._check()
        if not isinstance(rate, float | int) or not 0 < rate < np.inf:
            raise IntervoxError(f"the rate is {rate}: give false alarms an hour, a number above 0")
        if is_one_clip(background):
            raise IntervoxError("background is a list of recordings: write [recording]")
        peaks, seconds, heard = [np.zeros(0)], 0.0, 0
        for source in background:
            windows = list(self._windows(stream_audio(source)))
            scores = np.array([window.score for window in windows])
            peaks.append(scores[pick_peaks(scores, self._distance)])
            seconds += windows[-1].end
            heard += sum(window.heard for window in windows)
        allowed = int(rate * seconds / 3600)
        if not allowed:
            raise IntervoxError(
                f"{seconds / 60:,.1f} minutes of background are too few for {rate:g} false alarms an hour: "
                f"give at least {60 / rate:,.1f} minutes, or allow more"
            )
        rising = np.sort(np.concatenate(peaks))
        if len(rising) > allowed:
            self.threshold = float(np.nextafter(np.float32(rising[-allowed - 1]), np.float32(2)))
        elif self.rivals is None or heard <= allowed:
            raise IntervoxError("the background is almost silent: give recordings of what will be heard")
        else:  # rivals take nearly all of it: no threshold lets more pass than the rate allows
            self.threshold = self.score_at(0.5, self.prior)
        return self

    def stability(self, example: AudioSource) -> float:
        """Say how little slight disturbances move an example: the mean cosine with ``disturbed`` copies.

        It is what best tells how many of the clips of a keyword a single example of it will find: see
        ``docs/spotting.md``.

        Raises
        ------
        IntervoxError
            The example can't be embedded.
        """
        wave = load_audio(example)
        copies = [wave, *filter(may_hold_speech, disturbed(wave))]
        first, *others = self._embed(copies)
        return float(np.mean(np.stack(others) @ first))

    @property
    def _distance(self) -> int:
        return max(1, round(REFRACTORY_SECONDS / self.hop_seconds))

    def _check(self) -> None:
        """Refuse before anything is read what could only fail later."""
        if not MIN_SAMPLES / SAMPLE_RATE <= self.hop_seconds <= self.window_seconds_ <= _LONGEST_WINDOW:
            raise IntervoxError(
                f"hop_seconds is {self.hop_seconds} and the window {self.window_seconds_:g} s: give a hop of "
                f"0.025 s or more, and a window that is at least as long and at most {_LONGEST_WINDOW:g} s"
            )
        self.model_.probability(np.zeros(1), self.space, self.prior)
        assert len(self.prototypes_)
        check_people(self.people, self.speaker, self.model_)
        self.model_.ready()

    def _windows(self, sound: Iterable[Waveform]) -> Iterator[Window]:
        """Score every window as soon as it is heard."""
        window, hop = (round(SAMPLE_RATE * each) for each in (self.window_seconds_, self.hop_seconds))
        for starts, waves in sliding_windows(sound, window, hop):
            begins = np.maximum(starts, 0)
            spoken = [i for i, wave in enumerate(waves) if may_hold_speech(wave)]
            vectors = self.model_.encode([waves[index] for index in spoken])
            found = dict(zip(spoken, self.scores(vectors[self.space]), strict=True))
            voices = dict(zip(spoken, vectors[self.people.space], strict=True)) if self.people else {}
            for index, (begin, wave) in enumerate(zip(begins.tolist(), waves, strict=True)):
                times = begin / SAMPLE_RATE, (begin + len(wave)) / SAMPLE_RATE
                if index in found:
                    column = int(found[index].argmax())
                    yield Window(*times, column, float(found[index][column]), voices.get(index), True)
                else:
                    yield Window(*times)

    def _detections(self, windows: Iterable[Window]) -> Iterator[Detection]:
        self.closest_ = None
        # Those before a peak as far as they overlap it, and as many after it as are known by then.
        around = int(self.window_seconds_ / self.hop_seconds) + self._distance
        self._recent = deque(maxlen=around + 1)
        for peak in confirmed_peaks(self._noted(windows), self.scan_threshold_, self._distance):
            found = self._detection(peak)
            if self.people is not None:
                found = attributed(found, self._recent, self.people, self.speaker)
            if self.speaker is None or found.speaker == self.speaker:
                yield found
            elif self.closest_ and self.closest_.start == found.start:
                self.closest_ = found  # and whoever says it is why it is dropped

    def _noted(self, windows: Iterable[Window]) -> Iterator[Window]:
        """Pass windows on, and remember the one that is most like a keyword."""
        best = -np.inf
        for window in windows:
            self._recent.append(window)
            if window.score > best:
                best, self.closest_ = window.score, self._detection(window)
            yield window

    def _detection(self, window: Window) -> Detection:
        probability = self.model_.probability(np.array(window.score), self.space, self.prior)
        keyword = str(self.classes_[window.column])
        return Detection(keyword, window.start, window.end, window.score, float(probability))
