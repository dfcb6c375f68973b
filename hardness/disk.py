"""A disk that is full after so many bytes, and folders that may not be written, at every step."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hardness.common import (
    DONE,
    SAID,
    Ended,
    Tally,
    difference,
    digests,
    ended,
    environment,
    intervox,
    make_clips,
    make_run,
    scaled,
    words,
)

STEPS = {"synth": "corpus", "extract": "features", "refine": "model", "evaluate": "metrics.json"}
"""Step to what it writes."""

LIMITS = 60
"""How many sizes of the largest file are tried for each step."""

_LIMITED = """
import resource, signal, sys
from intervox.cli.app import main
# Writing past the limit then fails with an error, as on a full disk, and not with a signal.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = ["intervox", *sys.argv[2:]]
main()
"""


def run(share: float, folder: Path) -> list[Tally]:
    """Let writes fail from some size on, then without a limit: the same bytes; then forbid them."""
    undisturbed = make_run(folder)
    wanted = digests(undisturbed)
    full, small = Tally("disk full, a step of `run mini`"), Tally("disk full, `enrol` and `embed`")
    for step, made in STEPS.items():
        for number in range(scaled(LIMITS // len(STEPS), share)):
            work = _before(step, undisturbed, folder / "full")
            limit = 200 * 4**number % 3_000_000 + 37 * number
            first = _limited(limit, "run", "mini", "--folder", work, cwd=folder)
            outcome = first.outcome
            if outcome in (SAID, DONE):
                again = intervox("run", "mini", "--folder", work, cwd=folder)
                outcome = difference(digests(work), wanted) if again.code == 0 else again.outcome
            full.add(outcome, f"{step} ({made}), {limit} bytes")
    clips = make_clips(folder / "clips")
    for number in range(scaled(40, share)):
        work = folder / "small"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        limit = 53 * number
        commands: list[tuple[str | Path, ...]] = [
            ("enrol", "alice", clips[0], "--into", "people.safetensors"),
            ("embed", *clips, "--out", "vectors.npz"),
            ("embed", *clips, "--space", "speaker", "--out", "vectors.npy"),
        ]
        for given in commands:
            first = _limited(limit, *given, cwd=work)
            left = list(work.glob(".*.tmp"))
            small.add("leaves temporary files" if left else first.outcome, f"{given}, {limit} bytes")
    return [full, small, _tmpfs(folder), _read_only(undisturbed, folder, clips)]


def _before(step: str, undisturbed: Path, work: Path) -> Path:
    """Copy a run, and take away what a step and those after it have written."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(undisturbed, work)
    order = list(STEPS)
    for later in order[order.index(step) :]:
        path = work / STEPS[later]
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in ("report.html", "metrics.json"):
        (work / name).unlink(missing_ok=True)
    return work


def _limited(limit: int, *words: str | Path, cwd: Path) -> Ended:
    """Run a command that can't write files larger than some bytes."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(limit), *map(str, words)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        errors="replace",
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _tmpfs(folder: Path) -> Tally:
    """Fill a file system of some megabytes by a run, where this user may mount one."""
    tally, place = Tally("disk full, a file system of 6 MB"), folder / "tmpfs"
    place.mkdir(exist_ok=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], capture_output=True
    ).returncode:
        return tally
    try:
        for _ in range(2):
            end = intervox("run", "mini", "--folder", place / "run", cwd=folder)
            tally.add(end.outcome if end.code else "ends well on a full disk", "run mini")
    finally:
        subprocess.run(["umount", place], check=False)
    return tally


def _read_only(undisturbed: Path, folder: Path, clips: list[Path]) -> Tally:
    """Forbid to write into each folder of a run, which root could do all the same: it loses that right."""
    tally = Tally("read-only folders")
    for step in STEPS:
        work = _before(step, undisturbed, folder / "read-only")
        _forbid(work)
        tally.add(_unprivileged("run", "mini", "--folder", work, cwd=folder).outcome, step)
        _allow(work)
        shutil.rmtree(work)
    closed = folder / "closed"
    closed.mkdir(exist_ok=True)
    _forbid(closed)
    for given in (
        ("enrol", "alice", clips[0], "--into", closed / "people.safetensors"),
        ("embed", clips[0], "--out", closed / "vectors.npz"),
        ("export", "--out", closed / "exported"),
        ("synth", "mini", "--folder", closed / "run"),
    ):
        end = _unprivileged(*given, cwd=folder)
        tally.add(end.outcome if end.code == 2 else f"ends with {end.code}", f"{given[0]} into it")
    _allow(closed)
    return tally


def _unprivileged(*given: str | Path, cwd: Path) -> Ended:
    """Run a command without root's right to write anywhere."""
    capabilities = "-dac_override,-dac_read_search"
    dropped = ["setpriv", "--bounding-set", capabilities, "--inh-caps", capabilities]
    env = {"INTERVOX_CACHE": str(cwd / "closed-cache")}
    return ended([*(dropped if os.geteuid() == 0 else []), *words(*given)], cwd, env)


def _forbid(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)


def _allow(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
