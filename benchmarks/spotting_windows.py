"""What the spotter's window was chosen by: misses on synthetic voices that training never heard.

    intervox synth benchmarks/spotting.yaml --folder runs/spotting
    python benchmarks/spotting_windows.py runs/spotting/corpus

Streams as the evaluation composes them, of words and sentences by Flite and Piper; every second block is
degraded. Each keyword is listened for alone, by three examples. Prints misses in % at one, three and
ten false alarms an hour, for fixed windows, for windows by the examples' length, and for hidden frames of
4 s of context averaged over the window instead of windows that are encoded alone.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.clips.corpus import Corpus
from intervox.clips.labels import Clips
from intervox.corpus.acoustics.conditions import apply_condition, draw_condition
from intervox.corpus.acoustics.rooms import load_acoustics
from intervox.evaluation.keywords import prototypes
from intervox.evaluation.loading import DEGRADED
from intervox.evaluation.streams import StreamSet, StreamWindows, compose_streams
from intervox.metrics.events import (
    HOP_SECONDS,
    REFRACTORY_SECONDS,
    TOLERANCE_SECONDS,
    match_events,
    pick_peaks,
)
from intervox.model.model import SubspaceModel

LENGTHS = np.array([0.5, 0.75, 1.0, 1.25, 1.5])
CONTEXT_SECONDS = 4.0
SHOTS, DRAWS = 3, 4
MINUTES = 20
FALSE_ALARMS = (1, 3, 10)
MATERIALS = {
    "gaps of 0.5 to 1 s": ((0.5, 1.0), 0.25),
    "gaps of 0.05 to 0.3 s": ((0.05, 0.3), 0.25),
    "words cut tightly, gaps of 0.2 to 0.6 s": ((0.2, 0.6), 0.0),
}
"""Between the words of a stream, and at most at either end of every word's own clip, in seconds."""

LABELS = ("speaker", "content", "text")
COLUMNS = (*LABELS, "cell_id", "block", "split", "kind")

Vectors = NDArray[np.float32]
Chooser = Callable[[float], float]
"""From the mean length of a keyword's examples to that of its window."""


@dataclass(frozen=True)
class Block:
    """A block's streams, with vectors of its words and of all windows by length."""

    clips: Clips
    durations: NDArray[np.float64]
    composed: StreamSet
    words: Vectors
    windows: dict[float, list[Vectors]]
    shared: list[Vectors]


def loader(
    waves: dict[str, Waveform], words: set[str], padding: float, degraded: bool, rooms: Path
) -> Callable[[str], Waveform]:
    """Return what reads a clip: padded where it is a word, and under its own condition."""
    acoustics = load_acoustics(DEGRADED, 0, rooms)

    def load(path: str) -> Waveform:
        random = np.random.default_rng([3, int(path)])
        wave = waves[path]
        if path in words:
            wave = np.pad(wave, [int(random.uniform(0, padding) * SAMPLE_RATE) for _ in range(2)])
        if degraded:
            wave = apply_condition(wave, draw_condition(DEGRADED, random, 0), acoustics, random)
        return np.asarray(wave, np.float32)

    return load


def blocks(model: SubspaceModel, corpus: Corpus, material: str, count: int) -> Iterator[Block]:
    """Compose and embed the blocks of a corpus."""
    gaps, padding = MATERIALS[material]
    backbone = load_backbone(model.backbone_name)
    waves = {
        str(clip.cell_id): clip.wave
        for shard in range(corpus.shard_count)
        for clip in corpus.load_shard(shard)
        if clip.wave is not None
    }
    columns = {name: np.array(corpus.cells[name].to_pylist()) for name in COLUMNS}
    paths = columns["cell_id"].astype(str)
    rendered = (columns["split"] == "validation") & np.isin(paths, list(waves))
    durations = np.array([len(waves.get(path, ())) / SAMPLE_RATE for path in paths])
    every = Clips(paths, {name: columns[name] for name in LABELS}, durations, np.full(len(paths), ""))
    for number in np.unique(columns["block"][rendered])[:count]:
        rows = rendered & (columns["block"] == number)
        sentence = columns["kind"] == "sentence"
        words, speech = (every.take(np.flatnonzero(rows & which)) for which in (~sentence, sentence))
        load = loader(waves, set(words.paths), padding, number % 2 == 1, corpus.folder / "rooms")
        with patch("intervox.evaluation.streams.GAP_SECONDS", gaps):
            composed = compose_streams(words, int(number), speech, MINUTES * 60, load)
        clips = [load(path) for path in words.paths]
        yield Block(
            words,
            np.array([len(clip) / SAMPLE_RATE for clip in clips]),
            composed,
            model.encode(clips)["content"],
            {float(length): _alone(model, composed, float(length)) for length in LENGTHS},
            [_in_context(model, backbone, stream.wave, 1.0) for stream in composed.streams],
        )


def _alone(model: SubspaceModel, composed: StreamSet, length: float) -> list[Vectors]:
    windows = StreamWindows(composed.streams, length)
    return [
        model.encode(clip.wave for clip in windows.load_shard(stream) if clip.wave is not None)["content"]
        for stream in range(len(composed.streams))
    ]


def _in_context(model: SubspaceModel, backbone: Backbone, wave: Waveform, length: float) -> Vectors:
    """Average the hidden frames of each window, encoded together with what surrounds it."""
    hop, window, context = (round(SAMPLE_RATE * each) for each in (HOP_SECONDS, length, CONTEXT_SECONDS))
    means = []
    for start in range(0, len(wave) - window + 1, context - window + hop):
        states = backbone.forward([wave[start : start + context]])
        frames = states.layers[0, :, : int(states.frames[0])]
        for begin in range(0, min(context, len(wave) - start) - window + 1, hop):
            first, last = (round(each / SAMPLE_RATE * 50) for each in (begin, begin + window))
            means.append(frames[:, first:last].mean(dim=1))
    return model.project(torch.stack(means).numpy())["content"]


def misses(found: list[Block], choose: Chooser, shared: bool = False) -> list[float]:
    """Return miss rates at ``FALSE_ALARMS`` an hour a keyword, pooled over keywords and draws."""
    scores, right, events, hours = [], [], 0, 0.0
    for block in found:
        random = np.random.default_rng(len(block.clips))
        for stream, half in [
            (index, stream.half) for index, stream in enumerate(block.composed.streams) for _ in range(DRAWS)
        ]:
            rows = block.composed.examples[1 - half]
            about = block.composed.streams[stream]
            for keyword in block.composed.keywords:
                said = rows[block.clips.contents[rows] == keyword]
                chosen = random.choice(said, SHOTS, replace=False)
                wanted = choose(float(block.durations[chosen].mean()))
                length = float(LENGTHS[np.abs(LENGTHS - wanted).argmin()])
                windows = block.shared[stream] if shared else block.windows[length][stream]
                score = windows @ prototypes(block.words, chosen[None])[0]
                peaks = pick_peaks(score, round(REFRACTORY_SECONDS / HOP_SECONDS))
                own = [event for event in about.events if event[2] == keyword]
                middles = peaks * HOP_SECONDS + length / 2
                named = np.full(len(peaks), keyword)
                scores.append(score[peaks])
                right.append(match_events(middles, named, score[peaks], own, TOLERANCE_SECONDS))
                events += len(own)
                hours += about.seconds / 3600
    order = np.argsort(-np.concatenate(scores))
    hit = np.concatenate(right)[order]
    alarms = np.cumsum(~hit) / hours
    return [1 - hit[: np.searchsorted(alarms, limit, side="right")].sum() / events for limit in FALSE_ALARMS]


def _always(length: float) -> Chooser:
    return lambda _mean: length


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--blocks", type=int, default=4)
    options = parser.parse_args()
    model = SubspaceModel.from_pretrained("default")
    rules: dict[str, tuple[Chooser, bool]] = {
        "1.0 s, frames in context": (lambda _: 1.0, True),
        **{f"{length:g} s": (_always(length), False) for length in LENGTHS},
        "as long as the examples": (lambda mean: mean, False),
        "and half a hop": (lambda mean: mean + HOP_SECONDS / 2, False),
        "and one hop (chosen)": (lambda mean: mean + HOP_SECONDS, False),
    }
    for material in MATERIALS:
        found = list(blocks(model, Corpus(options.corpus), material, options.blocks))
        table = Table("window", *(f"misses at {limit}/h" for limit in FALSE_ALARMS), title=material)
        for rule, (choose, shared) in rules.items():
            table.add_row(rule, *(f"{100 * miss:.1f}" for miss in misses(found, choose, shared)))
        Console(width=110).print(table)
