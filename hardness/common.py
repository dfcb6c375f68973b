"""What the scripts share: commands in processes of their own, what their ends are worth, and the counts."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
from tests.support.sounds import voiced

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "hardness"
"""Where everything is tried."""

RATE = 16_000
SECONDS = 900.0
"""After so long a command counts as hung."""

SAME = "same bytes"
SAID = "one sentence"
DONE = "done"
GOOD = (SAME, SAID, DONE)

_BAR = re.compile(r" [\d,]+/[\d,]+ .*[\d-]:[\d-]{2}:[\d-]{2}\s*$")
"""The line of a progress bar, with its times."""

CLOCKED = ("log.jsonl", "report.html")
"""Of a run's folder: files with times in them, which no two runs have in common."""


@dataclass
class Tally:
    """The counts of one thing that was tried.

    Attributes
    ----------
    outcomes
        Each outcome to its number; those that are not in ``GOOD`` are failures.
    wrong
        The first few failures, with what is needed to repeat them.
    """

    what: str
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, outcome: str, place: str = "", number: int = 1) -> None:
        """Count an outcome; ``place`` says what it was of."""
        label = outcome.partition(": ")[0]
        self.outcomes[label] += number
        if label not in GOOD:
            print(f"  WRONG {self.what}, {place}: {outcome}", flush=True)
            self.wrong = [*self.wrong, f"{place}: {outcome}"][:20]

    @property
    def tried(self) -> int:
        """How many there were."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """How many ended neither well nor in one sentence."""
        return sum(count for name, count in self.outcomes.items() if name not in GOOD)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    error: str

    @property
    def outcome(self) -> str:
        """``done``, ``one sentence``, or what is wrong about the end."""
        return self.judged(1)

    def judged(self, clips: int) -> str:
        """Judge a command that may say one sentence for each of its clips."""
        if "Traceback" in self.error or self.code < 0:
            return f"ends badly: code {self.code}, {self.error[-600:]}"
        if self.code in (0, 1):
            return DONE
        lines = [
            line
            for line in self.error.splitlines()
            if not line.startswith("warning: ") and not _BAR.search(line)
        ]
        said = [line for line in lines if line.startswith("error: ")]
        if self.code == 2 and 1 <= len(said) <= clips and lines == said and max(map(len, said)) < 500:
            return SAID
        return f"says too much or nothing: code {self.code}, {self.error[-600:]}"


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a command: one thread, no human recordings, no hub."""
    no_corpora = WORK / "no-corpora"
    no_corpora.mkdir(parents=True, exist_ok=True)
    own = {"PYTHONPATH": f"{ROOT / 'src'}", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return os.environ | own | {"INTERVOX_DATA": str(no_corpora), "COLUMNS": "200"} | variables


def words(*given: str | Path) -> list[str]:
    """Return the words that start a command of ours."""
    return [sys.executable, "-m", "intervox", *map(str, given)]


def intervox(*given: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end."""
    return ended(words(*given), cwd, env)


def ended(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a program to its end; one that hangs is killed, which its code then says."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment(**(env or {})),
            capture_output=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Ended(-9, "", f"hung for {SECONDS:.0f} s")
    return Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a run that holds no times."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in CLOCKED
    }


def difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Say ``same bytes``, or which files differ."""
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return f"differs: {', '.join(names[:5])}" if names else SAME


def make_clips(folder: Path, count: int = 4) -> list[Path]:
    """Write short clips that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"clip{number}.wav" for number in range(count)]
    noise = np.random.default_rng(0)
    for number, path in enumerate(paths):
        wave = voiced(1.0 + 0.1 * number)
        with path.open("wb") as file:  # libsndfile itself opens no path of a thousand characters
            sf.write(file, wave + noise.normal(0, 0.003, len(wave)), RATE, format="WAV")
    return paths


def make_run(folder: Path) -> Path:
    """Return the folder of an undisturbed run of ``mini``, made once."""
    done = folder / "mini"
    if not (done / "report.html").exists():
        print("an undisturbed run of mini, to compare with", flush=True)
        made = intervox("run", "mini", "--folder", done, cwd=folder)
        if made.code:
            raise RuntimeError(made.error)
    return done


def scaled(number: int, share: float) -> int:
    """Return a share of a count, and at least one."""
    return max(1, round(number * share))
