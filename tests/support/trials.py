"""A small evaluated protocol: clips on disk, vectors that know the speaker, trials with scores."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile as sf

from intervox.clips.labels import Clips
from intervox.metrics.trials import TrialList, Trials, draw_trials
from intervox.metrics.vectors import Vectors, unit
from intervox.reporting.trials import trial_path, trial_table, write_trials
from intervox.seeds import rng

SPEAKERS, CONTENTS = 12, 4


def small_clips(folder: Path | None = None) -> Clips:
    """Make 12 speakers × 4 contents × 2 clips; with a folder the recordings, half a second each, exist."""
    grid = [(s, c, r) for s in range(SPEAKERS) for c in range(CONTENTS) for r in range(2)]
    base = folder or Path("nowhere")
    paths = [base / f"s{s:02d}-w{c}-{r}.wav" for s, c, r in grid]
    if folder:
        time = np.arange(8000) / 16_000
        for path, (s, c, _) in zip(paths, grid, strict=True):
            sf.write(
                path, 0.3 * np.sin(2 * np.pi * (100 + 20 * s) * time) * np.sin(6 * (c + 1) * time), 16_000
            )
    labels = {
        "speaker": np.asarray([f"s{s:02d}" for s, _, _ in grid]),
        "content": np.asarray([f"w{c}" for _, c, _ in grid]),
    }
    count = len(grid)
    return Clips(np.asarray([str(p) for p in paths]), labels, np.full(count, 0.5), np.full(count, ""))


def small_vectors(clips: Clips, noise: float, seed: int = 0) -> Vectors:
    """Draw vectors that are a voice and some noise."""
    random = np.random.default_rng(seed)
    who = np.unique(clips.speakers, return_inverse=True)[1]
    voices = random.normal(size=(SPEAKERS, 16))
    return unit(voices[who] + noise * random.normal(size=(len(clips), 16)))


def small_trials(clips: Clips) -> dict[str, Trials]:
    """Draw every stratum."""
    return drawn(clips, 5000, 0)


def drawn(
    clips: Clips, max_trials: int, seed: int, lists: Mapping[str, TrialList] | None = None
) -> dict[str, Trials]:
    """Draw the trials of clips by one seed."""
    return draw_trials(clips.labels, clips.duration, max_trials, partial(rng, seed), lists)


def write_small_trials(run: Path, clips: Clips, protocol: str, noise: float) -> pa.Table:
    """Write the trials of a protocol under both conditions; return those of clean clips."""
    trials = small_trials(clips)
    tables = {}
    for condition, more in (("clean", 1.0), ("cross_condition", 1.5)):
        vectors = {"speaker": small_vectors(clips, more * noise), "raw.1": small_vectors(clips, 3 * noise)}
        tables[condition] = trial_table(clips, trials, vectors)
        write_trials(trial_path(run, protocol, condition), tables[condition])
    return tables["clean"]
