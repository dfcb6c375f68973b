"""Thousands of damaged files: each is a finite waveform or one sentence, quickly and in little memory."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.damage import SECONDS
from tests.support.sounds import MEDIA_KINDS, SNDFILE_KINDS

ROOT = Path(__file__).parents[2]
COUNT = int(os.environ.get("INTERVOX_FUZZ_COUNT", "250"))
"""Of files of each kind."""

FIRST = int(os.environ.get("INTERVOX_FUZZ_SEED", "0"))


def has_encoder(kind: str) -> bool:
    try:
        import av
    except ImportError:
        return False
    return MEDIA_KINDS[kind][1] in av.codecs_available


def results(kind: str) -> list[dict[str, object]]:
    """Run workers until all seeds are done; one that dies of a seed is followed by another."""
    found: list[dict[str, object]] = []
    seed, end = FIRST, FIRST + COUNT
    while seed < end:
        words = [sys.executable, "-m", "tests.support.damage", kind, str(seed), str(end - seed)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=600)
        assert "Traceback" not in done.stderr, done.stderr[-2000:]  # of a callback that Python ignores
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found += [line for line in lines if "outcome" in line]
        if not done.returncode:
            break
        assert lines, done.stderr[-2000:]
        seed = lines[-1]["seed"]
        found.append({"seed": seed, "outcome": f"ends the process ({done.returncode})", "seconds": SECONDS})
        seed += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*sorted(SNDFILE_KINDS), *sorted(MEDIA_KINDS)])
def test_damaged_files_are_sound_or_a_sentence(kind: str) -> None:
    if kind in MEDIA_KINDS and not has_encoder(kind):
        pytest.skip(f"no encoder of {kind} here")
    found = results(kind)
    counts = Counter(str(line["outcome"]) for line in found)
    slowest = max(float(str(line["seconds"])) for line in found)
    print(f"{kind}: {dict(counts)}, slowest {slowest:.2f} s")
    assert len(found) == COUNT
    bad = [line for line in found if line["outcome"] not in ("read", "refused")]
    assert not bad, f"seeds of {kind}: {bad}"
    # Neither everything passes, nor nothing.
    assert counts["read"]
    assert counts["refused"]
