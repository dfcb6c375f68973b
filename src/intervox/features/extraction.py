"""Cache what an encoder makes of many clips, shard by shard, in this process or on Ray."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from intervox.backbones.base import Backbone
from intervox.clips.source import Clip, ClipSource, check_failures
from intervox.features.encoding import EncodedShard, Encoder, encode_elsewhere, encode_shard, portable
from intervox.features.store import Features, Frames, frames_path, read_errors, shard_path, write_features
from intervox.parallel import Pool, give_back_memory, run_jobs
from intervox.progress import progress_bar
from intervox.recipe import FeatureSettings
from intervox.steps import StepFolder
from intervox.storage import check_disk, growing_npy, stable_hash, write_json

SCHEMA_VERSION = 1

_BYTES_A_NUMBER = 2
_AT_ONCE = 8
"""Shards in memory at most, however many cores there are."""
_LEAST_FRAMES = 10
"""Of a clip: a fifth of a second."""


def extract(
    source: ClipSource,
    encoder: Backbone | Encoder,
    settings: FeatureSettings,
    folder: Path,
    description: str = "extracting",
    frames: bool = False,
    pool: Pool | None = None,
) -> Features:
    """Cache the vectors of every clip of a source, or resume an earlier call.

    Some shards are decoded and encoded at once, a thread each. A clip that can't be read keeps its
    reason in the shard's ``error`` column, and has no frames.

    Parameters
    ----------
    encoder
        A backbone, whose layer means are taken as ``settings`` say, or any other encoder.
    frames
        Whether to keep every frame of a backbone beside the means, for maps that pool frames
        themselves: 2 bytes a number, so Whisper tiny (50 frames a second, 6 layers of 384) takes
        0.83 GB an hour of speech, where its means take 4.6 kB per clip. Frames that an earlier call
        kept stay; those that it left out are added.
    pool
        Ray's workers encode the shards where it is one of Ray; by default this process does. Clips are
        decoded here and written here; a backbone is loaded by each worker, under the same name.

    Raises
    ------
    IntervoxError
        More than ``settings.max_failures`` of the clips can't be read, or the disk is full.
    """
    run = settings.model_dump(exclude={"max_failures"})
    key = stable_hash([SCHEMA_VERSION, source.key, encoder.fingerprint, run])
    step = StepFolder(folder, key)
    if not step.complete or (frames and not Features(folder).has_frames):
        _extract_shards(source, encoder, settings, folder, description, frames, pool or Pool())
        # Before features.json, which declares the features usable by the next step.
        failed = list(read_errors(folder).values())
        what = f"clips of {description}"
        check_failures(failed, source.clip_count, what, settings.max_failures, source.failed)
        write_json(
            folder / "features.json",
            {
                "schema": SCHEMA_VERSION,
                "key": key,
                "source": source.key if isinstance(source.key, str) else stable_hash(source.key),
                "backbone": encoder.name,
                "fingerprint": encoder.fingerprint,
                "layers": encoder.layers,
                "dim": encoder.dim,
                "window_seconds": settings.window_seconds,
                "clips": source.clip_count,
                "frames": frames,
            },
        )
        step.finish()
    return Features(folder)


def _extract_shards(
    source: ClipSource,
    encoder: Backbone | Encoder,
    settings: FeatureSettings,
    folder: Path,
    description: str,
    frames: bool,
    pool: Pool,
) -> None:
    todo = [index for index in range(source.shard_count) if not _is_made(folder, index, frames)]
    share = source.clip_count / max(source.shard_count, 1)
    done = source.clip_count - round(share * len(todo))
    a_clip = _BYTES_A_NUMBER * encoder.layers * encoder.dim * (1 + frames * _LEAST_FRAMES)
    what = f"the features of {source.clip_count - done:,} clips"
    check_disk(what, (source.clip_count - done) * a_clip, folder, "free some, or take fewer clips")
    seconds, started = 0.0, time.monotonic()
    with progress_bar(description, source.clip_count, "clips") as bar:
        bar.advance(done)

        def keep(shard: EncodedShard) -> None:
            nonlocal seconds
            path = shard_path(folder, shard.index)
            write_features(path, shard.cell_ids, shard.means, shard.counts, shard.errors)
            seconds += shard.seconds
            bar.advance(len(shard.cell_ids), f"{seconds / (time.monotonic() - started):.0f} × real time")

        if pool.on_ray:
            work = partial(encode_elsewhere, portable(encoder), settings, frames)

            def keep_all(found: tuple[EncodedShard, list[Frames] | None]) -> None:
                shard, states = found
                with _growing(folder, shard.index, encoder, states is not None) as append:
                    for each in states or ():
                        append(each)
                keep(shard)

            run_jobs(work, _waiting(source, todo), len(todo), pool, keep_all)
        else:
            # Layers are too small for many threads: each shard has its own. A GPU encodes one while the next
            # is decoded.
            cores = torch.get_num_threads()
            threads = min(2 if torch.cuda.is_available() else _AT_ONCE, cores)

            def work_here(index: int) -> EncodedShard:
                with (
                    threadpool_limits(cores // threads, "openmp"),
                    _growing(folder, index, encoder, frames) as append,
                ):
                    clips = source.load_shard(index)
                    return encode_shard(encoder, settings, index, clips, append if frames else None)

            together = Parallel(threads, prefer="threads", return_as="generator")
            for shard in together(delayed(work_here)(index) for index in todo):
                keep(shard)
            give_back_memory()


def _is_made(folder: Path, index: int, frames: bool) -> bool:
    return shard_path(folder, index).exists() and (not frames or frames_path(folder, index).exists())


@contextmanager
def _growing(
    folder: Path, index: int, encoder: Backbone | Encoder, frames: bool
) -> Iterator[Callable[[NDArray[np.floating]], None]]:
    """Open the file of a shard's frames, where they are kept."""
    if not frames:
        yield lambda _: None
        return
    with growing_npy(frames_path(folder, index), (encoder.layers, encoder.dim), np.float16) as append:
        yield append


def _waiting(source: ClipSource, todo: Sequence[int]) -> Iterator[tuple[int, list[Clip]]]:
    """Decode a shard whenever a worker is free for it: workers need no files of this machine."""
    return ((index, source.load_shard(index)) for index in todo)
