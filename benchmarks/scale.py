"""What a corpus of 10,000 to 1,000,000 cells costs, step by step: time per cell and memory.

Plan, cell table, feature store, sampler, one epoch of the paper's training and an evaluation, each size in a
process of its own. Means are drawn instead of encoded: 12 layers of 768, a voice plus a text plus noise. The
memory is the most that a step holds of its own (anonymous pages); mapped files are the system's to drop.
Prints Markdown. At 1,000,000 cells the means take 18.5 GB of disk while it runs. With --encode it times a
WavLM of Base's size with random weights instead.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers

from intervox.audio import SAMPLE_RATE
from intervox.backbones.load import load_backbone
from intervox.clips.labels import Clips
from intervox.corpus.plan.design import plan_cells
from intervox.evaluation.representations import BACKBONE
from intervox.evaluation.studies.measures import MEASURES, measure, spaces_of, with_content_trials
from intervox.evaluation.test_sets import CLEAN, TestSet, View, draw
from intervox.features.encoding import layer_means
from intervox.features.store import Features, shard_path, write_features
from intervox.recipe import FeatureSettings, Recipe, load_recipe
from intervox.recipe.corpus import BlockSettings, CorpusRecipe
from intervox.storage import write_json
from intervox.training.cells import make_sampler, training_cells
from intervox.training.refine import refine
from intervox.training.start import label_columns

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
LAYERS, DIM = 12, 768
SHARD = 8_192
NOISES = 4_096
EVERY_SECONDS = 0.02
STEPS = ("plan", "cell table", "feature store", "sampler", "epoch", "evaluation")


class Meter:
    """Seconds of each step, and the most memory that the process held of its own meanwhile."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure one step."""
        done, peak = threading.Event(), [anonymous_bytes()]

        def watch() -> None:
            while not done.wait(EVERY_SECONDS):
                peak[0] = max(peak[0], anonymous_bytes())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        started = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            seconds = time.process_time() - started[0]
            done.set()
            watcher.join()
            self.found[name] = seconds, peak[0] / 2**20
            elapsed = time.perf_counter() - started[1]
            print(f"{name}: {seconds:.1f} s of CPU, {elapsed:.1f} s", file=sys.stderr, flush=True)


def anonymous_bytes() -> int:
    """Return the memory that this process holds beside mapped files."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def recipe_of(cells: int) -> Recipe:
    """The paper's training on quickstart's kind of corpus, with so many cells."""
    corpus = load_recipe("quickstart").corpus
    a_block = corpus.train.speakers * corpus.train.contents * corpus.copies
    sized = CorpusRecipe.model_validate(
        corpus.model_dump() | {"train": BlockSettings(blocks=max(1, cells // a_block)).model_dump()}
    )
    fields = load_recipe("paper").model_dump()
    fields["shared"]["width"] = DIM
    for space in fields["subspaces"].values():
        space |= {"layers": [LAYERS - 1], "dim": DIM // 2}
    fields["training"] |= {"epochs": 1, "checkpoint_every": 10_000_000}
    return Recipe.model_validate(fields | {"corpus": sized.model_dump()})


def write_drawn(table: pa.Table, folder: Path) -> Features:
    """Write the means that the cells might have, shard by shard."""
    random = np.random.default_rng(0)
    numbers = {
        name: np.unique(table[name].to_numpy(zero_copy_only=False), return_inverse=True)[1]
        for name in ("speaker", "content")
    }
    bases = {
        name: random.normal(size=(int(number.max()) + 1, LAYERS, DIM)).astype(np.float32)
        for name, number in numbers.items()
    }
    noise = random.normal(size=(NOISES, LAYERS, DIM)).astype(np.float32)
    for index, start in enumerate(range(0, table.num_rows, SHARD)):
        rows = np.arange(start, min(start + SHARD, table.num_rows))
        means = noise[(rows * 7_919) % NOISES]
        for name, number in numbers.items():
            means += bases[name][number[rows]]
        write_features(
            shard_path(folder, index), rows.tolist(), means, np.full(len(rows), 50), [None] * len(rows)
        )
    about = {"key": "drawn", "backbone": "drawn", "fingerprint": "drawn", "window_seconds": 4.0}
    shape = {"layers": LAYERS, "dim": DIM, "clips": table.num_rows, "frames": False}
    write_json(folder / "features.json", about | shape)
    return Features(folder)


def as_test_set(table: pa.Table, features: Features) -> TestSet:
    """Measure on the cells themselves: what it costs, not what it says."""
    labels = {name: table[name].to_numpy(zero_copy_only=False).astype(str) for name in ("speaker", "content")}
    count = table.num_rows
    clips = Clips(np.arange(count).astype(str), labels, np.ones(count), np.full(count, ""))
    every = np.arange(count)
    trials = draw(clips, 50_000)
    return TestSet("cells", "", clips, {CLEAN: View(every, {BACKBONE: features}, every)}, trials)


def measure_size(cells: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Run every step at one size."""
    meter, recipe = Meter(), recipe_of(cells)
    with meter.step("plan"):
        table = plan_cells(recipe.corpus, recipe.seed)
    with meter.step("cell table"):
        pq.write_table(table, folder / "plan.parquet")
        table = pq.read_table(folder / "plan.parquet")
    with meter.step("feature store"):
        features = write_drawn(table, folder)
    with meter.step("sampler"):
        chosen = training_cells(table, features, label_columns(recipe))
        training = recipe.training.over(len(chosen.rows))
        sampler = make_sampler(chosen, ["content", "speaker"], training, recipe.seed)
        for step in range(training.steps):
            sampler.batch(step)
    with meter.step("epoch"):
        model = refine(table, features, recipe, folder / "model")
    with meter.step("evaluation"):
        test_set = with_content_trials(as_test_set(table, features), 50_000)
        names = {name: MEASURES[name] for name in ("different_text", "content_eer", "speaker_leak")}
        settings = recipe.evaluation.model_copy(update={"bootstrap": 20})
        measure(spaces_of(model), [test_set], settings, names)
    return meter.found


def encoding_rate(folder: Path, clips: int = 8, seconds: float = 4.0) -> float:
    """Return the seconds of audio that a second of CPU encodes, by a WavLM of Base's size."""
    torch.manual_seed(0)
    transformers.WavLMModel(transformers.WavLMConfig()).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    backbone = load_backbone(str(folder), "cpu")
    random = np.random.default_rng(0)
    waves = [random.normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32) for _ in range(clips)]
    settings = FeatureSettings()
    layer_means(backbone, waves[:1], settings)
    started = time.process_time()
    layer_means(backbone, waves, settings)
    return clips * seconds / (time.process_time() - started)


def markdown(found: dict[int, dict[str, tuple[float, float]]]) -> str:
    """Write one row a size: microseconds of CPU per cell, and MiB, of every step."""
    header = ["cells", *(f"{step}, µs / cell" for step in STEPS), *(f"{step}, MiB" for step in STEPS)]
    lines = [header, ["---"] * len(header)]
    for cells, steps in found.items():
        times = [f"{1e6 * steps[step][0] / cells:.1f}" for step in STEPS]
        lines.append([f"{cells:,}", *times, *(f"{steps[step][1]:,.0f}" for step in STEPS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument(
        "--folder", type=Path, help="where the files go meanwhile; by default the temporary folder"
    )
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--encode", action="store_true", help="time the encoder alone")
    options = parser.parse_args()
    if options.encode:
        with tempfile.TemporaryDirectory(dir=options.folder) as checkpoint:
            rate = encoding_rate(Path(checkpoint))
        print(
            f"WavLM Base's size: {rate:.1f} s of audio in a second of CPU, {torch.get_num_threads()} threads"
        )
        sys.exit()
    if options.only:
        print(json.dumps(measure_size(options.only, options.folder)))
        sys.exit()
    results: dict[int, dict[str, tuple[float, float]]] = {}
    for size in options.sizes:
        home = Path(tempfile.mkdtemp(prefix="intervox-scale-", dir=options.folder))
        try:
            words = [sys.executable, __file__, "--only", str(size), "--folder", str(home)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            results[size] = json.loads(done.stdout.splitlines()[-1])
        finally:
            shutil.rmtree(home)
        print(markdown(results), flush=True)
