"""A corpus folder as it lies on disk, whoever wrote it: its shards, its labels, its facts.

``store.Corpus`` opens what Intervox has just made; this opens what somebody has downloaded, edited
or written with another tool. Only Parquet and JSON are read: nothing in a folder is executed.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from intervox.errors import IntervoxError
from intervox.storage import read_json
from intervox.tables import Table

Severity = Literal["error", "warning", "info"]

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a corpus, or worth knowing about it.

    Attributes
    ----------
    severity
        An ``error`` makes training or evaluation on the corpus wrong, a ``warning`` may make it
        worse, an ``info`` is a fact.
    what
        One sentence.
    mend
        How to put it right.
    examples
        Where it was seen, at most five; of an ``info``, the particulars.
    """

    severity: Severity
    what: str
    mend: str = ""
    examples: tuple[str, ...] = ()


def finding(severity: Severity, what: str, mend: str = "", examples: Iterable[Any] = ()) -> Finding:
    """Make a finding that keeps the first few examples."""
    shown = tuple(str(example) for example, _ in zip(examples, range(MAX_EXAMPLES), strict=False))
    return Finding(severity, what, mend, shown)


def has_errors(findings: Sequence[Finding]) -> bool:
    """Say whether a corpus should not be used as it is."""
    return any(found.severity == "error" for found in findings)


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Arrange the findings as a table, the worst first, with their counts as its note."""
    worst_first = sorted(findings, key=lambda found: get_args(Severity).index(found.severity))
    rows = [[found.severity, found.what, "\n".join(found.examples), found.mend] for found in worst_first]
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning")}
    note = " · ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    return Table(title, note, ["", "what", "examples", "fix"], rows, labels=4)


ABOUT = "corpus.json"
PLAN = "cells.parquet"
AUDIO = "audio"
PER_COPY = ("condition", "severity", "copy")
"""What may differ between the copies of one rendition."""

_BATCH = 64


def find_corpus(path: Path) -> Path:
    """Return the corpus folder at ``path``, which may also be the run folder around it.

    Raises
    ------
    IntervoxError
        Neither holds ``audio/*.parquet``.
    """
    for folder in (path, path / "corpus"):
        if shard_paths(folder):
            return folder
    raise IntervoxError(f"{path} holds no corpus: give a folder with audio/*.parquet, or the folder of a run")


def shard_paths(folder: Path) -> list[Path]:
    """List the shards in their order."""
    return sorted(path for path in (folder / AUDIO).glob("*.parquet") if not path.name.startswith("."))


def read_about(folder: Path) -> dict[str, Any]:
    """Return ``corpus.json``, or an empty dictionary where somebody else made the corpus."""
    return read_json(folder / ABOUT) if (folder / ABOUT).exists() else {}


def voice_families(about: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Map engine and voice to the voice's family, as far as ``corpus.json`` lists its voices."""
    families = {}
    for engine, facts in about.get("engines", {}).items():
        voices = facts.get("voices") if isinstance(facts, dict) else None
        for voice in voices if isinstance(voices, list) else []:
            if isinstance(voice, dict) and "name" in voice and "family" in voice:
                families[engine, str(voice["name"])] = str(voice["family"])
    return families


def read_labels(
    folder: Path, columns: Collection[str] | None = None, cell_ids: Sequence[int] | None = None
) -> pa.Table:
    """Read the labels of every shard, sorted by ``cell_id``.

    Shards of an older schema carry no plan; its columns are then taken from ``cells.parquet``.

    Parameters
    ----------
    columns
        What is wanted besides ``cell_id``, as far as it is there; by default all but the audio.
    cell_ids
        Which cells are wanted; by default all.

    Raises
    ------
    IntervoxError
        A shard is damaged, or has no ``cell_id``.
    """
    rows = None if cell_ids is None else pc.field("cell_id").isin(pa.array(cell_ids, pa.int64()))
    tables = [_read(path, columns, rows) for path in shard_paths(folder)]
    try:
        labels = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise IntervoxError(
            f"the shards of {folder} have columns of different types: `intervox corpus check` says which"
        ) from error
    if (folder / PLAN).exists():
        plan = _read(folder / PLAN, columns, rows)
        lacking = [name for name in plan.column_names if name not in labels.column_names]
        if lacking:
            labels = labels.join(plan.select(["cell_id", *lacking]), "cell_id")
    return labels.sort_by("cell_id")


def read_clips(folder: Path, cell_ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield ``(cell_id, encoded audio)`` of the wanted cells that have audio, in bounded memory."""
    wanted = pa.array(cell_ids, pa.int64())
    for path in shard_paths(folder):
        with _readable(path):
            ids = pq.read_table(path, columns=["cell_id"])["cell_id"]
            if not pc.any(pc.is_in(ids, wanted)).as_py():
                continue
            for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=["cell_id", "audio"]):
                for row in batch.filter(pc.is_in(batch["cell_id"], wanted)).to_pylist():
                    if row["audio"] and row["audio"]["bytes"]:
                        yield row["cell_id"], row["audio"]["bytes"]


def numbers(labels: pa.Table, column: str) -> NDArray[np.float64]:
    """Return what is known of a column of numbers; nothing where the corpus has no such column."""
    if column not in labels.column_names:
        return np.empty(0)
    return np.asarray(labels[column].drop_null().to_numpy(), np.float64)


def tally(labels: pa.Table, column: str) -> Counter[Any]:
    """Count the known values of a column, without a Python object a row."""
    if column not in labels.column_names:
        return Counter()
    counts = labels[column].value_counts().to_pylist()
    return Counter({one["values"]: one["counts"] for one in counts if one["values"] not in (None, "")})


def disturbances(cells: pa.Table) -> list[tuple[str, int]]:
    """Count the cells that each kind of disturbance is in, the most frequent first.

    Our labels name kinds and their particulars, as in ``noise:pink@26dB level:-13dBFS``; a label of
    any other form is a kind by itself, and a cell without one is clean.
    """
    labels = tally(cells, "condition")
    labels["clean"] += cells.num_rows - labels.total()
    found: Counter[str] = Counter()
    for label, count in (+labels).items():
        parts = [part.partition(":") for part in label.split()]
        kinds = {kind for kind, _, _ in parts} if all(colon for _, colon, _ in parts) else {label}
        found.update(dict.fromkeys(kinds, count))
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _read(path: Path, columns: Collection[str] | None, rows: pc.Expression | None) -> pa.Table:
    with _readable(path):
        names = [name for name in pq.read_schema(path).names if name != "audio"]
        if "cell_id" not in names:
            raise IntervoxError(f"{path} has no column cell_id: `intervox corpus check` says what it needs")
        wanted = [name for name in names if columns is None or name in {"cell_id", *columns}]
        return pq.read_table(path, columns=wanted, filters=rows)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into the mend."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise IntervoxError(
            f"{path} is damaged or no part of a corpus: download or synthesise it again, or take it out; "
            "`intervox corpus check` lists all damage"
        ) from error
