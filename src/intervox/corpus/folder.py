"""A corpus folder as it lies on disk, whoever wrote it: its shards, its labels, its facts.

``store.Corpus`` opens what Intervox has just made; this opens what somebody has downloaded, edited
or written with another tool. Only Parquet and JSON are read: nothing in a folder is executed.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from intervox.errors import IntervoxError
from intervox.storage import read_json

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


def read_labels(folder: Path) -> pa.Table:
    """Read every column but the audio of every shard, sorted by ``cell_id``.

    Shards of an older schema carry no plan; its columns are then taken from ``cells.parquet``.

    Raises
    ------
    IntervoxError
        A shard is damaged, or has no ``cell_id``.
    """
    tables = [_shard_labels(path) for path in shard_paths(folder)]
    labels = pa.concat_tables(tables, promote_options="permissive")
    if (folder / PLAN).exists():
        plan = pq.read_table(folder / PLAN)
        lacking = [name for name in plan.column_names if name not in labels.column_names]
        if lacking:
            labels = labels.join(plan.select(["cell_id", *lacking]), "cell_id")
    return labels.sort_by("cell_id")


def read_clips(folder: Path, cell_ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield ``(cell_id, encoded audio)`` of the wanted cells that have audio, in bounded memory."""
    wanted = pa.array(cell_ids, pa.int64())
    for path in shard_paths(folder):
        ids = pq.read_table(path, columns=["cell_id"])["cell_id"]
        if not pc.any(pc.is_in(ids, wanted)).as_py():
            continue
        for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=["cell_id", "audio"]):
            for row in batch.filter(pc.is_in(batch["cell_id"], wanted)).to_pylist():
                if row["audio"] and row["audio"]["bytes"]:
                    yield row["cell_id"], row["audio"]["bytes"]


def values(labels: pa.Table, column: str, default: Any = None) -> list[Any]:
    """Return a column as a list, filled with ``default`` where the corpus has no such column."""
    if column in labels.column_names:
        return list(labels[column].to_pylist())
    return list(itertools.repeat(default, labels.num_rows))


def disturbances(conditions: Iterable[str | None]) -> list[tuple[str, int]]:
    """Count the cells that each kind of disturbance is in, the most frequent first.

    Our labels name kinds and their particulars, as in ``noise:pink@26dB level:-13dBFS``, and are
    nearly as many as the cells; a label of any other form is a kind by itself.
    """
    found: Counter[str] = Counter()
    for label in conditions:
        whole = label or "clean"
        parts = [part.partition(":") for part in whole.split()]
        found.update({kind for kind, _, _ in parts} if all(colon for _, colon, _ in parts) else {whole})
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _shard_labels(path: Path) -> pa.Table:
    try:
        schema = pq.read_schema(path)
        if "cell_id" not in schema.names:
            raise IntervoxError(f"{path} has no column cell_id: `intervox corpus check` says what it needs")
        return pq.read_table(path, columns=[name for name in schema.names if name != "audio"])
    except (pa.ArrowInvalid, OSError) as error:
        raise IntervoxError(
            f"{path} is damaged: download or synthesise it again; `intervox corpus check` lists all damage"
        ) from error
