"""Files of a run as a power cut leaves them: empty, cut off, or zeros from some block on.

Files are flushed to the disk before they get their names, so a power cut should leave no such file. Where
it does, on a disk that lies about it, the same command must end in the same bytes or say what to delete.
"""

import random
import shutil
from pathlib import Path

from hardness.common import Tally, difference, digests, intervox, make_run, scaled

FILES = 100
BLOCK = 4096
HOWS = ("empty", "cut", "zeroed", "zeros from a block on")


def run(share: float, folder: Path) -> list[Tally]:
    """Tear one file of a finished run, take away what came after it, and run the same command again."""
    undisturbed = make_run(folder)
    wanted, chance = digests(undisturbed), random.Random("power")
    tallies = {how: Tally(f"a file {how}") for how in HOWS}
    work = folder / "torn"
    names = sorted(wanted)
    for number in range(scaled(FILES, share)):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(undisturbed, work)
        name, how = chance.choice(names), HOWS[number % len(HOWS)]
        tear(work / name, how, chance)
        for last in ("metrics.json", "report.html"):  # the power went before they were written
            if last != name:
                (work / last).unlink()
        ended = intervox("run", "mini", "--folder", work, cwd=folder)
        outcome = difference(digests(work), wanted) if ended.code == 0 else ended.outcome
        tallies[how].add(outcome, f"{name}, {how}")
    return list(tallies.values())


def tear(path: Path, how: str, chance: random.Random) -> None:
    """Leave a file as a disk might that lost its power."""
    content = path.read_bytes()
    if how == "empty":
        content = b""
    elif how == "cut":
        content = content[: chance.randrange(max(1, len(content)))]
    elif how == "zeroed":
        content = bytes(len(content))
    else:
        start = BLOCK * chance.randrange(1 + len(content) // BLOCK)
        content = content[:start] + bytes(len(content) - start)
    path.write_bytes(content)
