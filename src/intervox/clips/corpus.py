"""The readers of a corpus folder.

::

    corpus.json      CorpusFacts; written last, when all shards are there
    cells.parquet    the plan: one Cell per row
    audio/*.parquet  shards: the plan's columns, the audio, its length and quality

`Corpus` opens what Intervox has made. The functions below it read any such folder, also one that somebody
has downloaded, edited or written with another tool. Only Parquet and JSON are read; nothing is executed.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from intervox.clips.schema import CELL_SCHEMA, CorpusFacts
from intervox.clips.source import Clip, ClipSource, load_clip
from intervox.errors import IntervoxError
from intervox.storage import read_json

ABOUT = "corpus.json"
PLAN = "cells.parquet"
AUDIO = "audio"

_BATCH = 64


class Corpus(ClipSource):
    """A synthesised corpus, opened for reading.

    Attributes
    ----------
    about
        What ``corpus.json`` says.
    cells
        The plan: ``CELL_SCHEMA``, then its ``factors``.

    Raises
    ------
    IntervoxError
        The folder holds no complete corpus.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / ABOUT).exists():
            raise IntervoxError(f"{folder} holds no complete corpus: run `intervox synth` first")
        self.folder = folder
        self.about, unusable = read_about(folder)
        if unusable or not self.about.shard_size:
            raise IntervoxError(
                f"{folder / ABOUT} is damaged ({', '.join(unusable)}): delete it and synthesise again"
            )
        self.cells: pa.Table = read_parquet(folder / PLAN)
        count = -(-self.cells.num_rows // self.about.shard_size)
        self._shards = [shard_path(folder, index) for index in range(count)]
        if not all(path.exists() for path in self._shards):
            raise IntervoxError(
                f"{folder / AUDIO} lacks shards: run the same `intervox synth` again: it makes only what is "
                "missing"
            )

    @property
    def factors(self) -> list[str]:
        """Further columns of the plan: those of the manifests of recordings, and style."""
        return list(self.cells.column_names[len(CELL_SCHEMA) :])

    @property
    def shard_count(self) -> int:
        return len(self._shards)

    @property
    def clip_count(self) -> int:
        return int(self.cells.num_rows)

    @property
    def key(self) -> Any:
        return self.about.key

    @property
    def failed(self) -> int:
        return self.about.failed or 0

    def load_shard(self, index: int) -> list[Clip]:
        table = self.read_shard(index, ["cell_id", "audio", "error"])
        return [_shard_clip(row) for row in table.to_pylist()]

    def read_shard(self, index: int, columns: list[str]) -> pa.Table:
        """Read some columns of one shard."""
        return read_parquet(self._shards[index], columns=columns)


class CorpusSplit(ClipSource):
    """The cells of one split of a corpus, renumbered from 0."""

    def __init__(self, corpus: Corpus, split: str) -> None:
        self._corpus = corpus
        self._split = split
        chosen = corpus.cells.filter(pc.field("split") == split)
        self._number = {cell_id: i for i, cell_id in enumerate(chosen["cell_id"].to_pylist())}
        self._shards = sorted({cell_id // corpus.about.shard_size for cell_id in self._number})

    @property
    def shard_count(self) -> int:
        return len(self._shards)

    @property
    def clip_count(self) -> int:
        return len(self._number)

    @property
    def key(self) -> Any:
        return [self._corpus.key, self._split]

    @property
    def failed(self) -> int:
        tables = (self._corpus.read_shard(index, ["split", "error"]) for index in self._shards)
        return sum(
            table.filter((pc.field("split") == self._split) & pc.field("error").is_valid()).num_rows
            for table in tables
        )

    def durations(self) -> NDArray[np.float64]:
        """Length of every clip in seconds, in order; 0 without audio."""
        found = np.zeros(len(self._number))
        for index in self._shards:
            table = self._corpus.read_shard(index, ["cell_id", "duration"])
            for cell_id, seconds in zip(*(column.to_pylist() for column in table.columns), strict=True):
                if cell_id in self._number:
                    found[self._number[cell_id]] = seconds
        return found

    def load_shard(self, index: int) -> list[Clip]:
        return [
            replace(clip, cell_id=self._number[clip.cell_id])
            for clip in self._corpus.load_shard(self._shards[index])
            if clip.cell_id in self._number
        ]


def _shard_clip(row: dict[str, Any]) -> Clip:
    """Decode one row of a shard, which somebody may have edited."""
    if row["error"]:
        return Clip(row["cell_id"], None, row["error"])
    data = (row["audio"] or {}).get("bytes")
    if data is None:
        return Clip(row["cell_id"], None, "neither audio nor a reason: see `intervox corpus check`")
    return load_clip(row["cell_id"], data)


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


def shard_path(folder: Path, index: int) -> Path:
    """Where a shard lies in a corpus folder."""
    return folder / AUDIO / f"shard-{index:05d}.parquet"


def shard_paths(folder: Path) -> list[Path]:
    """List the shards in their order, whatever their names."""
    return sorted(path for path in (folder / AUDIO).glob("*.parquet") if not path.name.startswith("."))


def read_about(folder: Path) -> tuple[CorpusFacts, list[str]]:
    """Read ``corpus.json`` as far as it makes sense, and name the fields that do not.

    Raises
    ------
    IntervoxError
        It is not JSON.
    """
    found = read_json(folder / ABOUT) if (folder / ABOUT).exists() else {}
    try:
        return CorpusFacts.model_validate(found), []
    except ValidationError as error:
        unusable = sorted({str(problem["loc"][0]) for problem in error.errors()})
        kept = {name: value for name, value in found.items() if name not in unusable}
        return CorpusFacts.model_validate(kept), unusable


def read_parquet(
    path: Path, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
) -> pa.Table:
    """Read a Parquet file of a corpus, or say that it is damaged."""
    with _readable(path):
        return pq.read_table(path, columns=columns, filters=filters)


def read_labels(
    folder: Path, columns: Collection[str] | None = None, cell_ids: Sequence[int] | None = None
) -> pa.Table:
    """Read the labels of every shard, sorted by ``cell_id``.

    What the shards of another tool leave to ``cells.parquet`` is taken from there.

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

    def read(path: Path) -> pa.Table:
        with _readable(path):
            names = pq.read_schema(path).names
        if "cell_id" not in names:
            raise IntervoxError(f"{path} has no column cell_id: `intervox corpus check` says what it needs")
        wanted = [
            name for name in names if name != "audio" and (columns is None or name in {"cell_id", *columns})
        ]
        return read_parquet(path, wanted, rows)

    try:
        labels = pa.concat_tables(map(read, shard_paths(folder)), promote_options="permissive")
    except pa.ArrowException as error:
        raise IntervoxError(
            f"the shards of {folder} have columns of different types: `intervox corpus check` says which"
        ) from error
    if (folder / PLAN).exists():
        plan = read(folder / PLAN)
        lacking = [name for name in plan.column_names if name not in labels.column_names]
        if lacking:
            labels = labels.join(plan.select(["cell_id", *lacking]), "cell_id")
    return labels.sort_by("cell_id")


def read_audio(folder: Path, cell_ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield ``(cell_id, encoded audio)`` of the wanted cells that have audio, in bounded memory."""
    wanted = pa.array(cell_ids, pa.int64())
    for path in shard_paths(folder):
        with _readable(path):
            if not pc.any(pc.is_in(pq.read_table(path, columns=["cell_id"])["cell_id"], wanted)).as_py():
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
    """Count the known values of a column; none where the corpus has no such column."""
    if column not in labels.column_names:
        return Counter()
    counts = labels[column].value_counts().to_pylist()
    return Counter({one["values"]: one["counts"] for one in counts if one["values"] not in (None, "")})


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into the remedy."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise IntervoxError(
            f"{path} is damaged or missing: delete it and run the same `intervox synth` again, which makes "
            "only what is missing, or download it again; `intervox corpus check` lists all damage"
        ) from error
