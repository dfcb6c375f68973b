"""Embed an Audio column of Hugging Face ``datasets`` with ``map``.

``Audio(decode=False)`` hands over the files as they are: Intervox reads and resamples them itself, and no
audio decoder of ``datasets`` is needed. It works alike on a dataset of the hub or with ``streaming=True``.

Run it on clips: ``python examples/datasets_map.py vectors.parquet a.wav b.wav``
"""

import sys
from typing import Any

from datasets import Audio, Dataset
from numpy.typing import NDArray

from intervox import load_model

MODEL = load_model()


def embed(batch: dict[str, list[Any]]) -> dict[str, NDArray[Any]]:
    """Return a column of vectors a subspace for a batch of rows with a column ``audio``."""
    vectors = MODEL.encode(batch["audio"])
    return {f"embedding.{space}": rows for space, rows in vectors.items()}


def embed_files(paths: list[str]) -> Dataset:
    """Return a dataset of audio files and their vectors."""
    clips = Dataset.from_dict({"audio": paths}).cast_column("audio", Audio(decode=False))
    return clips.map(embed, batched=True, batch_size=64)


if __name__ == "__main__":
    embed_files(sys.argv[2:]).to_parquet(sys.argv[1])
