"""JSON lines and Parquet: one row per clip."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from intervox.clips.records import pyarrow_modules, readable_parquet
from intervox.errors import IntervoxError
from intervox.interop.arrays import NAMES, Contents, WriteClip, column, space_of, stacked
from intervox.metrics.vectors import Vectors
from intervox.storage import atomic_path

_WAITING = 4_000_000
"""Numbers that wait in memory for a Parquet row group, about: 16 MB."""


def json_line(name: str, space: str, vectors: Vectors) -> str:
    """Return a clip's vector, or its frames' vectors, in one space as a line of JSON."""
    kind = "vector" if vectors.ndim == 1 else "frames"
    return json.dumps({"clip": name, "space": space, kind: vectors.tolist()})


@contextmanager
def write_jsonl(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[WriteClip]:
    """Write what ``intervox embed`` prints: one line per clip and space."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:

        def row(name: str, vectors: Mapping[str, Vectors]) -> None:
            file.writelines(json_line(name, space, vectors[space]) + "\n" for space in dims)

        yield row


def read_jsonl(path: Path) -> Contents:
    """Read the lines of ``intervox embed``; every clip has a line a space."""
    spaces: dict[str, list[tuple[str, Vectors]]] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                named = record["clip"], np.asarray(record["vector"], np.float32).reshape(-1)
                spaces.setdefault(record["space"], []).append(named)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise IntervoxError(
                    f"{path}, line {number} is not a vector: write clip, space and vector as `embed`"
                ) from None
    return stacked(path, spaces)


@contextmanager
def write_parquet(path: Path, dims: Mapping[str, int], frames: bool) -> Iterator[WriteClip]:
    """Write a table that ``datasets.load_dataset("parquet", ...)`` opens, vectors as lists of fixed size."""
    pa, pq = pyarrow_modules()
    kinds = {space: pa.list_(pa.float32(), dim) for space, dim in dims.items()}
    columns = {column(space): pa.list_(kind) if frames else kind for space, kind in kinds.items()}
    schema = pa.schema({NAMES: pa.string(), **columns})
    names: list[str] = []
    waiting: dict[str, list[Vectors]] = {space: [] for space in dims}

    def arrow(space: str) -> Any:
        flat = pa.array(np.concatenate([part.reshape(-1) for part in waiting[space]]))
        vectors = pa.FixedSizeListArray.from_arrays(flat, dims[space])
        if not frames:
            return vectors
        ends = np.cumsum([0, *(len(part) for part in waiting[space])])
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), vectors)

    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.table([names, *map(arrow, dims)], schema=schema))
            names.clear()
            for parts in waiting.values():
                parts.clear()

        def row(name: str, vectors: Mapping[str, Vectors]) -> None:
            names.append(name)
            for space, parts in waiting.items():
                parts.append(vectors[space])
            if sum(vectors[space].size for space in dims) * len(names) >= _WAITING:
                flush()

        yield row
        if names:
            flush()


def read_parquet(path: Path) -> Contents:
    """Read what ``write_parquet`` wrote, or any table with such columns."""
    _, pq = pyarrow_modules()
    with readable_parquet(path):
        table = pq.read_table(path)
        spaces = {}
        for name in table.column_names:
            if (space := space_of(name)) is not None:
                spaces[space] = _stacked(path, name, table[name].combine_chunks())
        named = NAMES in table.column_names
        names = table[NAMES].to_pylist() if named else [str(n) for n in range(len(table))]
    return names, spaces


def _stacked(path: Path, name: str, values: Any) -> Vectors:
    import pyarrow as pa
    import pyarrow.compute as pc

    listed = pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type)
    lengths = pc.unique(pc.list_value_length(values)).to_pylist() if listed else []
    if len(lengths) != 1 or not pa.types.is_floating(values.type.value_type):
        raise IntervoxError(f"{path}: {name} holds frames or no vectors: read it with pyarrow or datasets")
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(-1, lengths[0])
