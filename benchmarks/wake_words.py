"""Wake words: misses and false alarms an hour, recorded and typed, beside local-wake.

Keywords are words of Speech Commands, one at a time. Positives are clips of a word by people who gave no
example, each in quiet noise; false alarms are counted in running speech: LibriSpeech, without the
utterances in which Whisper tiny.en hears the word, and RAVDESS, whose two sentences hold none. All systems
hear the same clips, windows every 0.25 s, and are known by the same examples; each has a threshold of its
own at each operating point, for each word and draw. Figures are means over words and draws.

The second table requires the owner's voice: who enrolled by three clips of other words says the keyword,
then others do. The keyword's threshold lets five false alarms an hour pass in anybody's voice.

What no model of ours changes, transcripts and local-wake's vectors, is kept in the cache for the next time.
"""

import argparse
from itertools import pairwise

import numpy as np
from local_wake import Peer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table
from wake_sound import AROUND, Scored, Scores, Sound, bounds, listened, watched

from intervox.applications.live import NOTHING, Window
from intervox.applications.spotter import KeywordSpotter
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import SAMPLE_RATE
from intervox.clips.labels import Clips
from intervox.errors import IntervoxError
from intervox.metrics.events import HOP_SECONDS, REFRACTORY_SECONDS, pick_peaks
from intervox.metrics.vectors import Vectors
from intervox.model.embedder import Embedder
from intervox.model.loading import load_model
from intervox.typed import enrol_typed

SHOTS = (1, 3, 5, 10)
RATES = (1.0, 5.0)
"""False alarms an hour."""

OTHER_WORDS = 0.01
"""Share of clips of other words that pass at the first operating point."""

MISSES = 0.1
OWNER_CLIPS, STRANGERS, OWNER_RATE = 3, 5, 5.0


class Ours:
    """The packaged model on windows that are embedded once.

    Attributes
    ----------
    clips, speech
        Subspace to unit vectors, shape (clips, AROUND, dim), and (windows, dim) with bounds of utterances.
    """

    def __init__(self, model: Embedder, sound: Sound) -> None:
        self.model = model
        # As long as the spotter itself takes for examples of this length.
        self.seconds = float(np.clip(sound.clips.duration.mean() + HOP_SECONDS, 0.5, 2))
        window = round(self.seconds * SAMPLE_RATE)
        clips = [model.encode(sound.around(clip, window)) for clip in watched(len(sound.waves), "clips")]
        speech = [
            model.encode(sound.over(sound.speech[index], window))
            for index in watched(len(sound.speech), "utterances")
        ]
        self.clips = {space: np.stack([each[space] for each in clips]) for space in clips[0]}
        self.speech = {space: np.concatenate([each[space] for each in speech]) for space in clips[0]}
        self.bounds = bounds([len(each["content"]) for each in speech])
        self._examples = model.encode(sound.waves)["content"]
        self._typed: dict[str, KeywordSpotter] = {}

    def spotter(self, word: str, examples: list[int], typed: bool) -> KeywordSpotter:
        """Enrol a word by its text, by examples, or both."""
        spotter = KeywordSpotter(self.model, window_seconds=self.seconds)
        if typed:
            if word not in self._typed:
                self._typed[word] = KeywordSpotter(self.model)
                enrol_typed(self._typed[word], word)
            # All renditions count as one example.
            spotter.add(word, self._typed[word].prototypes_, np.ones(1))
            spotter.rivals = self._typed[word].rivals
        if examples:
            spotter.add(word, self._examples[examples], np.ones(len(examples)))
        return spotter

    def scored(self, spotter: KeywordSpotter) -> Scored:
        """Score everything."""
        clips, speech = self.clips[spotter.space], self.speech[spotter.space]
        best = spotter.scores(clips.reshape(-1, clips.shape[-1]))[:, 0].reshape(-1, AROUND).max(axis=1)
        scores = spotter.scores(speech)[:, 0]
        return Scored(best, [scores[start:end] for start, end in pairwise(self.bounds)])


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
    tested = ~np.isin(clips.speakers, clips.speakers[examples])
    if len(examples) < max(SHOTS) or not tested[rows].any():
        raise IntervoxError(f"{len(rows)} clips of {word!r} are too few: take more --clips")
    return examples, tested


def compared(
    sound: Sound, ours: Ours, peer: Peer | None, word: str, draws: int
) -> dict[str, list[list[float]]]:
    """Measure all systems on one word: name to figures of each draw."""
    everybody = np.ones(len(sound.waves), bool)
    typed = ours.scored(ours.spotter(word, [], typed=True))
    found = {"intervox, typed": [outcome(sound, word, everybody, typed)]}
    for shots in SHOTS:
        for draw in range(draws):
            examples, tested = drawn(sound.clips, word, draw)
            some = examples[:shots]
            ways = {
                f"intervox, {shots} recorded": ours.scored(ours.spotter(word, some, typed=False)),
                f"intervox, typed and {shots}": ours.scored(ours.spotter(word, some, typed=True)),
            }
            if peer:
                ways[f"local-wake, {shots} recorded"] = peer.scored(some)
            for name, scored in ways.items():
                found.setdefault(name, []).append(outcome(sound, word, tested, scored))
    return found


def shown(found: dict[str, dict[str, list[list[float]]]], title: str) -> Table:
    """Average the figures of words, by word."""
    table = Table(
        Column("known by", no_wrap=True), f"misses % at {100 * OTHER_WORDS:g} % of other words",
        *(f"misses % at {rate:g} an hour" for rate in RATES), f"false alarms/h at {100 * MISSES:g} % misses",
        title=f"{', '.join(found)}; {title}",
    )  # fmt: skip
    for name in next(iter(found.values())):
        figures = np.concatenate([np.array(each[name]) for each in found.values()]).mean(axis=0)
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    return table


def detected(ours: Ours, vectors: dict[str, Vectors], parts: list[int], spotter: KeywordSpotter) -> list[int]:
    """Count the detections in recordings, whose windows are rows between bounds."""
    scores = spotter.scores(vectors[spotter.space])[:, 0].tolist()
    windows = [
        Window(HOP_SECONDS * row, HOP_SECONDS * row + ours.seconds, 0, score, voice, True)
        for row, (score, voice) in enumerate(zip(scores, vectors["speaker"], strict=True))
    ]
    return [len(list(spotter._detections(windows[start:end]))) for start, end in pairwise(parts)]


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
        free = np.array([word not in about.heard for about in sound.speech])
        said = tested & (clips.contents == word)
        random = np.random.default_rng(4)
        people, counts = np.unique(clips.speakers[clips.contents != word], return_counts=True)
        able = np.intersect1d(clips.speakers[said], people[counts >= OWNER_CLIPS])
        for owner in random.permutation(able)[:owners].tolist():
            enrolling = np.flatnonzero((clips.speakers == owner) & (clips.contents != word))[:OWNER_CLIPS]
            own = np.flatnonzero(said & (clips.speakers == owner)).tolist()
            others = random.choice(np.flatnonzero(said & (clips.speakers != owner)), STRANGERS).tolist()
            known = SpeakerVerifier(ours.model).enrol(owner, [sound.waves[row] for row in enrolling])
            rows.append(owner_row(ours, spotter, known, (own, others), free, hours))
    if not rows:
        raise IntervoxError("nobody says a keyword and three other words: take more --clips")
    return np.asarray(np.mean(rows, axis=0), np.float64)


def owner_row(
    ours: Ours,
    spotter: KeywordSpotter,
    people: SpeakerVerifier,
    clips: tuple[list[int], list[int]],
    free: NDArray[np.bool_],
    hours: float,
) -> list[list[float]]:
    """Measure one owner without and with the voice required."""
    (owner,) = people.classes_.tolist()
    table = []
    for known, speaker in ((None, None), (people, owner)):
        spotter.people, spotter.speaker = known, speaker
        shares = []
        for rows in clips:
            vectors = {space: found[rows].reshape(-1, found.shape[-1]) for space, found in ours.clips.items()}
            counts = detected(ours, vectors, bounds([AROUND] * len(rows)), spotter)
            shares.append(float(np.mean(np.array(counts) > 0)))
        alarms = np.array(detected(ours, ours.speech, ours.bounds, spotter))[free].sum()
        table.append([*shares, float(alarms) / hours])
    return table


def main(options: argparse.Namespace) -> None:
    sound = listened(options)
    words = sorted(set(sound.clips.contents.tolist()))
    chosen = options.words or words
    hours = sum(len(each.wave) for each in sound.speech) / SAMPLE_RATE / 3600
    peer = Peer(sound) if options.peers else None
    ours = Ours(load_model(), sound)
    console = Console(width=110)
    found = {word: compared(sound, ours, peer, word, options.draws) for word in chosen}
    title = f"{len(sound.waves)} clips, {hours:.2f} h of speech"
    console.print(shown(found, title))
    if long := {word: figures for word, figures in found.items() if word in options.long}:
        console.print(shown(long, title))
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
