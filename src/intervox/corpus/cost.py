"""A recipe's plan as people read it: the design of each split, and the cost of the whole."""

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from intervox.clips.corpus import tally
from intervox.clips.schema import read_cells
from intervox.corpus.acoustics.styles import FACTOR as STYLE
from intervox.corpus.plan.design import plan_audition, plan_cells
from intervox.corpus.render.shard import render_shard
from intervox.corpus.render.synthesis import empty_job
from intervox.engines.base import load_engine
from intervox.errors import IntervoxError
from intervox.recipe.corpus import CorpusRecipe
from intervox.recipe.engines import SPLITS
from intervox.seeds import rng
from intervox.storage import check_disk, check_memory
from intervox.tables import Table

SAMPLE = 8
"""Renditions that are tried of each engine."""


_PLAN_BYTES = 240
_LEAST_AUDIO_BYTES = 8_000
"""Of a cell: its row in the plan, and half a second of audio."""


@dataclass(frozen=True)
class SplitPlan:
    """How many cells, blocks and so on a split has.

    Attributes
    ----------
    renditions
        Cells that differ in their condition alone count once.
    engines, languages, kinds, styles
        Name to number of cells; a recipe without styles has none.
    shares_engines_with
        Other splits that have an engine in common with this one.
    """

    cells: int
    renditions: int
    blocks: int
    speakers: int
    contents: int
    conditions: int
    engines: dict[str, int]
    languages: dict[str, int]
    kinds: dict[str, int]
    styles: dict[str, int]
    shares_engines_with: list[str]


@dataclass(frozen=True)
class Cost:
    """What rendering some cells takes, good to about a quarter.

    Attributes
    ----------
    hours, bytes
        Of audio, and on disk.
    minutes
        Of rendering.
    refused
        Share of the tried renditions that failed or were rejected.
    reason
        That of the first one, or None.
    absent
        Engine to what it lacks here, in a sentence; its cells are not part of hours, bytes and minutes.
    """

    cells: int
    hours: float
    bytes: float
    minutes: float
    refused: float
    reason: str | None
    absent: dict[str, str]


@dataclass(frozen=True)
class CorpusPlan:
    """The design of each split that has cells, and the cost of corpus and audition."""

    splits: dict[str, SplitPlan]
    cost: Cost
    audition: Cost | None


def plan_corpus(recipe: CorpusRecipe, seed: int, workers: int) -> CorpusPlan:
    """Lay out a corpus and estimate its cost, shared by ``workers`` processes."""
    table = plan_cells(recipe, seed)
    audition = None
    if recipe.casting:
        plain = recipe.model_copy(update={"quality": recipe.quality.model_copy(update={"recognise": False})})
        audition = estimate_cost(plan_audition(recipe, seed), plain, seed, workers)
    return CorpusPlan(describe_plan(table), estimate_cost(table, recipe, seed, workers), audition)


def check_corpus_fits(recipe: CorpusRecipe, folder: Path | None = None) -> None:
    """Refuse a corpus that this machine can't hold, before it is laid out.

    Parameters
    ----------
    folder
        Where the corpus goes, if it is to be made; what is made there already is not needed again.

    Raises
    ------
    IntervoxError
        It names what is needed at least, and what there is.
    """
    counts = {split: recipe.cells(split) for split in SPLITS}
    largest = max(counts, key=lambda split: counts[split])
    cells = sum(counts.values())
    what = f"a corpus of {cells:,} cells"
    remedy = f"lower corpus.{largest}.blocks, speakers or contents, or corpus.copies"
    check_memory(f"the plan of {what}", cells * _PLAN_BYTES, remedy)
    if folder:
        made = sum(path.stat().st_size for path in folder.glob("audio/*.parquet"))
        check_disk(what, cells * _LEAST_AUDIO_BYTES - made, folder, remedy)


def describe_plan(table: pa.Table) -> dict[str, SplitPlan]:
    """Count a plan's cells, blocks, speakers, contents and conditions, split by split."""
    parts = {split: table.filter(pc.field("split") == split) for split in SPLITS}
    engines = {split: Counter(part["engine"].to_pylist()) for split, part in parts.items()}
    return {
        split: SplitPlan(
            cells=part.num_rows,
            renditions=part.filter(pc.field("copy") == 0).num_rows,
            blocks=pc.count_distinct(part["block"]).as_py(),
            speakers=pc.count_distinct(part["speaker"]).as_py(),
            contents=pc.count_distinct(part["content"]).as_py(),
            conditions=pc.count_distinct(part["condition"]).as_py(),
            engines=dict(engines[split]),
            languages=dict(Counter(part["language"].to_pylist())),
            kinds=dict(Counter(part["kind"].to_pylist())),
            styles=dict(tally(part, STYLE)),
            shares_engines_with=[
                other for other in SPLITS if other != split and engines[split].keys() & engines[other].keys()
            ],
        )
        for split, part in parts.items()
        if part.num_rows
    }


def estimate_cost(table: pa.Table, recipe: CorpusRecipe, seed: int, workers: int) -> Cost:
    """Render a few cells of every engine in this process, and scale up by the length of the texts.

    An engine that is not installed is left out, and named.

    Parameters
    ----------
    table
        The corpus' plan, or the audition's.
    workers
        Processes that will share the work.
    """
    minutes = hours = size = 0.0
    errors: list[str | None] = []
    absent: dict[str, str] = {}
    random = rng(0, "cost.sample")
    with tempfile.TemporaryDirectory() as folder:
        job = empty_job(recipe, seed, Path(folder))
    for name in pc.unique(table["engine"]).to_pylist():
        cells = table.filter(pc.field("engine") == name)
        seeds = pc.unique(cells["seed"]).to_numpy()
        chosen = pa.array(random.choice(seeds, min(SAMPLE, len(seeds)), replace=False))
        tried = cells.filter(pc.is_in(cells["seed"], chosen))
        try:
            load_engine(next(settings for settings in recipe.engines if settings.key == name)).check()
            # The first cell also loads the engine, which a long run does once.
            render_shard(replace(job, cells=read_cells(tried.slice(0, 1))))
        except IntervoxError as error:
            absent[name] = str(error)
            continue
        begun = time.perf_counter()
        shard = pq.read_table(pa.BufferReader(render_shard(replace(job, cells=read_cells(tried))).data))
        seconds = time.perf_counter() - begun
        scale = _characters(cells) / _characters(tried)
        minutes += seconds * scale / workers / 60
        hours += pc.sum(shard["duration"]).as_py() * scale / 3600
        size += sum(len(clip["bytes"]) for clip in shard["audio"].to_pylist() if clip) * scale
        errors += shard.filter(pc.field("copy") == 0)["error"].to_pylist()
    reasons = [error for error in errors if error]
    refused = len(reasons) / len(errors) if errors else 0.0
    return Cost(table.num_rows, hours, size, minutes, refused, next(iter(reasons), None), absent)


def _characters(cells: pa.Table) -> int:
    return int(pc.sum(pc.utf8_length(cells["text"])).as_py())


def plan_table(name: str, found: CorpusPlan) -> Table:
    """Arrange what ``plan_corpus`` found: a column a split, and the cost as its note."""
    parts = found.splits.values()
    counted = ("cells", "renditions", "blocks", "speakers", "contents", "conditions")
    rows = [[key, *(f"{getattr(part, key):,}" for part in parts)] for key in counted]
    rows += [
        [f"{key}, cells", *(_counts(getattr(part, key)) for part in parts)]
        for key in ("engines", "languages", "kinds", "styles")
        if any(getattr(part, key) for part in parts)
    ]
    rows.append(["shares engines with", *(", ".join(part.shares_engines_with) or "none" for part in parts)])
    lines = []
    for what, cost in (("the audition", found.audition), ("the corpus", found.cost)):
        if cost:
            estimate = (
                f"about {_duration(cost.hours * 3600)} of audio, {cost.bytes / 1e6:,.0f} MB, "
                f"{_duration(cost.minutes * 60)} on this machine"
            )
            without = f", without those of {', '.join(cost.absent)}" if cost.absent else ""
            lines.append(f"{what}: {cost.cells:,} cells" + (f", {estimate}{without}" if cost.minutes else ""))
            lines += [f"cost not known: {reason}" for reason in cost.absent.values()]
            if cost.refused:
                lines.append(f"{cost.refused:.0%} of the tried renditions were refused: {cost.reason}")
    if found.audition:
        lines.append("near-duplicate voices that the audition finds will be merged or left out")
    return Table(f"Plan of {name}", "\n".join(lines), ["", *found.splits], rows, labels=1)


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda i: -i[1]))
