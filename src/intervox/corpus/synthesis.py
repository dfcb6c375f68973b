"""From the plan to audio: shards of cells rendered by worker processes, resumable at any shard."""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from intervox import __version__
from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, SILENCE, Waveform, encode_flac
from intervox.corpus.acoustics import Acoustics, load_acoustics, noise_key
from intervox.corpus.conditions import apply_condition
from intervox.corpus.design import cell_condition, plan_cells
from intervox.corpus.store import Corpus, check_failures, write_shard
from intervox.corpus.texts import read_texts
from intervox.engines.base import load_engine
from intervox.parallel import default_workers, run_jobs
from intervox.progress import progress_bar
from intervox.recipe_corpus import ConditionSettings, CorpusRecipe
from intervox.storage import StepFolder, atomic_path, stable_hash, write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ShardJob:
    """Everything that one worker needs to make one shard."""

    folder: Path
    index: int
    cells: list[dict[str, Any]]
    conditions: ConditionSettings
    seed: int


@dataclass(frozen=True)
class ShardReport:
    """What a finished shard holds."""

    index: int
    clips: int
    seconds: float
    errors: list[str]


def synthesise(recipe: CorpusRecipe, seed: int, folder: Path, workers: int | None = None) -> Corpus:
    """Render the corpus of a recipe into ``folder``, or go on where an earlier call stopped.

    Parameters
    ----------
    recipe
        The ``corpus`` part of a recipe.
    seed
        The recipe's seed.
    folder
        A new or empty folder, or one that this function made.
    workers
        Processes; by default one a core.

    Returns
    -------
    Corpus
        The same bytes for the same recipe, seed and package versions, however often interrupted.

    Raises
    ------
    IntervoxError
        An engine is missing, the disk is full, or more than ``recipe.max_failures`` of the cells
        could not be rendered.
    """
    engines = {settings.name: load_engine(settings).version for settings in recipe.engines}
    key = corpus_key(recipe, seed)
    step = StepFolder(folder, key)
    if step.complete:
        return Corpus(folder)
    table = plan_cells(recipe, seed)
    with atomic_path(folder / "cells.parquet") as temporary:
        pq.write_table(table, temporary)
    load_acoustics(recipe.conditions, seed, folder)
    cells = table.to_pylist()
    jobs = [
        ShardJob(folder, index, cells[start : start + recipe.shard_size], recipe.conditions, seed)
        for index, start in enumerate(range(0, len(cells), recipe.shard_size))
        if not _shard_path(folder, index).exists()
    ]
    with progress_bar("synthesising", len(cells), "cells") as bar:
        bar.advance(len(cells) - sum(len(job.cells) for job in jobs))
        run_jobs(_render_shard, jobs, workers or default_workers(), lambda report: bar.advance(report.clips))
    _finish(folder, key, seed, engines, recipe, table.num_rows)
    step.finish()
    return Corpus(folder)


def corpus_key(recipe: CorpusRecipe, seed: int) -> str:
    """Hash everything that decides a corpus' bytes."""
    return stable_hash(
        [
            SCHEMA_VERSION,
            __version__,
            recipe.model_dump(mode="json", exclude={"max_failures"}),
            read_texts(recipe.texts.file) if recipe.texts.file else None,
            noise_key(recipe.conditions),
            seed,
            {settings.name: load_engine(settings).version for settings in recipe.engines},
        ]
    )


def _shard_path(folder: Path, index: int) -> Path:
    return folder / "audio" / f"shard-{index:05d}.parquet"


@cache
def _acoustics(settings: ConditionSettings, seed: int, folder: Path) -> Acoustics:
    """Keep the rooms in the worker between shards."""
    return load_acoustics(settings, seed, folder)


def _render_shard(job: ShardJob) -> ShardReport:
    acoustics = _acoustics(job.conditions, job.seed, job.folder)
    rows = []
    rendered: dict[int, Waveform] = {}
    for cell in job.cells:
        if cell["seed"] not in rendered:
            engine = load_engine(cell["engine"])
            rendered = {cell["seed"]: engine.render(cell["text"], cell["voice"], cell["seed"])}
        rows.append(_row(cell, rendered[cell["seed"]], job.conditions, acoustics))
    write_shard(_shard_path(job.folder, job.index), rows)
    errors = [f"cell {row['cell_id']}: {row['error']}" for row in rows if row["error"]]
    return ShardReport(job.index, len(rows), sum(row["duration"] for row in rows), errors)


def _row(
    cell: dict[str, Any], speech: Waveform, settings: ConditionSettings, acoustics: Acoustics
) -> dict[str, Any]:
    """One row of ``SHARD_SCHEMA``; a rendition that is no speech keeps its reason instead of audio."""
    row = {"cell_id": cell["cell_id"], "audio": None, "duration": 0.0, "error": None}
    voice = f"{cell['engine']} voice {cell['voice']!r}, text {cell['text']!r}"
    if len(speech) < MIN_SAMPLES:
        return row | {"error": f"{voice}: rendered {len(speech)} samples"}
    if not np.isfinite(speech).all() or np.abs(speech).max() < SILENCE:
        return row | {"error": f"{voice}: rendered silence or non-finite samples"}
    condition, random = cell_condition(settings, cell["split"], cell["seed"], cell["copy"])
    wave = apply_condition(speech, condition, acoustics, random)
    peak, rms = float(np.abs(wave).max()), float(np.sqrt(np.mean(wave**2)))
    return row | {
        "audio": {"bytes": encode_flac(wave), "path": f"{cell['cell_id']:08d}.flac"},
        "duration": len(wave) / SAMPLE_RATE,
        "peak_dbfs": 20 * math.log10(peak),
        "rms_dbfs": 20 * math.log10(rms),
    }


def _finish(
    folder: Path, key: str, seed: int, engines: dict[str, str], recipe: CorpusRecipe, cells: int
) -> None:
    """Count what the shards hold and write ``corpus.json``, which declares the corpus complete."""
    audio = pq.read_table(folder / "audio", columns=["duration", "error"])
    failed = [reason for reason in audio["error"].to_pylist() if reason]
    check_failures(failed, cells, "cells", recipe.max_failures)
    write_json(
        folder / "corpus.json",
        {
            "schema": SCHEMA_VERSION,
            "key": key,
            "seed": seed,
            "engines": {
                name: {"version": version, "licence": load_engine(name).licence}
                for name, version in engines.items()
            },
            "cells": cells,
            "shard_size": recipe.shard_size,
            "failed": len(failed),
            "hours": round(sum(audio["duration"].to_pylist()) / 3600, 3),
        },
    )
