"""Wake words: misses and false alarms an hour, recorded and typed, beside local-wake.

Keywords are words of Speech Commands, one at a time. Positives are clips of a word by people who gave no
example, each in quiet noise; false alarms are counted in running speech: LibriSpeech, without the
utterances in which Whisper tiny.en hears the word, and RAVDESS, whose two sentences hold none. All systems
hear the same clips, windows every 0.25 s, and are known by the same examples; each has a threshold of its
own at each operating point, for each word and draw. Figures are means over words and draws.

The second table requires the owner's voice: who enrolled by three clips of other words says the keyword,
then others do. The keyword's threshold lets five false alarms an hour pass in anybody's voice.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from local_wake import LocalWake, buffer_samples, distances
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from intervox.applications.live import NOTHING, Window
from intervox.applications.spotter import KeywordSpotter
from intervox.applications.vad import trimmed
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.clips.labels import Clips
from intervox.corpus.render.recogniser import Recogniser
from intervox.errors import IntervoxError
from intervox.evaluation.loading import protocol_clips
from intervox.evaluation.protocols import data_folder, find_protocols
from intervox.evaluation.streams import FLOOR, WORD
from intervox.metrics.events import HOP_SECONDS, REFRACTORY_SECONDS, pick_peaks
from intervox.metrics.vectors import Vectors
from intervox.model.embedder import Embedder
from intervox.model.loading import load_model
from intervox.progress import progress_bar
from intervox.typed import enrol_typed

SHOTS = (1, 3, 5, 10)
RATES = (1.0, 5.0)
"""False alarms an hour."""

OTHER_WORDS = 0.01
"""Share of clips of other words that pass at the first operating point."""

MISSES = 0.1
AROUND = 5
"""Windows around the middle of a clip, of which the best counts."""

OWNER_CLIPS, STRANGERS, OWNER_RATE = 3, 5, 5.0
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """Running speech, and the words that a recogniser hears in it."""

    wave: Waveform
    heard: frozenset[str]


@dataclass(frozen=True)
class Sound:
    """Keyword clips in noise, running speech, and windows over both.

    Attributes
    ----------
    jitter
        How far each clip lies off the grid of windows, in seconds, shape (clips,).
    """

    clips: Clips
    waves: list[Waveform]
    speech: list[Utterance]
    jitter: NDArray[np.float64]

    def around(self, clip: int, window: int) -> list[Waveform]:
        """Cut windows of so many samples around the middle of a clip."""
        random = np.random.default_rng([2, clip])
        hop = round(HOP_SECONDS * SAMPLE_RATE)
        side = window + AROUND * hop
        wave = np.pad(self.waves[clip], side)
        wave += (FLOOR * random.standard_normal(len(wave))).astype(np.float32)
        first = len(wave) // 2 - window // 2 - AROUND // 2 * hop + round(self.jitter[clip] * SAMPLE_RATE)
        return [wave[start : start + window] for start in range(first, first + AROUND * hop, hop)]

    def over(self, utterance: Utterance, window: int) -> list[Waveform]:
        """Cut an utterance into windows of so many samples."""
        wave = np.pad(utterance.wave, (0, max(0, window - len(utterance.wave))))
        hop = round(HOP_SECONDS * SAMPLE_RATE)
        return [wave[start : start + window] for start in range(0, len(wave) - window + 1, hop)]


@dataclass(frozen=True)
class Scored:
    """Scores of one keyword, the higher the more like it: of clips, and of windows of each utterance."""

    clips: Scores
    speech: list[Scores]


class Ours:
    """The packaged model on windows that are embedded once: shape (clips, AROUND, dim) and (windows, dim)."""

    def __init__(self, model: Embedder, sound: Sound) -> None:
        self.model = model
        # As long as the spotter itself takes for examples of this length.
        self.seconds = float(np.clip(sound.clips.duration.mean() + HOP_SECONDS, 0.5, 2))
        window = round(self.seconds * SAMPLE_RATE)
        self.clips = [self._embed(sound.around(clip, window)) for clip in _watched(len(sound.waves), "clips")]
        self.speech = [
            self._embed(sound.over(sound.speech[index], window))
            for index in _watched(len(sound.speech), "utterances")
        ]
        self.examples = model.encode(sound.waves)["content"]

    def _embed(self, waves: list[Waveform]) -> dict[str, Vectors]:
        return self.model.encode(waves)

    def spotter(self, word: str, examples: list[int], typed: bool) -> KeywordSpotter:
        """Enrol a word by its text, by examples, or both."""
        spotter = KeywordSpotter(self.model, window_seconds=self.seconds)
        if typed:
            enrol_typed(spotter, word)
        if examples:
            spotter.add(word, self.examples[examples], np.ones(len(examples)))
        return spotter

    def scored(self, spotter: KeywordSpotter) -> Scored:
        """Score everything."""
        space = spotter.space
        clips = np.array([spotter.scores(each[space])[:, 0].max() for each in self.clips])
        return Scored(clips, [spotter.scores(each[space])[:, 0] for each in self.speech])


class Peer:
    """local-wake: the smallest distance from any example, of buffers of two seconds."""

    def __init__(self, sound: Sound) -> None:
        self._peer, self._sound, samples = LocalWake(), sound, buffer_samples()
        self._clips = self._embedded(lambda clip: sound.around(clip, samples), len(sound.waves), "clips")
        self._speech = self._embedded(
            lambda index: sound.over(sound.speech[index], samples), len(sound.speech), "utterances"
        )
        self._bounds = np.cumsum(
            [0, *(len(sound.over(utterance, samples)) for utterance in sound.speech)]
        ).tolist()
        self._known: dict[int, tuple[Scores, Scores]] = {}

    def _embedded(self, cut: Callable[[int], list[Waveform]], count: int, what: str) -> NDArray[np.float32]:
        rows = [self._peer.embed(wave) for index in _watched(count, what) for wave in cut(index)]
        return np.stack(rows)

    def scored(self, examples: list[int]) -> Scored:
        """Score everything by examples."""
        known = [self._one(example) for example in examples]
        clips, speech = (np.max([each[side] for each in known], axis=0) for side in (0, 1))
        best = clips.reshape(-1, AROUND).max(axis=1)
        return Scored(best, [speech[start:end] for start, end in pairwise(self._bounds)])

    def _one(self, example: int) -> tuple[Scores, Scores]:
        if example not in self._known:
            frames = self._peer.embed(_cut(self._sound.waves[example]))
            self._known[example] = -distances(self._clips, frames), -distances(self._speech, frames)
        return self._known[example]


def _cut(wave: Waveform) -> Waveform:
    """Cut the silence around an example, as `lwake record` does; one without speech stays whole."""
    try:
        return trimmed(wave)
    except IntervoxError:
        return wave


def _watched(count: int, what: str) -> Iterator[int]:
    with progress_bar(f"embedding {what}", count, what) as bar:
        for index in range(count):
            yield index
            bar.advance(1)


def listened(options: argparse.Namespace) -> Sound:
    """Load the clips and the running speech."""
    clips = protocol_clips(find_protocols(("speech_commands",), options.clips)[0])
    folder = data_folder()
    paths = [*sorted((folder / "librispeech").rglob("*.flac")), *sorted((folder / "ravdess").rglob("*.flac"))]
    chosen = np.random.default_rng(0).permutation(np.array(paths, object))[: options.utterances]
    recogniser, speech = Recogniser(), []
    with progress_bar("recognising", len(chosen), "utterances") as bar:
        for path in chosen:
            wave = load_audio(Path(path))
            (hearing,) = recogniser.listen([wave], ["word"])
            speech.append(Utterance(wave, frozenset(WORD.findall(hearing.transcript.casefold()))))
            bar.advance(1)
    waves = [load_audio(path) for path in clips.paths.tolist()]
    jitter = np.random.default_rng(1).uniform(0, HOP_SECONDS, len(waves))
    return Sound(clips, waves, speech, jitter)


def without(sound: Sound, word: str, scored: Scored) -> tuple[Scores, float]:
    """Return the peaks of the score in speech without a word, falling, and how many hours that is."""
    free = [index for index, each in enumerate(sound.speech) if word not in each.heard]
    distance = round(REFRACTORY_SECONDS / HOP_SECONDS)
    peaks = [scored.speech[index][pick_peaks(scored.speech[index], distance)] for index in free]
    seconds = sum(len(sound.speech[index].wave) for index in free) / SAMPLE_RATE
    return np.sort(np.concatenate(peaks))[::-1], seconds / 3600


def threshold_at(alarms: Scores, hours: float, rate: float) -> float:
    """Return the score above which there are at most so many false alarms an hour."""
    allowed = int(rate * hours)
    return float(alarms[allowed]) if len(alarms) > allowed else float(NOTHING)


def outcome(sound: Sound, word: str, tested: NDArray[np.bool_], scored: Scored) -> list[float]:
    """Return misses at each operating point in %, and false alarms an hour at so many misses."""
    said = sound.clips.contents == word
    own, others = np.sort(scored.clips[tested & said]), np.sort(scored.clips[tested & ~said])[::-1]
    alarms, hours = without(sound, word, scored)
    points = [float(others[int(OTHER_WORDS * len(others))])]
    points += [threshold_at(alarms, hours, rate) for rate in RATES]
    misses = [100 * float((own <= point).mean()) for point in points]
    return [*misses, float((alarms >= own[int(MISSES * len(own))]).sum() / hours)]


def drawn(clips: Clips, word: str, draw: int) -> tuple[list[int], NDArray[np.bool_]]:
    """Draw examples of a word, each by somebody else, and who is tested: everybody else."""
    random = np.random.default_rng([3, draw])
    rows = random.permutation(np.flatnonzero(clips.contents == word))
    _, first = np.unique(clips.speakers[rows], return_index=True)
    examples = rows[np.sort(first)][: max(SHOTS)].tolist()
    return examples, ~np.isin(clips.speakers, clips.speakers[examples])


def compared(sound: Sound, ours: Ours, peer: Peer | None, words: list[str], draws: int) -> dict[str, Vectors]:
    """Measure all systems on all words: name to figures (words and draws, points)."""
    found: dict[str, list[list[float]]] = {}
    for word in words:
        everybody = np.ones(len(sound.waves), bool)
        typed = ours.scored(ours.spotter(word, [], typed=True))
        found.setdefault("intervox, typed", []).append(outcome(sound, word, everybody, typed))
        for draw in range(draws):
            examples, tested = drawn(sound.clips, word, draw)
            for shots in SHOTS:
                some = examples[:shots]
                ways = {
                    f"intervox, {shots} recorded": ours.scored(ours.spotter(word, some, typed=False)),
                    f"intervox, typed and {shots}": ours.scored(ours.spotter(word, some, typed=True)),
                }
                if peer:
                    ways[f"local-wake, {shots} recorded"] = peer.scored(some)
                for name, scored in ways.items():
                    found.setdefault(name, []).append(outcome(sound, word, tested, scored))
    return {name: np.array(figures, np.float32) for name, figures in sorted(found.items())}


def windows(ours: Ours, heard: Iterable[dict[str, Vectors]], spotter: KeywordSpotter) -> Iterator[Window]:
    """Score windows in a row, as the spotter does where it listens."""
    start = 0.0
    for vectors in heard:
        for score, voice in zip(
            spotter.scores(vectors[spotter.space])[:, 0], vectors["speaker"], strict=True
        ):
            yield Window(start, start + ours.seconds, 0, float(score), voice, True)
            start += HOP_SECONDS
        start += ours.seconds  # the next one is another recording


def found_in(ours: Ours, heard: list[dict[str, Vectors]], spotter: KeywordSpotter) -> int:
    """Count the detections in recordings."""
    return sum(len(list(spotter._detections(windows(ours, [each], spotter)))) for each in heard)


def owned(sound: Sound, ours: Ours, words: list[str], owners: int) -> NDArray[np.float64]:
    """Measure with and without the owner's voice required.

    Returns
    -------
    ndarray
        Shape (2, 3): without and with; owner's keywords found, others' found (shares), false alarms an hour.
    """
    clips, rows = sound.clips, []
    for word in words:
        examples, tested = drawn(clips, word, 0)
        spotter = ours.spotter(word, examples[:OWNER_CLIPS], typed=False)
        scored = ours.scored(spotter)
        alarms, hours = without(sound, word, scored)
        spotter.threshold = float(np.nextafter(np.float32(threshold_at(alarms, hours, OWNER_RATE)), 2))
        speech = [
            each for each, about in zip(ours.speech, sound.speech, strict=True) if word not in about.heard
        ]
        said = tested & (clips.contents == word)
        random = np.random.default_rng(4)
        for owner in random.permutation(np.unique(clips.speakers[said])).tolist():
            enrolling = np.flatnonzero((clips.speakers == owner) & (clips.contents != word))[:OWNER_CLIPS]
            if len(enrolling) < OWNER_CLIPS:
                continue
            own = np.flatnonzero(said & (clips.speakers == owner)).tolist()
            others = random.choice(np.flatnonzero(said & (clips.speakers != owner)), STRANGERS).tolist()
            people = SpeakerVerifier(ours.model).enrol(owner, [sound.waves[row] for row in enrolling])
            rows.append(owner_row(ours, spotter, people, (own, others), speech, hours))
            if len(rows) % owners == 0:
                break
    return np.mean(rows, axis=0)


def owner_row(
    ours: Ours,
    spotter: KeywordSpotter,
    people: SpeakerVerifier,
    clips: tuple[list[int], list[int]],
    speech: list[dict[str, Vectors]],
    hours: float,
) -> list[list[float]]:
    """Measure one owner without and with the voice required."""
    (owner,) = people.classes_.tolist()
    table = []
    for known, speaker in ((None, None), (people, owner)):
        spotter.people, spotter.speaker = known, speaker
        shares = [
            float(np.mean([found_in(ours, [ours.clips[row]], spotter) > 0 for row in rows])) for rows in clips
        ]
        table.append([*shares, found_in(ours, speech, spotter) / hours])
    return table


def main(options: argparse.Namespace) -> None:
    sound = listened(options)
    words = sorted(set(sound.clips.contents.tolist()))
    chosen = options.words or words
    hours = sum(len(each.wave) for each in sound.speech) / SAMPLE_RATE / 3600
    ours, peer = Ours(load_model(), sound), Peer(sound) if options.peers else None
    console = Console(width=110)
    columns = [
        "known by", f"misses at {100 * OTHER_WORDS:g} % of other words, %",
        *(f"misses at {rate:g} an hour, %" for rate in RATES), f"false alarms/h at {100 * MISSES:g} % misses",
    ]  # fmt: skip
    for some in filter(None, (chosen, [word for word in chosen if word in options.long])):
        table = Table(*columns, title=f"{', '.join(some)}; {len(sound.waves)} clips, {hours:.2f} h of speech")
        for name, figures in compared(sound, ours, peer, some, options.draws).items():
            table.add_row(name, *(f"{figure:.1f}" for figure in figures.mean(axis=0)))
        console.print(table)
    table = Table("counts in", "owner's found, %", "others' found, %", "false alarms/h", title="whose voice")
    for name, (own, others, alarms) in zip(
        ("any voice", "the owner's"), owned(sound, ours, chosen, options.owners), strict=True
    ):
        table.add_row(name, f"{100 * own:.1f}", f"{100 * others:.1f}", f"{alarms:.1f}")
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, help="of Speech Commands, about how many; all by default")
    parser.add_argument("--utterances", type=int, help="of running speech; all by default")
    parser.add_argument("--words", nargs="+", help="keywords; all by default")
    parser.add_argument(
        "--long", nargs="*", default=["happy", "zero"], help="words shown again by themselves"
    )
    parser.add_argument("--draws", type=int, default=3, help="of examples")
    parser.add_argument("--owners", type=int, default=5, help="for each word")
    parser.add_argument("--peers", action="store_true", help="measure local-wake too")
    main(parser.parse_args())
