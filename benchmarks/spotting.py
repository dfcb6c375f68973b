"""The keyword spotter: how fast, in how much memory, how soon, and what it finds and mistakes.

Recordings are composed of isolated words and read utterances of people (``compose_streams``), as the
evaluation's "keywords in running speech" are; the people heard in one enrol no keyword for it.

* Speed: ``scan`` of ten minutes on disk, against ``model.encode([window])`` for each of its windows.
* Memory: the peak of a process that scans ten minutes, and of one that scans forty.
* Latency: ``stream`` in chunks of 0.1 s, in seconds of sound: a detection's place in the stream less the
  middle of its window, and less the end of the word that was said.
* Quality: recall and false alarms an hour at the default threshold, and where ten false alarms an hour
  were asked of a background: read speech of others, or what the enrolling people say that is no keyword.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from intervox.applications.enrolled import UNKNOWN
from intervox.applications.live import sliding_windows
from intervox.applications.spotter import KeywordSpotter
from intervox.audio import SAMPLE_RATE, AudioSource, Waveform
from intervox.clips.labels import Clips
from intervox.evaluation.loading import protocol_clips
from intervox.evaluation.protocols import find_protocols
from intervox.evaluation.streams import Stream, StreamSet, compose_streams
from intervox.evaluation.test_sets import EVALUATION_SEED, has_keywords
from intervox.metrics.events import TOLERANCE_SECONDS, match_events
from intervox.model.embedder import Embedder
from intervox.model.loading import load_model
from intervox.parallel import default_workers

SHOTS = (1, 3, 5)
FALSE_ALARMS = 10.0
BACKGROUND_MINUTES = 30
ISOLATED = 600


@dataclass
class Remembering:
    """A model's ``encode`` that embeds no window twice: draws of examples differ in thresholds alone."""

    encode: Callable[[list[Waveform]], dict[str, NDArray[np.float32]]]
    known: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def __call__(self, sources: Any) -> dict[str, NDArray[np.float32]]:
        waves = list(sources)
        if not all(isinstance(wave, np.ndarray) for wave in waves):
            return self.encode(waves)
        keys = [hash(wave.tobytes()) for wave in waves]
        new = {key: wave for key, wave in zip(keys, waves, strict=True) if key not in self.known}
        found = self.encode(list(new.values()))["content"]
        self.known.update(zip(new, found, strict=True))
        stacked = [self.known[key] for key in keys]
        return {"content": np.stack(stacked) if stacked else found}


def corpora() -> tuple[dict[str, Clips], Clips, list[Path]]:
    """Return the keyword corpora at hand, read speech, and read speech of other people."""
    clips = {each.name: protocol_clips(each) for each in find_protocols(("auto",), 100_000)}
    speech = next(each for each in clips.values() if not has_keywords(each))
    others = sorted((Path(str(speech.paths[0])).parents[2] / "train-clean-100").rglob("*.flac"))
    return {name: each for name, each in clips.items() if has_keywords(each)}, speech, others


def enrolled(
    model: Embedder, clips: Clips, composed: StreamSet, shots: int, draw: int, window: float
) -> Iterator[KeywordSpotter]:
    """Yield the spotters for the first and for the second half, each enrolled by the other half."""
    random = np.random.default_rng([draw, shots])
    for rows in reversed(composed.examples):
        spotter = KeywordSpotter(model, window_seconds=window)
        for keyword in composed.keywords:
            said = rows[clips.contents[rows] == keyword]
            chosen = random.choice(said, shots, replace=False)
            spotter.enrol(str(keyword), clips.paths[chosen].tolist())
        yield spotter


def without_keywords(stream: Stream) -> Waveform:
    """Cut the keywords out."""
    edges = [0, *(round(SAMPLE_RATE * time) for event in stream.events for time in event[:2]), None]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return np.concatenate([stream.wave[start:end] for start, end in pairs])


def counted(spotter: KeywordSpotter, stream: Stream) -> tuple[int, int]:
    """Return right and false detections."""
    found = list(spotter.scan(stream.wave))
    middles, words, scores = (
        np.array([(each.start + each.end) / 2 for each in found]),
        np.array([each.keyword for each in found]),
        np.array([each.score for each in found]),
    )
    right = match_events(middles, words, scores, stream.events, TOLERANCE_SECONDS)
    return int(right.sum()), int((~right).sum())


def quality(
    name: str, model: Embedder, clips: Clips, speech: Clips, others: list[Path], options: Any
) -> Table:
    """Measure recall and false alarms on composed recordings."""
    composed = compose_streams(clips, EVALUATION_SEED, speech, 60 * options.minutes)
    hours = sum(stream.seconds for stream in composed.streams) / 3600
    events = sum(len(stream.events) for stream in composed.streams)
    # What examples of this corpus give: see KeywordSpotter.window_seconds.
    window = options.window or float(np.clip(clips.duration.mean() + 0.25, 0.5, 2))
    own: list[list[AudioSource]] = [
        [without_keywords(stream) for stream in composed.streams if stream.half != half] for half in (0, 1)
    ]
    backgrounds: dict[str, list[list[AudioSource]]] = {
        "default": [[], []],
        f"{FALSE_ALARMS:g}/h of read speech": [list(others), list(others)],
        f"{FALSE_ALARMS:g}/h of enrollers' other words": own,
    }
    heard = f"{events} times in {60 * hours:.0f} min, window {window:.2f} s"
    title = f"{name}: {len(composed.keywords)} keywords, {heard}"
    table = Table("examples", "threshold", "cosine", "recall %", "false alarms/h", title=title)
    for shots in SHOTS:
        for how, background in backgrounds.items():
            figures = []
            for draw in range(options.draws):
                for half, spotter in enumerate(enrolled(model, clips, composed, shots, draw, window)):
                    if background[half]:
                        spotter.set_false_alarms_per_hour(FALSE_ALARMS, background[half])
                    for stream in composed.streams:
                        if stream.half == half:
                            figures.append((*counted(spotter, stream), spotter.scan_threshold_))
            right, false, thresholds = np.array(figures).T
            cells = 100 * right.sum() / events / options.draws, false.sum() / hours / options.draws
            table.add_row(str(shots), how, f"{thresholds.mean():.2f}", *(f"{cell:.1f}" for cell in cells))
    return table


def isolated(name: str, model: Embedder, clips: Clips, options: Any) -> Table:
    """Measure ``predict`` on clips of people who enrolled nothing, known words and others."""
    composed = compose_streams(clips, EVALUATION_SEED, None, 1)
    columns = "examples", "known named %", "known refused %", "unknown refused %"
    table = Table(*columns, title=f"{name}: predict")
    random = np.random.default_rng(0)
    enrolling = [set(clips.speakers[rows]) for rows in composed.examples]
    for shots in SHOTS:
        said, answers = [], []
        for draw in range(options.draws):
            for half, spotter in enumerate(enrolled(model, clips, composed, shots, draw, 1)):
                others = np.flatnonzero(~np.isin(clips.speakers, list(enrolling[1 - half])))
                tested = random.choice(others, min(ISOLATED, len(others)), replace=False)
                said.append(clips.contents[tested])
                answers.append(spotter.predict(clips.paths[tested].tolist()))
        words, named = np.concatenate(said), np.concatenate(answers)
        known = np.isin(words, composed.keywords)
        shares = (named == words)[known], (named == UNKNOWN)[known], (named == UNKNOWN)[~known]
        table.add_row(str(shots), *(f"{100 * share.mean():.1f}" for share in shares))
    return table


def speed(spotter: KeywordSpotter, path: Path, rounds: int) -> Table:
    """Compare ``scan`` with one call of ``encode`` a window, in turn."""
    seconds = sf.info(path).duration
    window, hop = (round(SAMPLE_RATE * each) for each in (spotter.window_seconds_, spotter.hop_seconds))

    def alone() -> None:
        wave = sf.read(path, dtype="float32")[0]
        for _, waves in sliding_windows([wave], window, hop):
            for each in waves:
                spotter.model_.encode([each])

    table = Table("round", "scan × real time", "window by window × real time", "ratio", title="speed, 10 min")
    for number in range(rounds):
        times = []
        for work in (lambda: list(spotter.scan(path)), alone):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        cells = seconds / times[0], seconds / times[1], times[1] / times[0]
        table.add_row(str(number + 1), *(f"{cell:.1f}" for cell in cells))
    return table


def latency(spotter: KeywordSpotter, stream: Stream) -> Table:
    """Listen in chunks of a tenth of a second, and note when detections come."""
    given, size = 0, SAMPLE_RATE // 10

    def live() -> Iterator[Waveform]:
        nonlocal given
        for start in range(0, len(stream.wave), size):
            given = start + size
            yield stream.wave[start : start + size]

    after_middle, after_word = [], []
    started = time.perf_counter()
    for found in spotter.stream(live()):
        middle = (found.start + found.end) / 2
        after_middle.append(given / SAMPLE_RATE - middle)
        ends = [end for start, end, word in stream.events if word == found.keyword and start < middle < end]
        after_word += [given / SAMPLE_RATE - end for end in ends]
    pace = stream.seconds / (time.perf_counter() - started)
    table = Table("after", "median s", "largest s", title=f"latency of stream, at {pace:.0f} × real time")
    for name, values in (("the middle of the window", after_middle), ("the end of the word", after_word)):
        table.add_row(name, f"{np.median(values):.2f}", f"{max(values):.2f}")
    return table


def peak_megabytes(*words: str) -> float:
    """Run this file as a new process, which prints its own peak."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def scan_alone(keywords: str, recording: str) -> None:
    """Scan, and print the peak resident set in megabytes."""
    for _ in KeywordSpotter.load(keywords).scan(recording):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def costs(model: Embedder, clips: Clips, speech: Clips, rounds: int) -> Iterator[Table]:
    """Measure speed, memory and latency on ten minutes of a corpus."""
    composed = compose_streams(clips, EVALUATION_SEED, speech)
    spotter = next(enrolled(model, clips, composed, 3, 0, 1.25))
    wave = np.concatenate([stream.wave for stream in composed.streams])[: 600 * SAMPLE_RATE]
    with tempfile.TemporaryDirectory() as folder:
        ten, forty, words = (Path(folder) / name for name in ("ten.flac", "forty.flac", "w.safetensors"))
        sf.write(ten, wave, SAMPLE_RATE)
        sf.write(forty, np.tile(wave, 4), SAMPLE_RATE)
        spotter.save(words)
        yield speed(spotter, ten, rounds)
        table = Table("minutes", "peak MB", title="memory of a process that scans")
        for minutes, path in ((10, ten), (40, forty)):
            table.add_row(str(minutes), f"{peak_megabytes('--scan', str(words), str(path)):.0f}")
        yield table
    yield latency(spotter, composed.streams[0])


def main(options: Any) -> None:
    """Print all tables."""
    console = Console(width=110)
    keywords, speech, others = corpora()
    random = np.random.default_rng(0)
    chosen = random.permutation(np.array(others))[: round(BACKGROUND_MINUTES * 60 / 13)].tolist()
    model = load_model()
    console.print(f"{default_workers()} threads; {options.draws} draws of examples")
    for table in costs(model, next(iter(keywords.values())), speech, options.rounds):
        console.print(table)
    model.encode = Remembering(model.encode)  # type: ignore[method-assign, assignment, arg-type]
    for name, clips in keywords.items():
        console.print(quality(name, model, clips, speech, chosen, options))
        console.print(isolated(name, model, clips, options))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=40, help="of composed speech a corpus")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=float, help="seconds; by default as the spotter chooses")
    parser.add_argument("--scan", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.scan:
        scan_alone(*given.scan)
    else:
        main(given)
