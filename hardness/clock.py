"""A clock that jumps: years back or ahead, and in the middle of a run. Needs a C compiler."""

import shutil
import subprocess
import time
from pathlib import Path

from hardness.common import (
    ROOT,
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

HOUR, DAY, YEAR = 3600, 86_400, 31_557_600
JUMPS = (-40 * YEAR, -DAY, -HOUR, HOUR, DAY, 40 * YEAR)
"""Seconds from now."""


def run(share: float, folder: Path) -> list[Tally]:
    """Run ``mini`` while the clock jumps every few seconds, and commands under wrong clocks."""
    jumping, wrong = Tally("a clock that jumps, `run mini`"), Tally("a wrong clock")
    if not (compiler := shutil.which("cc")):
        print("  no C compiler is here: no clocks were tried", flush=True)
        return [jumping, wrong]
    library, dial = folder / "clock.so", folder / "clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, ROOT / "hardness" / "clock.c"], check=True)
    env = {"LD_PRELOAD": str(library), "CLOCK_DIAL": str(dial)}
    undisturbed = digests(make_run(folder))
    work = folder / "jumping"
    for number in range(scaled(3, share)):
        shutil.rmtree(work, ignore_errors=True)
        outcome = _jumping(work, dial, folder, env)
        same = difference(digests(work), undisturbed)
        jumping.add(same if outcome == "done" else outcome, f"run {number}")
    clips = make_clips(folder / "clips")
    clocks = (-time.time() + DAY, 12 * YEAR, -30 * YEAR, 10 * YEAR)  # the first is of January 1970
    for clock in clocks[: scaled(len(clocks), share)]:
        dial.write_text(f"{clock:.0f}\n")
        people = folder / "clocked.safetensors"
        people.unlink(missing_ok=True)
        for given in (
            ("verify", clips[0], clips[1]),
            ("enrol", "alice", clips[0], "--into", people),
            ("verify", people, clips[1]),
            ("corpus", "plan", "mini"),
        ):
            wrong.add(intervox(*given, cwd=folder, env=env).outcome, f"{clock:.0f} s, {given[0]}")
    return [jumping, wrong]


def _jumping(work: Path, dial: Path, folder: Path, env: dict[str, str]) -> str:
    """Run ``mini`` under a clock that another process sets anew every two seconds."""
    dial.write_text("0\n")
    process = subprocess.Popen(
        words("run", "mini", "--folder", work),
        cwd=folder,
        env=environment(**env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    jumps = 0
    while process.poll() is None:
        dial.write_text(f"{JUMPS[jumps % len(JUMPS)]}\n")
        jumps += 1
        time.sleep(2)
    assert process.stderr is not None
    error = process.stderr.read()
    return "done" if process.returncode == 0 else f"ends badly: {error[-500:]}"
