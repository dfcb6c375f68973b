"""Two processes that write into one place: each ends well or in one sentence, and the files are whole."""

import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from hardness.common import (
    DONE,
    SAID,
    Ended,
    Tally,
    difference,
    digests,
    environment,
    intervox,
    make_clips,
    make_run,
    scaled,
    words,
)

PAIRS = 10
LATER = 15.0
"""Seconds after which the second run starts at the latest, while the first is at work."""


def run(share: float, folder: Path) -> list[Tally]:
    """Enrol into one file, write one file of vectors, and make one run, two at a time."""
    clips = make_clips(folder / "clips")
    enrolments, vectors = Tally("two `enrol` into one file"), Tally("two `embed` into one file")
    for number in range(scaled(PAIRS, share)):
        work = folder / "together"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        both = [words("enrol", name, clips[n], "--into", "people.safetensors") for n, name in enumerate("ab")]
        ends = _at_once(both, work)
        shown = intervox("identify", "people.safetensors", clips[0], "--json", cwd=work)
        kept = '"a"' in shown.output and '"b"' in shown.output
        good = all(end.outcome == DONE for end in ends)
        enrolments.add(DONE if kept and good else f"loses one: {shown.output}{shown.error}", f"pair {number}")
        both = [words("embed", *clips, "--out", "vectors.npz") for _ in range(2)]
        ends = _at_once(both, work)
        once = intervox("embed", *clips, "--out", "once.npz", cwd=work)
        same = (work / "once.npz").read_bytes() == (work / "vectors.npz").read_bytes()
        good = same and all(end.outcome == DONE for end in (*ends, once))
        vectors.add(DONE if good else f"differs: {[end.error for end in ends]}", f"pair {number}")
    return [enrolments, vectors, _runs(scaled(PAIRS // 2, share), folder)]


def _runs(count: int, folder: Path) -> Tally:
    """Start one run twice, the second while the first is at one step or another: both end well."""
    tally, work = Tally("two `run mini` into one folder"), folder / "twice"
    wanted, chance = digests(make_run(folder)), random.Random("together")
    for number in range(count):
        shutil.rmtree(work, ignore_errors=True)
        ends = _at_once([words("run", "mini", "--folder", work)] * 2, folder, chance.uniform(0, LATER))
        wrong = [end.outcome for end in ends if end.outcome not in (DONE, SAID)]
        again = intervox("run", "mini", "--folder", work, cwd=folder)
        outcome = wrong[0] if wrong else again.outcome
        tally.add(difference(digests(work), wanted) if outcome == DONE else outcome, f"pair {number}")
    return tally


def _at_once(commands: Sequence[list[str]], cwd: Path, apart: float = 0) -> list[Ended]:
    """Start commands some seconds apart, and wait for all of them."""
    started: list[subprocess.Popen[str]] = []
    for command in commands:
        if started:
            time.sleep(apart)
        process = subprocess.Popen(
            command, cwd=cwd, env=environment(), text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
    said = [process.communicate() for process in started]
    return [Ended(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]
