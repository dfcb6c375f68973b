"""What the tests share: small audio, a tiny checkpoint of every family, and the mini run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from filelock import FileLock
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
CORPORA = ROOT / ".." / "shared" / "corpora"

Speech = Callable[[float, int], NDArray[np.float32]]


@pytest.fixture(scope="session")
def speech() -> Speech:
    """Make a voiced-sounding clip: ``speech(seconds, seed)``."""

    def make(seconds: float, seed: int = 0) -> NDArray[np.float32]:
        random = np.random.default_rng(seed)
        time = np.arange(round(seconds * 16_000)) / 16_000
        pitch = random.uniform(90, 220)
        tones = sum(np.sin(2 * np.pi * pitch * k * time + random.uniform(0, 6)) / k for k in range(1, 12))
        envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)
        return np.asarray(0.1 * tones * envelope + 0.003 * random.normal(size=len(time)), np.float32)

    return make


@pytest.fixture(scope="session")
def wav(tmp_path_factory: pytest.TempPathFactory, speech: Speech) -> Path:
    """Return a one-second 16 kHz clip on disk."""
    path = tmp_path_factory.mktemp("audio") / "clip.wav"
    sf.write(path, speech(1.0, 0), 16_000)
    return path


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the real command line: ``command("run", "mini", cwd=...)``."""

    def call(*words: str, cwd: Path | None = None, **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"COLUMNS": "200"} | variables
        return subprocess.run(
            [sys.executable, "-m", "intervox", *words],
            cwd=cwd or ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
        )

    return call


@pytest.fixture(scope="session")
def mini_run(
    tmp_path_factory: pytest.TempPathFactory,
    command: Callable[..., "subprocess.CompletedProcess[str]"],
    worker_id: str,
) -> Path:
    """Return the folder of an undisturbed run of the mini recipe, which all workers share."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    folder = shared / "mini"
    with FileLock(shared / "mini.lock"):
        if not (folder / "report.html").exists():
            done = command("run", "mini", "--folder", str(folder))
            assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Return the folder of human recordings, or skip where it is missing."""
    if not CORPORA.is_dir():
        pytest.skip("human recordings are not here: ../shared/corpora is missing")
    return CORPORA
