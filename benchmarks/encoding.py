"""Embedding as people do it: warm, in one call, against clip by clip; and cold, as a whole command.

Warm: clips of 1 to 10 s through ``SubspaceModel.encode`` in batches under a duration budget, and one by
one, in turn. Cold: ``intervox verify a.wav b.wav`` as a new process, against a process that only imports
torch and transformers' Whisper, in turn. Prints times real time, seconds, and ratios round by round.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from rich.console import Console
from rich.table import Table

from intervox import SubspaceModel
from intervox.audio import SAMPLE_RATE, Waveform

IMPORTS = "import torch, transformers.models.whisper.modeling_whisper"


def make_clips(count: int) -> list[Waveform]:
    """Noise of 1 to 10 s: the cost does not depend on what is said."""
    random = np.random.default_rng(0)
    lengths = random.integers(SAMPLE_RATE, 10 * SAMPLE_RATE, count)
    return [random.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def process(*words: str) -> Callable[[], object]:
    """Return what runs this Python as a new process."""
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)


def warm(clips: list[Waveform], rounds: int) -> Table:
    """Compare batches with single clips."""
    model = SubspaceModel.from_pretrained("default")
    model.encode(clips[:4])
    length = sum(len(clip) for clip in clips) / SAMPLE_RATE
    table = Table("round", "encode × real time", "clip by clip × real time", "ratio", title="warm")
    for number in range(rounds):
        together = seconds(lambda: model.encode(clips))
        alone = seconds(lambda: [model.encode([clip]) for clip in clips])
        cells = length / together, length / alone, alone / together
        table.add_row(str(number + 1), *(f"{cell:.1f}" for cell in cells))
    return table


def cold(clips: list[Waveform], folder: Path, rounds: int) -> Table:
    """Compare a command with the imports that it can't do without."""
    paths = [folder / "a.wav", folder / "b.wav"]
    for path, clip in zip(paths, clips, strict=False):
        sf.write(path, clip, SAMPLE_RATE)
    verify = process("-c", "from intervox.cli.app import main; main()", "verify", *map(str, paths))
    imports = process("-c", IMPORTS)
    table = Table("round", "verify s", "imports alone s", "ratio", title="cold")
    for number in range(rounds):
        ours, theirs = seconds(verify), seconds(imports)
        table.add_row(str(number + 1), f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    clips = make_clips(options.clips)
    with tempfile.TemporaryDirectory() as folder:
        tables = [cold(clips, Path(folder), options.rounds), warm(clips, options.rounds)]
    for table in tables:
        Console().print(table)
    print(f"{torch.get_num_threads()} threads")
