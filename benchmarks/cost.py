"""What a command costs as a whole: seconds, and the most memory that its processes held at one time.

    python benchmarks/cost.py intervox run quickstart --folder scratch/quickstart

Memory is the sum of the processes' proportional shares (Pss: a page that n processes share counts a n-th
in each), read each second, so that a peak of less than a second can be missed. What else runs on the
machine and has the same libraries loaded takes part of their pages: measure with nothing beside it.
Linux only.
"""

import argparse
import sys
import time
from contextlib import suppress

import psutil


def held(root: psutil.Process) -> int:
    """Return the bytes that a process and its descendants hold."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.Error):  # it ended meanwhile
            total += process.memory_full_info().pss
    return total


def watch(command: list[str]) -> tuple[int, float, int]:
    """Run a command; return its exit code, its seconds, and the most bytes that it held."""
    begun, most = time.monotonic(), 0
    with psutil.Popen(command) as process:
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                most = max(most, held(process))
            with suppress(psutil.TimeoutExpired):
                process.wait(timeout=1)
    return process.returncode, time.monotonic() - begun, most


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command and its words")
    asked = parser.parse_args().command
    if not asked or asked[0] == "--":
        parser.error("give a command, without -- before it")
    code, seconds, most = watch(asked)
    print(f"{seconds:,.0f} s, {most / 1e6:,.0f} MB, exit code {code}", file=sys.stderr)
    sys.exit(code)
