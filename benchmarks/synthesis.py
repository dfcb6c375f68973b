"""How long a large espeak corpus takes, where the time goes, and in how much memory.

    python benchmarks/synthesis.py                 # 100,000 cells with conditions: about six minutes
    python benchmarks/synthesis.py --cells 10000

Prints the wall time and the peak of the proportional memory (PSS) of all processes together; the
share of each stage, timed in one process on a sample; and the ratio to one process on that sample.
"""

import argparse
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pyarrow.parquet as pq

from intervox.audio import encode_flac
from intervox.clips.schema import read_cells
from intervox.corpus.acoustics.conditions import apply_condition
from intervox.corpus.plan.design import plan_cells
from intervox.corpus.render import shard as rendering
from intervox.corpus.render.quality import judge
from intervox.corpus.render.synthesis import empty_job, synthesise
from intervox.engines.base import load_engine
from intervox.parallel import default_workers
from intervox.recipe.corpus import BlockSettings, CorpusRecipe, TextSettings
from intervox.recipe.engines import EspeakSettings

SAMPLE = 4_096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="keep the corpus here")
    arguments = parser.parse_args()
    per_block = 8 * 8 * 2
    recipe = CorpusRecipe(
        engines=(EspeakSettings(voices=320),),
        texts=TextSettings(count=1600),
        train=BlockSettings(blocks=-(-arguments.cells // per_block)),
        test=BlockSettings(blocks=0),
        held_out=0,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "corpus"
        with peak_memory() as peak:
            begun = time.perf_counter()
            corpus = synthesise(recipe, 0, folder)
            seconds = time.perf_counter() - begun
        single = print_stages(recipe, folder.parent)
    rate = corpus.clip_count / seconds
    hours = corpus.about.hours
    print(f"{corpus.clip_count:,} cells, {hours:.1f} hours of audio, in {seconds / 60:.1f} minutes")
    print(f"{rate:.0f} cells/s with {default_workers()} processes, {rate / single:.2f} × one process")
    print(f"peak memory of all processes: {max(peak) / 2**20:.0f} MiB")


def print_stages(recipe: CorpusRecipe, folder: Path) -> float:
    """Time each stage of a sample in this process; returns its cells a second."""
    cells = read_cells(plan_cells(recipe, 0).slice(0, SAMPLE))
    common, size = empty_job(recipe, 0, folder), recipe.shard_size
    shards = [replace(common, cells=cells[start : start + size]) for start in range(0, len(cells), size)]
    spent: dict[str, float] = defaultdict(float)
    engine = load_engine(recipe.engines[0])

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            result = function(*values, **options)
            spent[stage] += time.perf_counter() - begun
            return result

        return call

    rendering.render_shard(shards[0])  # warm
    with (
        mock.patch.object(engine, "render", timed("espeak", engine.render)),
        mock.patch.object(rendering, "judge", timed("quality", judge)),
        mock.patch.object(rendering, "apply_condition", timed("condition", apply_condition)),
        mock.patch.object(rendering, "encode_flac", timed("FLAC", encode_flac)),
        mock.patch.object(pq, "write_table", timed("Parquet", pq.write_table)),
    ):
        begun = time.perf_counter()
        for shard in shards:
            rendering.render_shard(shard)
        total = time.perf_counter() - begun
    for stage, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{stage:<10} {seconds / total:5.0%}  {1000 * seconds / len(cells):6.2f} ms per cell")
    print(f"{'all':<10}        {1000 * total / len(cells):6.2f} ms per cell in one process")
    return len(cells) / total


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Sample the summed PSS of this process and its children, in bytes, twice a second."""
    samples = [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
            samples.append(sum(_pss(process) for process in processes))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
