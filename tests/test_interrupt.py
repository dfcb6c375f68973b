"""Ctrl-C: every command ends within two seconds, whatever it is computing, and says what is kept."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import ROOT

SAID = "the computing has begun"

SCRIPT = f"""
import hashlib, sys, time
from joblib import Parallel, delayed
from intervox.parallel import Pool, ended_by_interrupt, run_jobs

def native(_):
    # Minutes without the interpreter: no exception gets in. One write, as two threads say it at once.
    print({SAID!r} + "\\n", end="", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)

def asleep(_):
    print({SAID!r}, flush=True)
    time.sleep(100)

WORK = {{
    "native": lambda: native(0),
    "threads": lambda: Parallel(n_jobs=2, prefer="threads")(delayed(native)(n) for n in range(4)),
    "workers": lambda: run_jobs(native, range(4), 4, Pool(2), print),
    "sleeping workers": lambda: run_jobs(asleep, range(4), 4, Pool(2), print),
    "import": lambda: __import__("importing"),
}}

def interrupted():
    print("interrupted", file=sys.stderr)

if __name__ == "__main__":
    with ended_by_interrupt(interrupted):
        try:
            WORK[sys.argv[1]]()
        except KeyboardInterrupt:
            sys.exit(130)  # as Typer does
"""


IMPORTED = f"""
import os, time
print({SAID!r}, flush=True)
try:
    time.sleep(100)
except KeyboardInterrupt:
    os.abort()  # as a native module does, which is initialised while the exception comes
"""


def interrupt(process: "subprocess.Popen[str]", number: int = signal.SIGINT) -> tuple[float, str]:
    """Do as a terminal does at Ctrl-C, or send another signal: seconds until the end, standard error."""
    begun = time.monotonic()
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return time.monotonic() - begun, error


@contextmanager
def started(*words: str, cwd: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run Python as the leader of a group of processes, of which none is left after a failed test."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has told them to ignore interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_alive(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("work", "number"),
    [
        *((work, signal.SIGINT) for work in ("native", "threads", "workers", "sleeping workers", "import")),
        *((work, signal.SIGTERM) for work in ("native", "threads", "workers")),
    ],
)
def test_nothing_that_runs_holds_up_an_interrupt(work: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "importing.py").write_text(IMPORTED)
    with started("script.py", work, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == SAID
        seconds, error = interrupt(process, number)
        assert process.returncode == 128 + number
        assert error.strip() == "interrupted"
        assert seconds < 2
        # Nor do its workers go on without it: the group that they share is empty.
        deadline = time.monotonic() + 5
        while is_alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_alive(process.pid)


def test_only_what_resumes_is_said_to_resume(tmp_path: Path, wav: Path) -> None:
    with started("-m", "intervox", "embed", "--list", "-", "--json", cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{wav}\n")
        process.stdin.flush()
        assert process.stdout.readline()
        seconds, error = interrupt(process)
        assert (process.returncode, error) == (130, "interrupted\n")
        assert seconds < 2
