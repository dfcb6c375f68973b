"""One shard of cells: speak, transform, judge, speak again where needed, and put conditions on."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, SILENCE, Waveform, encode_flac
from intervox.clips.labels import PIECE
from intervox.clips.schema import SHARD_SCHEMA, Cell, with_factors
from intervox.corpus.acoustics.conditions import Condition, apply_condition
from intervox.corpus.acoustics.rooms import Acoustics
from intervox.corpus.acoustics.voices import Transformation, transform_voice
from intervox.corpus.plan.people import VoiceSpace
from intervox.corpus.render.quality import Verdict, judge
from intervox.engines.base import Engine, RenderError, load_engine
from intervox.recipe.corpus import CorpusRecipe
from intervox.seeds import rng

if TYPE_CHECKING:
    from intervox.corpus.render.recogniser import Hearing


@dataclass(frozen=True)
class ShardJob:
    """Everything that one worker needs to make one shard, on this machine or another."""

    index: int
    cells: list[Cell]
    conditions: dict[str, Condition]
    recipe: CorpusRecipe
    acoustics: Acoustics
    voices: VoiceSpace | None


@dataclass(frozen=True)
class Shard:
    """A finished shard: its Parquet file and what to report of it."""

    index: int
    data: bytes
    clips: int


@dataclass(frozen=True)
class Rendition:
    """Speech before any condition; without a wave it has the reason."""

    wave: Waveform | None
    verdict: Verdict | None
    attempt: int
    error: str | None


def render_shard(job: ShardJob) -> Shard:
    """Make every cell of a shard; what can't be made keeps the reason instead of audio."""
    groups = [list(cells) for _, cells in groupby(job.cells, key=lambda cell: cell.seed)]
    renditions = _renditions([group[0] for group in groups], job)
    rows = [
        _row(cell, rendition, job)
        for group, rendition in zip(groups, renditions, strict=True)
        for cell in group
    ]
    schema = with_factors(SHARD_SCHEMA, list(job.cells[0].factors))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return Shard(job.index, sink.getvalue(), len(rows))


def _renditions(cells: Sequence[Cell], job: ShardJob) -> list[Rendition]:
    """Render and judge; what is rejected is rendered again with other seeds, all at once."""
    results: dict[int, Rendition] = {}
    todo = list(range(len(cells)))
    for attempt in range(job.recipe.quality.attempts):
        chosen = [cells[index] for index in todo]
        spoken = [_speak(cell, attempt, job) for cell in chosen]
        results |= zip(todo, _judged(chosen, spoken, attempt, job), strict=True)
        todo = [index for index in todo if results[index].error]
        if not todo:
            break
    return list(results.values())


def _speak(cell: Cell, attempt: int, job: ShardJob) -> Waveform | str:
    seed = _seed(cell, attempt)
    try:
        wave = _engine(cell, job).render(cell.text, cell.voice, seed)
        if cell.transformation and len(wave) >= MIN_SAMPLES:
            wave = transform_voice(wave, Transformation.parse(cell.transformation), seed)
    except RenderError as error:
        return str(error)
    if len(wave) < MIN_SAMPLES:
        return f"rendered {len(wave)} samples"
    if not np.isfinite(wave).all() or np.abs(wave).max() < SILENCE:
        return "rendered silence or non-finite samples"
    return wave


def _seed(cell: Cell, attempt: int) -> int:
    """Neighbouring seeds: a recorded corpus walks through its takes by them."""
    return cell.seed + attempt


def _engine(cell: Cell, job: ShardJob) -> Engine:
    return load_engine(next(s for s in job.recipe.engines if s.key == cell.engine))


def _judged(
    cells: Sequence[Cell], spoken: Sequence[Waveform | str], attempt: int, job: ShardJob
) -> list[Rendition]:
    """Measure all renditions of one attempt, those that are spoken in one batch."""
    good = [index for index, wave in enumerate(spoken) if not isinstance(wave, str)]
    waves: list[Waveform] = [wave for wave in spoken if not isinstance(wave, str)]
    chosen = [cells[index] for index in good]
    hearings = _hearings(chosen, waves, job)
    distances: Sequence[float | None] = [None] * len(waves)
    if job.voices is not None and waves:
        distances = job.voices.distances(waves, [cell.speaker for cell in chosen])
    results = [Rendition(None, None, attempt, wave if isinstance(wave, str) else None) for wave in spoken]
    for index, wave, cell, heard, distance in zip(good, waves, chosen, hearings, distances, strict=True):
        said = (cell.text, cell.kind, cell.language)
        transcript, evidence = (heard.transcript, heard.evidence) if heard else (None, None)
        verdict = judge(wave, *said, job.recipe.quality, transcript, distance, evidence)
        results[index] = Rendition(wave, verdict, attempt, verdict.reason)
    return results


def _hearings(cells: Sequence[Cell], waves: Sequence[Waveform], job: ShardJob) -> list["Hearing | None"]:
    """Listen to the English renditions whose words are known, where the recipe asks for it."""
    result: list[Hearing | None] = [None] * len(waves)
    english = [
        index
        for index, cell in enumerate(cells)
        if cell.language.split("-")[0] == "en" and cell.kind != PIECE
    ]
    if job.recipe.quality.recognise and english:
        heard = _recogniser().listen(
            [waves[index] for index in english], [cells[index].text for index in english]
        )
        for index, hearing in zip(english, heard, strict=True):
            result[index] = hearing
    return result


@cache
def _recogniser() -> Any:
    """Load the recogniser once a worker, and only where it is used."""
    from intervox.corpus.render.recogniser import Recogniser

    return Recogniser()


def _row(cell: Cell, rendition: Rendition, job: ShardJob) -> dict[str, Any]:
    # Another attempt may be another take.
    engine = _engine(cell, job)
    labels = engine.labels(cell.text, cell.voice, _seed(cell, rendition.attempt))
    factors = {**cell.factors, **dict.fromkeys(engine.factors, ""), **dict(labels.factors)}
    row = replace(cell, session=labels.session, factors=factors).row()
    row |= {"attempt": rendition.attempt, "error": rendition.error, "audio": None, "duration": 0.0}
    if rendition.verdict:
        row |= rendition.verdict.columns()
    if rendition.wave is None or rendition.error:
        return row
    # Cells of one rendition share its seed; the copy gives each its own noise.
    random = rng(cell.seed, "cell.condition", cell.copy)
    wave = apply_condition(rendition.wave, job.conditions[cell.condition], job.acoustics, random)
    return row | {
        "audio": {"bytes": encode_flac(wave), "path": f"{cell.cell_id:08d}.flac"},
        "duration": len(wave) / SAMPLE_RATE,
    }
