"""``intervox corpus check``: is a corpus folder whole, and does it say what training will assume?

Any folder with ``audio/*.parquet`` can be checked, one of ours, one edited by hand or one that
another tool wrote. This file looks at the files and at what they say of each other;
``check_clips`` listens, ``check_labels`` looks at the design.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from intervox.clips.corpus import ABOUT, PLAN, read_about, shard_paths
from intervox.clips.schema import CorpusFacts
from intervox.corpus.inspect.check_clips import (
    ADVISED,
    MAX_EXAMPLES,
    REQUIRED,
    Finding,
    Scan,
    fault_findings,
    finding,
    scan_shard,
)
from intervox.corpus.inspect.check_labels import label_findings
from intervox.errors import IntervoxError
from intervox.parallel import Pool, run_jobs
from intervox.progress import progress_bar
from intervox.steps import StepFolder
from intervox.storage import read_json

_HOURS_TOLERANCE = 0.01
_UNFINISHED = (
    "run the same `intervox synth` again; where it says that too many cells failed, raise max_failures"
)


def check_corpus(folder: Path, workers: int | None = None) -> list[Finding]:
    """Look for everything in a corpus that would spoil training or evaluation, or surprise.

    Parameters
    ----------
    folder
        Holds ``audio/*.parquet``; ``corpus.json`` and ``cells.parquet`` may be missing.
    workers
        Processes; by default one per core. Each holds a few dozen clips at a time.

    Returns
    -------
    list of Finding
        In the order: files, clips, labels.
    """
    paths = shard_paths(folder)
    if not paths:
        return [finding("error", f"{folder} holds no audio/*.parquet", "give the folder of a corpus")]
    scans: dict[Path, Scan] = {}
    with progress_bar("checking", len(paths), "shards") as bar:

        def keep(scan: Scan) -> None:
            scans[scan.path] = scan
            bar.advance(1)

        run_jobs(scan_shard, paths, len(paths), Pool(workers), keep)
    ordered = [scans[path] for path in paths]
    findings = [found for scan in ordered for found in scan.findings]
    findings += _column_findings(ordered)
    about, unreadable = _read_about(folder)
    findings += unreadable
    tables = [scan.cells for scan in ordered if scan.cells is not None]
    if not tables or not all("cell_id" in table.column_names for table in tables):
        return findings
    cells = pa.concat_tables(tables, promote_options="default")
    findings += _id_findings(cells, ordered, about)
    findings += _about_findings(cells, about)
    findings += _plan_findings(folder, cells)
    findings += fault_findings(cells)
    findings += label_findings(cells, about.families)
    return findings


def _read_about(folder: Path) -> tuple[CorpusFacts, list[Finding]]:
    """``corpus.json`` as far as it can be used, and what is wrong with it."""
    findings = []
    record = folder / StepFolder.RECORD
    try:
        if record.exists() and not read_json(record).get("complete"):
            findings.append(finding("error", "the synthesis was not finished", _UNFINISHED))
        about, unusable = read_about(folder)
    except IntervoxError as error:
        return CorpusFacts(), [*findings, finding("error", str(error))]
    if not (folder / ABOUT).exists():
        what = f"no {ABOUT}: engines, licences and voice families are unknown to this check"
        findings.append(finding("info", what))
    remedy = "write what docs/formats.md says"
    findings += [finding("error", f"{ABOUT}: {name} has no usable value", remedy) for name in unusable]
    return about, findings


def _column_findings(scans: list[Scan]) -> Iterator[Finding]:
    readable = [scan for scan in scans if scan.columns]
    for name in ("audio", *REQUIRED):
        lacking = [scan.path.name for scan in readable if name not in scan.columns]
        if lacking:
            remedy = "add it, or synthesise the corpus with this version of Intervox"
            yield finding("error", f"{len(lacking):,} shards have no column {name}", remedy, lacking)
    absent = [name for name in ADVISED if not all(name in scan.columns for scan in readable)]
    if absent:
        yield finding(
            "warning",
            f"shards have no column {', '.join(absent)}",
            "add what is known: without it some of these checks, and the reports, are left out",
        )


def _id_findings(cells: pa.Table, scans: list[Scan], about: CorpusFacts) -> Iterator[Finding]:
    counts = cells.group_by("cell_id").aggregate([([], "count_all")])
    twice = counts.filter(pc.field("count_all") > 1)["cell_id"].to_pylist()
    if twice:
        yield finding("error", f"{len(twice):,} cell_ids occur twice", "number cells from 0", sorted(twice))
    ids = sorted(cell_id for cell_id in counts["cell_id"].to_pylist() if cell_id is not None)
    total = max(ids, default=-1) + 1 if about.cells is None else about.cells
    gaps = list(_gaps(ids, total))
    if gaps:
        yield finding(
            "error",
            f"{sum(map(len, gaps)):,} of {total:,} cell_ids are missing",
            "bring back the shards that hold them, or number the cells from 0 without gaps",
            map(_span, gaps),
        )
    size = about.shard_size
    misplaced = [
        f"{scan.path.name} begins with cell {scan.cells['cell_id'][0]}, not {index * size}"
        for index, scan in enumerate(scans)
        if size and scan.cells is not None and scan.cells["cell_id"][0].as_py() != index * size
    ]
    if misplaced:
        yield finding(
            "error",
            f"{len(misplaced):,} shards are not where shard_size={size} puts them",
            "bring back missing shards, and keep their names and order",
            misplaced,
        )


def _gaps(ids: list[int], total: int) -> Iterator[range]:
    """Yield the runs of 0 … total - 1 that ascending ``ids`` leave out."""
    for before, after in pairwise([-1, *ids, max(total, ids[-1] + 1 if ids else 0)]):
        if after - before > 1:
            yield range(before + 1, after)


def _span(numbers: range) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"


def _about_findings(cells: pa.Table, about: CorpusFacts) -> Iterator[Finding]:
    """Hold the counts of ``corpus.json`` against the shards."""
    found: dict[str, float] = {"cells": cells.num_rows}
    if "error" in cells.column_names:
        found["failed"] = cells.num_rows - cells["error"].null_count
    if "duration" in cells.column_names:
        found["hours"] = (pc.sum(cells["duration"]).as_py() or 0) / 3600
    for name, value in found.items():
        tolerance = _HOURS_TOLERANCE * value + 1e-3 if name == "hours" else 0
        said = getattr(about, name)
        if said is not None and abs(said - value) > tolerance:
            yield finding(
                "error",
                f"{ABOUT} says {name}: {said:g}, the shards hold {value:g}",
                "bring back what is missing, or correct the number",
            )


def _plan_findings(folder: Path, cells: pa.Table) -> Iterator[Finding]:
    """Hold the plan against the shards, column by column."""
    if not (folder / PLAN).exists():
        return
    wrong, remedy = "can't be read", "bring it back, or delete it"
    try:
        plan = pq.read_table(folder / PLAN)
        wrong, remedy = "has columns of another type", "cast them, or delete the plan"
        shared = [name for name in plan.column_names if name in cells.column_names]
        plan = plan.select(shared).cast(cells.select(shared).schema)
    except (pa.ArrowException, OSError) as error:
        yield finding("error", f"{PLAN} {wrong}: {str(error).splitlines()[0]}", remedy)
        return
    if "cell_id" not in plan.column_names:
        yield finding("error", f"{PLAN} has no column cell_id", "bring the plan back, or delete it")
        return
    yield from _differences(plan, cells.filter(cells["cell_id"].is_valid()))


def _differences(plan: pa.Table, cells: pa.Table) -> Iterator[Finding]:
    """Compare column by column as Arrow has them: a million cells would be gigabytes of Python objects."""
    place = pc.index_in(cells["cell_id"], plan["cell_id"])
    both, place_of_both = cells.filter(place.is_valid()), place.drop_null()
    for name in plan.column_names:
        wanted, found = plan[name].take(place_of_both), both[name]
        differs = pc.fill_null(pc.not_equal(found, wanted), pc.xor(found.is_null(), wanted.is_null()))
        rows = pa.table({"cell": both["cell_id"], "found": found, "wanted": wanted}).filter(differs)
        if rows.num_rows:
            shown = rows.slice(0, MAX_EXAMPLES).to_pylist()
            where = (f"cell {row['cell']}: {row['found']!r}, planned {row['wanted']!r}" for row in shown)
            remedy = f"correct the label, or delete {PLAN} if the shards are right"
            yield finding(
                "error", f"{name} of {rows.num_rows:,} cells is not what {PLAN} says", remedy, where
            )
    absent = plan["cell_id"].filter(pc.invert(pc.is_in(plan["cell_id"], cells["cell_id"])))
    unshared = sorted(
        {*absent.drop_null().to_pylist(), *cells["cell_id"].filter(place.is_null()).to_pylist()}
    )
    if unshared:
        what = f"{len(unshared):,} cells are only in {PLAN} or only in the shards"
        yield finding("error", what, "bring back what is missing", unshared)
