"""Commands on three clips: what tests of the command line share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.model.embedder import Embedder
from intervox.model.loading import load_model
from tests.conftest import ROOT
from tests.support.spoken import SENTENCES, spoken

Result = tuple[int, str, str]
Run = Callable[..., Result]

CLIPS = {"a": (0, 0), "b": (0, 1), "c": (7, 2)}
"""Of whom, and what: a and b have a speaker, c another."""


@cache
def default() -> Embedder:
    return load_model()


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def expected(*names: str, space: str = "speaker") -> NDArray[np.float32]:
    sources = [spoken(CLIPS[name][0], SENTENCES[CLIPS[name][1]]) for name in names]
    return default().encode(sources)[space]


def start(*words: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start the real command line with pipes on all sides."""
    return subprocess.Popen(
        [sys.executable, "-m", "intervox", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        **options,
    )
