"""A small corpus in the format that ``intervox synth`` writes, made of tones, to be broken in tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from intervox.audio import encode_flac
from intervox.clips.schema import CELL_SCHEMA, SHARD_SCHEMA
from intervox.storage import write_json

SHARD_SIZE = 8
TEXTS = ("yes", "a blue boat", "The cat sat.", "<script>alert('x')</script> & more")
Row = dict[str, Any]
Render = Callable[[Row], NDArray[np.float32]]


def tone(row: Row) -> NDArray[np.float32]:
    """Render a pitch for the speaker and a rhythm for the content; copies differ in level."""
    pitch = 100 + sum(map(ord, row["speaker"])) % 97
    time = np.arange(6000 + 300 * len(row["text"])) / 16_000
    wave = np.sin(2 * np.pi * pitch * time) * np.sin(2 * np.pi * (2 + len(row["text"]) % 5) * time)
    random = np.random.default_rng(row["cell_id"])
    return np.asarray((0.3 - 0.1 * row["copy"]) * wave + 0.001 * random.normal(size=len(time)), np.float32)


def tone_rows(render: Render = tone) -> list[Row]:
    """Make two training blocks and a test block of 2 speakers × 2 contents × 2 copies; one failed."""
    rows: list[Row] = []
    for block, split, people, texts in (
        (0, "train", "ab", (0, 3)),
        (1, "train", "ab", (1, 3)),
        (2, "test", "cd", (2, 4)),
    ):
        for person in people:
            for number in texts:
                for copy in range(2):
                    rows.append(_row(len(rows), block, split, person, number, copy))
    for row in rows:
        wave = render(row)
        row["audio"] = {"bytes": encode_flac(wave), "path": f"{row['cell_id']:08d}.flac"}
        row["duration"] = len(wave) / 16_000
    rows[5] |= {"audio": None, "duration": 0.0, "cer": None, "error": "CER 1.40 above 0.3 for text 'x'"}
    return rows


def _row(cell_id: int, block: int, split: str, person: str, number: int, copy: int) -> Row:
    return {
        "cell_id": cell_id,
        "block": block,
        "split": split,
        "speaker": f"espeak:{person}",
        "content": f"t{number}",
        "condition": "noise:pink@12dB level:-20dBFS" if copy else "clean",
        "severity": 0.4 * copy,
        "text": (*TEXTS, "another line")[number],
        "kind": "sentence",
        "language": "en-gb",
        "engine": "espeak",
        "voice": person,
        "transformation": "",
        "session": "",
        "seed": 100 + cell_id // 2,
        "copy": copy,
        "clipped_share": 0.0,
        "crest_db": 17.0 + copy,
        "evidence": 2.5,
        "cer": 0.1 * copy,
        "attempt": 1,
        "error": None,
    }


def write_corpus(folder: Path, rows: list[Row]) -> Path:
    """Write the rows as shards, with a plan and a ``corpus.json`` that agree with them."""
    (folder / "audio").mkdir(parents=True)
    for index, start in enumerate(range(0, len(rows), SHARD_SIZE)):
        table = pa.Table.from_pylist(rows[start : start + SHARD_SIZE], schema=SHARD_SCHEMA)
        pq.write_table(table, folder / "audio" / f"shard-{index:05d}.parquet")
    plan = pa.Table.from_pylist(rows, schema=SHARD_SCHEMA).select(CELL_SCHEMA.names)
    pq.write_table(plan, folder / "cells.parquet")
    voices = sorted({row["voice"] for row in rows})
    write_json(
        folder / "corpus.json",
        {
            "schema": 2,
            "key": "0123456789abcdef",
            "seed": 7,
            "engines": {
                "espeak": {
                    "version": "1.52",
                    "licence": "GPL-3.0 (the engine); its speech is free",
                    "voices": [{"name": name, "family": name.upper()} for name in voices],
                }
            },
            "cells": len(rows),
            "renditions": len(rows) // 2,
            "shard_size": SHARD_SIZE,
            "failed": sum(row["error"] is not None for row in rows),
            "hours": round(sum(row["duration"] for row in rows) / 3600, 3),
        },
    )
    return folder
