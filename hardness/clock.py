"""A clock that jumps: years back or ahead, and in the middle of a run. Needs the library libfaketime."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from hardness.common import (
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

LIBRARY = "libfaketimeMT.so.1"
PLACES = (os.environ.get("FAKETIME_FOLDER", ""), "/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/faketime")
JUMPS = ("-40y", "-1d", "-3600", "+3600", "+1d", "+40y")
CLOCKS = ("@1970-01-02 00:00:00", "@2037-12-31 00:00:00", "-30y", "+10y")


def run(share: float, folder: Path) -> list[Tally]:
    """Run ``mini`` while the clock jumps every few seconds, and commands under wrong clocks."""
    jumping, wrong = Tally("a clock that jumps, `run mini`"), Tally("a wrong clock")
    found = next((Path(place) / LIBRARY for place in PLACES if (Path(place) / LIBRARY).is_file()), None)
    if found is None:
        print(f"  {LIBRARY} is not here: no clocks were tried", flush=True)
        return [jumping, wrong]
    undisturbed = digests(make_run(folder))
    work, dial = folder / "jumping", folder / "clock"
    for number in range(scaled(3, share)):
        shutil.rmtree(work, ignore_errors=True)
        outcome = _jumping(found, work, dial, folder)
        same = difference(digests(work), undisturbed)
        jumping.add(same if outcome == "done" else outcome, f"run {number}")
    clips = make_clips(folder / "clips")
    for clock in CLOCKS[: scaled(len(CLOCKS), share)]:
        env = {"LD_PRELOAD": str(found), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        people = folder / "clocked.safetensors"
        people.unlink(missing_ok=True)
        for given in (
            ("verify", clips[0], clips[1]),
            ("enrol", "alice", clips[0], "--into", people),
            ("verify", people, clips[1]),
            ("corpus", "plan", "mini"),
        ):
            wrong.add(intervox(*given, cwd=folder, env=env).outcome, f"{clock}, {given[0]}")
    return [jumping, wrong]


def _jumping(library: Path, work: Path, dial: Path, folder: Path) -> str:
    """Run ``mini`` under a clock that another process sets anew every two seconds."""
    dial.write_text("+0\n")
    own = environment(
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(dial),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    command = words("run", "mini", "--folder", work)
    process = subprocess.Popen(
        command, cwd=folder, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    jumps = 0
    while process.poll() is None:
        dial.write_text(f"{JUMPS[jumps % len(JUMPS)]}\n")
        jumps += 1
        time.sleep(2)
    error = process.communicate()[1]
    return "done" if process.returncode == 0 else f"ends badly: {error[-500:]}"
