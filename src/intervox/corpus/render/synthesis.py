"""From the plan to audio: shards of cells made by worker processes, resumable at any shard."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from intervox.clips.corpus import ABOUT, PLAN, Corpus, read_parquet, shard_path
from intervox.clips.schema import CELL_SCHEMA, CorpusFacts, EngineFacts, VoiceFacts, read_cells
from intervox.clips.source import check_failures
from intervox.corpus.acoustics.conditions import condition_bank
from intervox.corpus.acoustics.rooms import load_acoustics, noise_key
from intervox.corpus.inspect.card import corpus_card
from intervox.corpus.plan.design import plan_audition, plan_cells
from intervox.corpus.plan.lexicon import lexicons_key
from intervox.corpus.plan.people import Cast, VoiceSpace
from intervox.corpus.render.shard import Shard, ShardJob, render_shard
from intervox.engines.base import load_engine
from intervox.errors import IntervoxError
from intervox.parallel import Pool, run_jobs
from intervox.progress import progress_bar
from intervox.recipe.corpus import CastingSettings, ConditionSettings, CorpusRecipe
from intervox.recipe.engines import EngineSettings
from intervox.steps import StepFolder
from intervox.storage import CARD, GENERATION, atomic_path, restore_text, stable_hash, write_bytes, write_json

SCHEMA_VERSION = 2
"""Of the corpus' format."""


def synthesise(
    recipe: CorpusRecipe,
    seed: int,
    folder: Path,
    pool: Pool | None = None,
    casting: Cast | None = None,
) -> Corpus:
    """Render the corpus of a recipe into ``folder``, or resume an earlier call.

    Parameters
    ----------
    recipe
        The ``corpus`` part of a recipe.
    seed
        The recipe's seed.
    folder
        A new or empty folder, or one that this function made.
    pool
        Where the shards are made; by default in one process per core.
    casting
        Merges or leaves out near-duplicate voices, and measures how far each rendition lies from
        its own.

    Returns
    -------
    Corpus
        The same bytes for the same recipe, seed and package versions, however often interrupted.

    Raises
    ------
    IntervoxError
        An engine is missing, the disk is full, or more than ``recipe.max_failures`` of the cells
        could not be rendered or were rejected.
    """
    return _make(
        recipe, seed, folder, pool, "synthesising", lambda: plan_cells(recipe, seed, casting), casting
    )


def audition(recipe: CorpusRecipe, seed: int, folder: Path, pool: Pool | None = None) -> Corpus:
    """Render the casting's block: every synthetic voice of a recipe says the same few texts."""
    assert recipe.casting is not None
    # Nothing else of the recipe changes what is heard, so a changed design keeps the audition.
    plain = CorpusRecipe(
        engines=recipe.engines,
        texts=recipe.texts,
        conditions=ConditionSettings(clean=1, room=0),
        casting=CastingSettings(texts=recipe.casting.texts),
        shard_size=recipe.shard_size,
        max_failures=0.05,
    )
    return _make(plain, seed, folder, pool, "voices' audition", lambda: plan_audition(plain, seed))


def _make(
    recipe: CorpusRecipe,
    seed: int,
    folder: Path,
    pool: Pool | None,
    description: str,
    plan: Callable[[], pa.Table],
    casting: Cast | None = None,
) -> Corpus:
    """Lay out a plan and render it, or resume an earlier call."""
    for settings in recipe.engines:
        load_engine(settings).check()
    key = corpus_key(recipe, seed)
    step = StepFolder(folder, key)
    if step.complete:
        restore_text(folder / CARD, lambda: corpus_card(folder))
        return Corpus(folder)
    table = plan()
    with atomic_path(folder / PLAN) as temporary:
        pq.write_table(table, temporary)
    todo = _unmade(folder, recipe, table.num_rows)
    # Before the bar and the workers: what the recipe refers to is found wanting here, if at all.
    job = empty_job(recipe, seed, folder, casting.space if casting else None)
    # One by one, as workers ask for them: the plan stays a compact table.
    jobs = (replace(job, index=index, cells=read_cells(_slice(recipe, table, index))) for index in todo)
    with progress_bar(description, table.num_rows, "cells") as bar:
        bar.advance(table.num_rows - sum(_slice(recipe, table, index).num_rows for index in todo))

        def keep(shard: Shard) -> None:
            write_bytes(shard_path(folder, shard.index), shard.data)
            bar.advance(shard.clips)

        run_jobs(render_shard, jobs, len(todo), pool or Pool(), keep)
    _finish(folder, key, seed, recipe, table, casting)
    step.finish(but=[CARD])
    return Corpus(folder)


def corpus_key(recipe: CorpusRecipe, seed: int) -> str:
    """Hash everything that decides a corpus' bytes."""
    own_texts = recipe.texts.file
    # Ranges that nothing is drawn from decide no byte.
    idle = {"max_failures"} if recipe.style.on else {"max_failures", "style"}
    return stable_hash(
        [
            SCHEMA_VERSION,
            GENERATION,
            recipe.model_dump(mode="json", exclude=idle),
            own_texts.read_text(encoding="utf-8", errors="replace") if own_texts else None,
            seed,
            {settings.key: load_engine(settings).version for settings in recipe.engines},
            noise_key(recipe.conditions),
            lexicons_key(),
        ]
    )


def _unmade(folder: Path, recipe: CorpusRecipe, cells: int) -> list[int]:
    """List the shards that are missing or cut off."""
    return [index for index, path in enumerate(_paths(folder, recipe, cells)) if not _is_readable(path)]


def _paths(folder: Path, recipe: CorpusRecipe, cells: int) -> list[Path]:
    return [shard_path(folder, index) for index in range(-(-cells // recipe.shard_size))]


def _is_readable(path: Path) -> bool:
    """Whether a Parquet file has its footer, which is written last."""
    try:
        pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return False
    return True


def _slice(recipe: CorpusRecipe, table: pa.Table, index: int) -> pa.Table:
    return table.slice(index * recipe.shard_size, recipe.shard_size)


def empty_job(recipe: CorpusRecipe, seed: int, folder: Path, voices: VoiceSpace | None = None) -> ShardJob:
    """Describe what the shards of a corpus have in common.

    Parameters
    ----------
    folder
        Where the simulated rooms are kept.
    """
    acoustics = load_acoustics(recipe.conditions, seed, folder)
    conditions = {str(condition): condition for condition in condition_bank(recipe.conditions, seed)}
    return ShardJob(0, [], conditions, recipe, acoustics, voices)


def _finish(
    folder: Path, key: str, seed: int, recipe: CorpusRecipe, table: pa.Table, casting: Cast | None
) -> None:
    """Count what the shards hold and write ``corpus.json``, which declares the corpus complete."""
    labels = ["session", *table.column_names[len(CELL_SCHEMA) :]]
    columns = ["engine", "voice", "text", "clipped_share", "duration", "error", *labels]
    shards = {path: read_parquet(path, columns) for path in _paths(folder, recipe, table.num_rows)}
    made = pa.concat_tables(shards.values())
    failed = [
        f"{row['engine']} voice {row['voice']!r}, text {row['text']!r}: {row['error']}"
        for row in made.filter(pc.field("error").is_valid()).to_pylist()
    ]
    try:
        check_failures(failed, table.num_rows, "cells", recipe.max_failures)
    except IntervoxError:
        _forget_unrendered(shards)
        raise
    # Where a recording was refused and another take was made, its labels hold, not the planned ones.
    for name in labels:
        table = table.set_column(table.column_names.index(name), name, made[name])
    with atomic_path(folder / PLAN) as temporary:
        pq.write_table(table.combine_chunks(), temporary)
    facts = CorpusFacts(
        schema=SCHEMA_VERSION,
        key=key,
        seed=seed,
        engines={settings.key: _engine(settings, table) for settings in recipe.engines},
        casting=casting.figures if casting else None,
        cells=table.num_rows,
        renditions=table.filter(pc.field("copy") == 0).num_rows,
        splits=dict(sorted(Counter(table["split"].to_pylist()).items())),
        shard_size=recipe.shard_size,
        failed=len(failed),
        hours=round(pc.sum(made["duration"]).as_py() / 3600, 3),
    )
    write_json(folder / ABOUT, facts.model_dump(by_alias=True))
    write_bytes(folder / CARD, corpus_card(folder).encode())


def _forget_unrendered(shards: dict[Path, pa.Table]) -> None:
    """Delete the shards with cells that could not be rendered, so that a fixed engine gets another try.

    What was rendered and rejected was measured; it would be rejected again.
    """
    unrendered = pc.field("error").is_valid() & pc.field("clipped_share").is_null()
    for path, table in shards.items():
        if table.filter(unrendered).num_rows:
            path.unlink()


def _engine(settings: EngineSettings, table: pa.Table) -> EngineFacts:
    engine = load_engine(settings)
    used = set(table.filter(pc.field("engine") == settings.key)["voice"].unique().to_pylist())
    voices = [VoiceFacts(**vars(voice)) for voice in engine.voices() if voice.name in used]
    return EngineFacts(version=engine.version, licence=engine.licence, voices=tuple(voices))
