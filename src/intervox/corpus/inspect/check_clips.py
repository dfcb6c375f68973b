"""Findings, and the part of the check that decodes every clip, one shard a job."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, SILENCE
from intervox.clips.schema import SHARD_SCHEMA
from intervox.tables import Table

Severity = Literal["error", "warning", "info"]

MAX_EXAMPLES = 5

REQUIRED = ("cell_id", "block", "split", "speaker", "content")
ADVISED = ("text", "language", "engine", "voice", "condition", "copy", "seed", "duration", "error")
COLUMNS: dict[str, pa.DataType] = {
    name: SHARD_SCHEMA.field(name).type
    for name in (*REQUIRED, *ADVISED, "severity", "kind", "transformation")
}
_KINDS = {pa.int64(): "integer", pa.float64(): "number", pa.string(): "string"}

FAULTS = {
    "neither audio nor a reason in `error`": "render the cell again, or write why it failed into `error`",
    "both audio and a reason in `error`": "empty one of the two",
    "audio that can't be decoded": "download or render these cells again",
    "another sample rate than 16 kHz": "resample it to 16 kHz",
    "more than one channel": "mix it to mono",
    "NaN or infinite samples": "render these cells again",
    "less than 25 ms": "render these cells again, or write why they failed into `error`",
    "silence": "render these cells again, or write why they failed into `error`",
    "a `duration` that is not the clip's": "write the clip's length in seconds into `duration`",
}
"""What can be wrong with one clip, and the remedy."""

_TOLERANCE_SECONDS = 0.01
_BATCH = 64


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
    remedy
        How to put it right.
    examples
        Where it was seen, at most five; of an ``info``, the particulars.
    """

    severity: Severity
    what: str
    remedy: str = ""
    examples: tuple[str, ...] = ()


def finding(severity: Severity, what: str, remedy: str = "", examples: Iterable[Any] = ()) -> Finding:
    """Make a finding that keeps the first few examples."""
    shown = tuple(str(example) for example, _ in zip(examples, range(MAX_EXAMPLES), strict=False))
    return Finding(severity, what, remedy, shown)


def has_errors(findings: Sequence[Finding]) -> bool:
    """Say whether a corpus should not be used as it is."""
    return any(found.severity == "error" for found in findings)


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Arrange the findings as a table, the worst first, with their counts as its note."""
    worst_first = sorted(findings, key=lambda found: get_args(Severity).index(found.severity))
    rows = [[found.severity, found.what, "\n".join(found.examples), found.remedy] for found in worst_first]
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning")}
    note = " · ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    return Table(title, note, ["", "what", "examples", "fix"], rows, labels=4)


@dataclass(frozen=True)
class Scan:
    """What one shard holds.

    Attributes
    ----------
    cells
        Its labels, with the columns ``fault``, ``detail`` and ``digest`` (of the samples); None for a
        damaged file.
    columns
        What the file has, whether we know it or not.
    """

    path: Path
    cells: pa.Table | None
    columns: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def scan_shard(path: Path) -> Scan:
    """Read one shard from end to end, holding a few dozen clips at a time."""
    try:
        file = pq.ParquetFile(path)
        names = tuple(file.schema_arrow.names)
        wrong = list(_type_findings(path, file.schema_arrow))
        kept = [name for name in COLUMNS if name in names and not _is_wrong(file.schema_arrow, name)]
        kept += factor_columns(file.schema_arrow)
        audible = "audio" in names and not _is_wrong(file.schema_arrow, "audio")
        columns = [*kept, "audio"] if audible else kept
        batches = [_scan_batch(batch, kept) for batch in file.iter_batches(_BATCH, columns=columns)]
    except (pa.ArrowException, OSError) as error:
        damage = finding(
            "error",
            f"{path.name} can't be read: {str(error).splitlines()[0]}",
            "download it again, or delete it and run `intervox synth` again",
        )
        return Scan(path, None, (), (damage,))
    return Scan(path, pa.concat_tables(batches) if batches else None, names, tuple(wrong))


def factor_columns(schema: pa.Schema) -> list[str]:
    """Name the columns of strings that are not in every corpus: further factors."""
    known = {*SHARD_SCHEMA.names, "fault", "detail", "digest", "family"}
    return [
        name for name in schema.names if name not in known and _holds(schema.field(name).type, pa.string())
    ]


def fault_findings(cells: pa.Table) -> Iterator[Finding]:
    """Report the faults of single clips, one finding a kind."""
    faulty = cells.filter(cells["fault"].is_valid()).select(["cell_id", "fault", "detail"]).to_pylist()
    for fault, remedy in FAULTS.items():
        where = [f"cell {row['cell_id']}{row['detail']}" for row in faulty if row["fault"] == fault]
        if where:
            yield finding("error", f"{len(where):,} cells hold {fault}", remedy, where)


def _type_findings(path: Path, schema: pa.Schema) -> Iterator[Finding]:
    for name, wanted in COLUMNS.items():
        if name in schema.names and _is_wrong(schema, name):
            found, kind = schema.field(name).type, _KINDS[wanted]
            yield finding("error", f"{path.name}: column {name} is {found}, not {kind}", f"cast it to {kind}")
    if "audio" in schema.names and _is_wrong(schema, "audio"):
        yield finding(
            "error",
            f"{path.name}: column audio is {schema.field('audio').type}, not a struct with `bytes`",
            "write audio as struct{bytes: binary, path: string}, as the package datasets does",
        )


def _is_wrong(schema: pa.Schema, name: str) -> bool:
    found = schema.field(name).type
    if name == "audio":
        return not (pa.types.is_struct(found) and found.get_field_index("bytes") >= 0)
    return not (_holds(found, COLUMNS[name]) or pa.types.is_null(found))


def _holds(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if wanted == pa.string():
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    floating = wanted == pa.float64() and pa.types.is_floating(found)
    return bool(floating or pa.types.is_integer(found))


def _scan_batch(batch: pa.RecordBatch, kept: Sequence[str]) -> pa.Table:
    rows = [_listen(row) for row in batch.to_pylist()]
    labels = {name: batch[name].cast(COLUMNS.get(name, pa.string())) for name in kept}
    heard = {
        "fault": pa.array([fault for fault, _, _ in rows], pa.string()),
        "detail": pa.array([detail for _, detail, _ in rows], pa.string()),
        "digest": pa.array([digest for _, _, digest in rows], pa.binary()),
    }
    return pa.table(labels | heard)


def _listen(row: dict[str, Any]) -> tuple[str | None, str, bytes | None]:
    """Decode one clip: what is wrong with it, the particulars, and the hash of its samples."""
    data = (row.get("audio") or {}).get("bytes")
    if data is None:
        return None if row.get("error") else "neither audio nor a reason in `error`", "", None
    if row.get("error"):
        return "both audio and a reason in `error`", f": {row['error']}", None
    try:
        wave, rate = sf.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (sf.SoundFileError, RuntimeError) as error:
        return "audio that can't be decoded", f": {error}", None
    seconds, digest = len(wave) / rate, hashlib.sha256(wave.tobytes()).digest()[:16]
    labelled = row.get("duration")
    if rate != SAMPLE_RATE:
        return "another sample rate than 16 kHz", f": {rate} Hz", digest
    if wave.shape[1] != 1:
        return "more than one channel", f": {wave.shape[1]}", digest
    if len(wave) < MIN_SAMPLES:
        return "less than 25 ms", f": {len(wave)} samples", None
    if not np.isfinite(wave).all():
        return "NaN or infinite samples", "", None
    if np.abs(wave).max() < SILENCE:
        return "silence", f": {seconds:.2f} s", None
    if labelled is not None and abs(labelled - seconds) > _TOLERANCE_SECONDS:
        return "a `duration` that is not the clip's", f": {labelled:.2f} s, the clip {seconds:.2f} s", digest
    return None, "", digest
