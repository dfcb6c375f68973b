"""Run the scripts, print their counts, and write those into ``docs/hardness.md``."""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hardness.common import GOOD, ROOT, WORK, Tally

SCRIPTS = {
    "kills": "Killed at random moments",
    "power": "Files as a power cut leaves them",
    "disk": "Full disks and read-only folders",
    "damaged": "Damaged files",
    "hostile": "Hostile files",
    "crowd": "The demo page under 50 visitors",
    "together": "Two processes in one place",
    "clock": "A clock that jumps",
    "places": "Locales, paths and names",
}
PAGE = ROOT / "docs" / "hardness.md"
BEGIN, END = "<!-- counts: begin -->", "<!-- counts: end -->"


def main() -> int:
    """Run what was asked for; exit code 1 if anything ended badly."""
    parser = argparse.ArgumentParser(prog="python -m hardness", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts, such as 0.01")
    parser.add_argument("--only", choices=SCRIPTS, action="append", help="one of the scripts; repeatable")
    parser.add_argument("--no-page", action="store_true", help="leave docs/hardness.md as it is")
    given = parser.parse_args()
    results = WORK / "results"
    results.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in given.only or SCRIPTS:
        print(f"{name}: {SCRIPTS[name]}", flush=True)
        begun = time.monotonic()
        tallies: list[Tally] = importlib.import_module(f"hardness.{name}").run(given.share, WORK)
        minutes = (time.monotonic() - begun) / 60
        for tally in tallies:
            print(f"  {tally.what}: {tally.tried} tried, {dict(tally.outcomes)}", flush=True)
            failed += tally.failed
        (results / f"{name}.json").write_text(
            json.dumps(record(tallies, given.share, minutes), indent=1, ensure_ascii=False) + "\n"
        )
        if not given.no_page:
            write_page(results)
    return int(failed > 0)


def write_page(results: Path) -> None:
    """Put the counts of each script's last run into the page."""
    parts = [_machine()]
    for name, title in SCRIPTS.items():
        path = results / f"{name}.json"
        if path.exists():
            parts.append(section(name, title, json.loads(path.read_text())))
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    counts = "\n\n".join(parts)
    PAGE.write_text(f"{before}{BEGIN}\n{counts}\n{END}{after}", encoding="utf-8")


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"Python {platform.python_version()} on {platform.system()}, {cores} cores."


def record(tallies: list[Tally], share: float, minutes: float) -> dict[str, Any]:
    """Return what is kept of a script's run, for JSON."""
    return {
        "share": share,
        "minutes": round(minutes, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "tallies": [vars(tally) for tally in tallies if tally.tried],
    }


def section(name: str, title: str, found: dict[str, Any]) -> str:
    """Write the counts of a script's run in Markdown."""
    tallies = [Tally(each["what"], Counter(each["outcomes"])) for each in found["tallies"]]
    rows = ["| what | tried | " + " | ".join(GOOD) + " | wrong |", "|---|---|" + "---|" * len(GOOD) + "---|"]
    for tally in tallies:
        good = " | ".join(f"{tally.outcomes[label]:,}" for label in GOOD)
        rows.append(f"| {tally.what} | {tally.tried:,} | {good} | {tally.failed:,} |")
    share = found["share"]
    counts = "the full counts" if share == 1 else f"{share} of the full counts"
    about = f"`python -m hardness --only {name}`, {found['date']}, {counts}, {found['minutes']} minutes."
    return f"### {title}\n\n{about}\n\n" + "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
