"""Sound from standard input: a pipe or a file, with a header that says how long it is or none that does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.support.sounds import encoded, riff, voiced

WAVE = voiced(1.0)
PCM = (WAVE * 32767).astype("<i2")

READ = """
import sys
from intervox.applications.live import piped_chunks
from intervox.audio import resample_chunks
for chunk in resample_chunks(*piped_chunks("--raw" in sys.argv)):
    sys.stdout.buffer.write(chunk.tobytes())
"""


@pytest.mark.parametrize("way", ["pipe", "file"])
@pytest.mark.parametrize("size", [0, 2 * len(PCM), 2**32 - 1])
def test_every_sample_is_heard(way: str, size: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(PCM, data_size=size, riff_size=size))
    heard = listen(tmp_path / "a.wav", way)
    np.testing.assert_allclose(heard, WAVE, atol=1e-4)


@pytest.mark.parametrize("way", ["pipe", "file"])
def test_raw_samples_are_heard(way: str, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(PCM.tobytes())
    np.testing.assert_allclose(listen(tmp_path / "a.raw", way, "--raw"), WAVE, atol=1e-4)


def test_a_file_may_be_of_any_kind(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(encoded("flac", WAVE))
    np.testing.assert_allclose(listen(tmp_path / "a.flac", "file"), WAVE, atol=1e-4)


def listen(path: Path, way: str, *words: str) -> np.ndarray:
    """Give a file to the program: through a pipe, or as its standard input."""
    words = (sys.executable, "-c", READ, *words)
    if way == "pipe":
        done = subprocess.run(words, cwd=ROOT, input=path.read_bytes(), capture_output=True, check=True)
    else:
        with path.open("rb") as file:
            done = subprocess.run(words, cwd=ROOT, stdin=file, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)
