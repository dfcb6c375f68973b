"""The trials behind a run's figures: their files, the worst errors, and recordings to listen to."""

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import soundfile as sf
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, load_audio
from intervox.clips.labels import Clips, Labels
from intervox.errors import IntervoxError
from intervox.evaluation.results import Metrics
from intervox.metrics.trials import PAIR_COLUMNS, Trials, usual_stratum
from intervox.metrics.vectors import Vectors, cosine
from intervox.reporting.wording import spaces_of
from intervox.storage import atomic_path

FOLDER = "trials"
SHOWN_BASELINES = ("lda", "resemblyzer")
"""Those that stand beside the subspaces in the files and figures; the others are in the tables."""


MAX_SECONDS = 8
"""A recording is cut after this, so that a page stays small."""

_MP3: Any = {"subtype": "MPEG_LAYER_III", "compression_level": 0.8}


def trial_path(run: Path, protocol: str, condition: str) -> Path:
    """Return where the trials of a protocol under a condition lie."""
    return run / FOLDER / f"{protocol}-{condition}.parquet"


def shown_names(metrics: Metrics, protocol: str, condition: str, there: Iterable[str]) -> list[str]:
    """Choose the representations whose scores are kept: the speaker spaces, and what they have to beat.

    Parameters
    ----------
    there
        Names of all that were measured.
    """
    spaces = spaces_of(metrics, "speaker")
    wanted = [*spaces, *(f"{name}.{space}" for name in SHOWN_BASELINES for space in spaces)]
    if raw := metrics.verification[protocol].raw:
        wanted.append(f"raw.{raw.best_layer.get(condition, 'mean')}")
    available = set(there)
    return [name for name in wanted if name in available]


def trial_table(clips: Clips, trials: Mapping[str, Trials], vectors: Mapping[str, Vectors]) -> pa.Table:
    """Score every trial once, whichever strata it is of.

    Parameters
    ----------
    clips
        The clips of the protocol.
    trials
        Stratum to trials.
    vectors
        Representation to unit vectors, shape (clips, dim); none has the name of another column, as
        recipes and files of embeddings with such a name are refused.

    Returns
    -------
    pyarrow.Table
        A row a trial, sorted by its clips: ``PAIR_COLUMNS``, one boolean column a stratum and one float32
        column a representation.
    """
    parts = [pairs for t in trials.values() for pairs in (t.targets, t.impostors)]
    clip_count = np.int64(len(clips))
    keys, row_of = np.unique(
        np.concatenate([pairs[:, 0] * clip_count + pairs[:, 1] for pairs in parts]), return_inverse=True
    )
    pairs = np.stack(np.divmod(keys, clip_count), axis=1)
    rows = iter(np.split(row_of, np.cumsum([len(part) for part in parts])[:-1]))
    is_target = np.zeros(len(keys), bool)
    strata = {}
    for stratum in trials:
        member = np.zeros(len(keys), bool)
        targets = next(rows)
        is_target[targets] = True
        member[targets] = True
        member[next(rows)] = True
        strata[stratum] = pa.array(member)
    columns: dict[str, pa.Array] = {}
    for prefix, values in (("", clips.paths), ("_speaker", clips.speakers), ("_content", clips.contents)):
        names = pa.array(values.tolist()).dictionary_encode()
        for side, role in enumerate(("enrol", "test")):
            columns[f"{role}{prefix}"] = names.take(pa.array(pairs[:, side]))
    columns = {name: columns[name] for name in PAIR_COLUMNS[:-1]} | {"target": pa.array(is_target)}
    scores = {name: pa.array(cosine(points, pairs)) for name, points in vectors.items()}
    return pa.table(columns | strata | scores)


def write_trials(path: Path, table: pa.Table) -> None:
    """Write a trial table atomically."""
    scores = representations(table)
    texts = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", use_dictionary=texts, use_byte_stream_split=scores
        )


def read_trials(run: Path, protocol: str, condition: str = "clean") -> pa.Table:
    """Read the trials of a protocol.

    Raises
    ------
    IntervoxError
        The run has none of that name, or the file is broken.
    """
    path = trial_path(run, protocol, condition)
    if not path.is_file():
        there = sorted(found.stem for found in (run / FOLDER).glob("*.parquet"))
        raise IntervoxError(
            f"{run} has no trials of {protocol}, {condition}: "
            + (f"it has {', '.join(there)}" if there else "run `intervox evaluate` first")
        )
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntervoxError(f"{path} is no trial file ({error}): run `intervox evaluate` again") from None


def strata(table: pa.Table) -> list[str]:
    """Names of the strata that a trial table has."""
    flags = [field.name for field in table.schema if pa.types.is_boolean(field.type)]
    return [name for name in flags if name != "target"]


def representations(table: pa.Table) -> list[str]:
    """Names of the representations that a trial table has scores of."""
    return [field.name for field in table.schema if pa.types.is_float32(field.type)]


def main_stratum(table: pa.Table) -> str:
    """Return the stratum that figures show."""
    return usual_stratum(strata(table))


def stratum_scores(
    table: pa.Table, space: str, stratum: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the scores of a stratum's targets and of its impostors, in the order of the table."""
    member, target = (table[name].to_numpy() for name in (stratum, "target"))
    scores = table[space].to_numpy()
    return scores[member & target], scores[member & ~target]


def stratum_trials(table: pa.Table, stratum: str) -> tuple[Trials, Labels]:
    """Number the clips of a table anew: the trials of a stratum, and the speaker of every clip."""
    paths, index = np.unique(
        np.concatenate([_text(table[name]) for name in ("enrol", "test")]), return_inverse=True
    )
    speakers = np.empty(len(paths), object)
    speakers[index] = np.concatenate([_text(table[name]) for name in ("enrol_speaker", "test_speaker")])
    pairs = index.reshape(2, -1).T
    member, target = (table[name].to_numpy() for name in (stratum, "target"))
    return Trials(pairs[member & target], pairs[member & ~target]), speakers.astype(str)


def write_trials_csv(path: Path, table: pa.Table) -> None:
    """Write trials as CSV."""
    plain = pa.schema(
        pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    )
    # Opened by Python: Arrow's own errors do not name the file.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        csv.write_csv(table.cast(plain), file)


def _text(column: pa.ChunkedArray) -> NDArray[np.object_]:
    return np.asarray(column.to_numpy(), object)


def embed_recordings(paths: Iterable[str], room: int) -> dict[str, str]:
    """Turn recordings into MP3 data URIs until a page holds enough of them.

    MP3, because every browser plays it, those of telephones too; 4 kB per second.

    Parameters
    ----------
    paths
        The most important first; those that are not here, or can't be read, are left out.
    room
        Bytes that the URIs may take together.

    Returns
    -------
    dict
        Path to URI.
    """
    found: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        if not Path(path).is_file():
            continue
        try:
            wave = load_audio(path)
        except IntervoxError:
            continue
        buffer = io.BytesIO()
        sf.write(buffer, wave[: MAX_SECONDS * SAMPLE_RATE], SAMPLE_RATE, format="MP3", **_MP3)
        uri = f"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if len(uri) <= room:
            found[path] = uri
            room -= len(uri)
    return found


def select_trials(
    run: Path,
    protocol: str,
    condition: str = "clean",
    stratum: str | None = None,
    space: str | None = None,
    worst: int | None = None,
) -> pa.Table:
    """Pick trials of a run: all of a stratum, or its worst errors.

    Parameters
    ----------
    stratum
        By default the one that the report's figures show.
    space
        The representation whose scores decide; by default the first.
    worst
        Keep this many: the highest-scoring impostors, then the lowest-scoring targets, half each
        where there are as many.

    Raises
    ------
    IntervoxError
        The run has no such protocol, condition, stratum or representation.
    """
    table = read_trials(run, protocol, condition)
    stratum = stratum or main_stratum(table)
    space = space or representations(table)[0]
    for what, asked, there in (("stratum", stratum, strata(table)), ("space", space, representations(table))):
        if asked not in there:
            raise IntervoxError(f"{protocol} has no {what} {asked!r}: choose from {', '.join(there)}")
    chosen = table.filter(table[stratum])
    if worst is None:
        return chosen
    targets = pc.sum(chosen["target"]).as_py() or 0
    # The half of each kind, and what the other kind lacks.
    kept = min(targets, max(worst // 2, worst - (chosen.num_rows - targets)))
    return pa.concat_tables(
        [worst_trials(chosen, space, worst - kept, False), worst_trials(chosen, space, kept, True)]
    )


def worst_trials(table: pa.Table, space: str, count: int, target: bool) -> pa.Table:
    """Return the targets that score lowest, or the impostors that score highest, worst first."""
    found = table.filter(pc.equal(table["target"], target))
    return found.take(pc.sort_indices(found, [(space, "ascending" if target else "descending")])[:count])
