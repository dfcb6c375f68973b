"""SIGKILL at random moments: the same command then ends in the same bytes."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from hardness.common import (
    SAME,
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

KILLS = 100


def run(share: float, folder: Path) -> list[Tally]:
    """Kill ``mini`` and ``quickstart`` on their way, and ``enrol`` at work on a file that is there."""
    count = scaled(KILLS, share)
    tallies = [_runs("mini", count, make_run(folder), folder)]
    quick = folder / "quickstart"
    if (quick / "report.html").exists():
        tallies.append(_runs("quickstart", count, quick, folder))
    return [*tallies, _enrol(count, folder / "enrol")]


def _runs(recipe: str, count: int, undisturbed: Path, folder: Path) -> Tally:
    """Kill one run again and again until it ends; begin another one until all kills are spent."""
    tally, chance = Tally(f"kills of `run {recipe}`"), random.Random(recipe)
    wanted, work = digests(undisturbed), folder / f"killed-{recipe}"
    begun = time.monotonic()
    intervox("corpus", "plan", recipe, cwd=folder)
    usual = time.monotonic() - begun  # importing, and a little work
    while tally.tried < count:
        shutil.rmtree(work, ignore_errors=True)
        kills, over = 0, False
        while tally.tried + kills < count and not over:
            moment = chance.uniform(0.5, 10) * usual
            over = _killed(words("run", recipe, "--folder", work), folder, moment)
            kills += not over
        ended = intervox("run", recipe, "--folder", work, cwd=folder)
        outcome = difference(digests(work), wanted) if ended.code == 0 else ended.outcome
        tally.add(outcome, f"after {kills} kills", kills)
        left = [path for path in work.rglob(".*") if path.name.endswith((".tmp", ".discarded"))]
        if left:
            tally.add(f"leaves temporary files: {left[:3]}", f"after {kills} kills", 0)
    return tally


def _enrol(count: int, folder: Path) -> Tally:
    """Kill an enrolment that adds to a file, which is then as before or as after."""
    tally, chance = Tally("kills of `enrol`"), random.Random("enrol")
    clips = make_clips(folder)
    people = folder / "people.safetensors"
    assert intervox("enrol", "alice", clips[0], "--into", people, cwd=folder).code == 0
    before = people.read_bytes()
    begun = time.monotonic()
    assert intervox("enrol", "bob", *clips[1:], "--into", people, cwd=folder).code == 0
    usual, after = time.monotonic() - begun, people.read_bytes()
    for number in range(count):
        people.write_bytes(before)
        moment = chance.uniform(0.3 * usual, 1.05 * usual)
        _killed(words("enrol", "bob", *clips[1:], "--into", people), folder, moment)
        found = people.read_bytes()
        if found == before and number % 5 == 0:  # the repeat costs a second each
            intervox("enrol", "bob", *clips[1:], "--into", people, cwd=folder)
            found = people.read_bytes()
            tally.add(SAME if found == after else "differs: after a repeat", f"kill {number}")
        else:
            tally.add(SAME if found in (before, after) else "torn", f"kill {number} after {moment:.2f} s")
    assert intervox("enrol", "bob", *clips[1:], "--into", people, cwd=folder).code == 0
    if left := list(folder.glob(".*.tmp")):
        tally.add(f"leaves temporary files: {left[:3]}", "after the next command", 0)
    return tally


def _killed(command: list[str], cwd: Path, seconds: float) -> bool:
    """Kill a command, and its workers with it, after some seconds; return whether it had ended before."""
    process = subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return process.wait(seconds) is not None
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return False
