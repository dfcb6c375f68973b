"""Files that somebody made to do harm: each is refused in one sentence, and nothing is read, run or written.

Every attempt to execute something would leave the file ``pwned``; every attempt to write elsewhere would
change the folder beside. A command may take a bounded time and a bounded memory.
"""

import shutil
from pathlib import Path

from hardness.common import DONE, SAID, Ended, Tally, ended, make_clips, words
from hardness.traps import TRAPS, Trap

MEGABYTES = 3_000
"""Of address space for a command; the largest claim of a file is far beyond it."""


def run(share: float, folder: Path) -> list[Tally]:
    """Meet each trap once; there is no share of one."""
    tallies: dict[str, Tally] = {}
    clips = make_clips(folder / "clips")
    for trap in TRAPS:
        home = folder / "trap"
        shutil.rmtree(home, ignore_errors=True)
        (home / "in").mkdir(parents=True)
        (home / "secret.txt").write_text("beside, and not to be touched")
        shutil.copy(clips[0], home / "in" / "a.wav")
        command = trap.make(home / "in")
        before = _listing(home)
        limited = ["prlimit", f"--as={MEGABYTES * 2**20}", *words(*command)]
        outcome = _judged(ended(limited, home / "in"), trap)
        if list(home.rglob("pwned")):
            outcome = "executes what a file says: pwned"
        elif {path for path in _listing(home) ^ before if not path.startswith("in/")}:
            outcome = "writes elsewhere: " + ", ".join(_listing(home) ^ before)
        tally = tallies.setdefault(trap.kind, Tally(f"hostile {trap.kind}"))
        tally.add(outcome, f"{trap.name}: intervox {' '.join(command)}")
    return list(tallies.values())


def _judged(ended: Ended, trap: Trap) -> str:
    outcome = ended.outcome
    if outcome == DONE and ended.code == 0 and not trap.may_work:
        return f"is taken: {ended.output[:200]}"
    if trap.may_work and outcome == DONE:
        return DONE
    # A command over clips names each that it can't read, and says so by its exit code.
    per_clip = ended.code == 2 and "Traceback" not in ended.error and ended.error.count("\n") <= 2
    return SAID if outcome == SAID or per_clip else outcome


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
