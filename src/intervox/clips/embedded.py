"""Audio inside a Parquet file, as ``datasets`` keeps it, as files that everything else can read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from intervox.storage import cache_folder, scratch_folder, stable_hash


def audio_column(schema: Any) -> str | None:
    """Return the first column of a Parquet schema that holds ``{"bytes", "path"}``, if any does."""
    import pyarrow as pa

    structs = (field for field in schema if pa.types.is_struct(field.type))
    return next((f.name for f in structs if {"bytes", "path"} <= {inner.name for inner in f.type}), None)


def extract_audio(path: Path, column: str) -> list[tuple[str, str]]:
    """Write a column's clips to the cache folder once; return the name and the path of each, "" for none.

    A row that only names a file keeps its path.
    """
    status = path.stat()
    key = stable_hash([str(path.resolve()), column, status.st_size, status.st_mtime_ns])
    folder = cache_folder() / "embedded" / key
    if not folder.exists():
        _extract(path, column, folder)
    found = []
    for number, clip in enumerate(_clips(path, column, "path")):
        name, inner = clip.get("path") or "", folder / _name(number, clip)
        found.append((name, str(inner) if inner.exists() else name))
    return found


def _extract(path: Path, column: str, folder: Path) -> None:
    with scratch_folder(folder) as scratch:
        for number, clip in enumerate(_clips(path, column)):
            if clip.get("bytes"):
                (scratch / _name(number, clip)).write_bytes(clip["bytes"])
        if not folder.exists():  # another process may have been faster
            scratch.rename(folder)


def _name(number: int, clip: dict[str, Any]) -> str:
    return f"{number:07d}{Path(clip.get('path') or '').suffix}"


def _clips(path: Path, column: str, *fields: str) -> Iterator[dict[str, Any]]:
    """Yield a column's structs, in bounded memory, or of each only some fields."""
    import pyarrow.parquet as pq

    wanted = [f"{column}.{field}" for field in fields] or [column]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64, columns=wanted):
            yield from (clip or {} for clip in batch.column(0).to_pylist())
