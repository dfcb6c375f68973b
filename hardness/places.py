"""Languages and places that trip programs up: locales, long paths, spaces, other scripts."""

import os
import shutil
from pathlib import Path

from hardness.common import Tally, difference, digests, intervox, make_clips, make_run, scaled

LOCALES: tuple[dict[str, str], ...] = (
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    {"LC_ALL": "tr_TR.ISO-8859-9", "PYTHONUTF8": "0"},
    {"LC_ALL": "de_DE.UTF-8"},
)
"""A locale that the machine lacks is what Python falls back from; ``LOCPATH`` may name a folder of some."""

NAMES = (
    "with spaces and 'quotes' \" too",
    "Ünïcödé ſtraße İıŞş",
    "日本語の音声",
    "عربي",
    "emoji 🎙️👩🏽‍🎤",
    "e\u0301 decomposed",
    "new\nline",
    "tab\tand\rreturn",
    "-dash --option",
    "[brackets]*?{x}",
    "%s %(x)s {0} $HOME `id` ; true",
    "#hash & <tag>",
    "trailing dot.",
    "~tilde",
)
LONGEST = 250
"""Characters of a path of one name."""


def run(share: float, folder: Path) -> list[Tally]:
    """Run commands in every locale, and from and into every kind of place."""
    locales, names, paths = (
        Tally("locales"),
        Tally("names of files and folders"),
        Tally("paths of 250 and more"),
    )
    wanted = digests(make_run(folder))
    for env in LOCALES[: scaled(len(LOCALES), share)]:
        _everything(locales, folder / "Yazı İş", env)
    runs = Tally("`run mini` in odd places")
    for env in LOCALES[: scaled(4, share)]:
        work = folder / "ı İ 日本" / "run"
        shutil.rmtree(work, ignore_errors=True)
        ended = intervox("run", "mini", "--folder", work, cwd=folder, env=env)
        runs.add(difference(digests(work), wanted) if ended.code == 0 else ended.outcome, str(env))
    for name in NAMES[: scaled(len(NAMES), share)]:
        _everything(names, folder / "names" / name, {})
    for length in (LONGEST, 255, 1000, 3500):
        _everything(paths, _deep(folder, length), {})
    return [locales, runs, names, paths]


def _deep(folder: Path, length: int) -> Path:
    """Return a folder whose path has so many characters, in names of at most 200."""
    path = folder / "deep"
    while len(os.fsencode(path)) + 2 < length - 60:
        path /= "x" * min(200, length - 60 - len(os.fsencode(path)) - 1)
    return path


def _everything(tally: Tally, home: Path, env: dict[str, str]) -> None:
    """Embed, enrol, verify, spot and list in a folder, with names of people in other scripts."""
    shutil.rmtree(home, ignore_errors=True)
    try:
        clips = make_clips(home / "klip ı")
    except OSError:
        return  # such a name can't be on this file system
    people, person = home / "kişiler.safetensors", "Işıl İnce 日本"
    listed = home / "list.txt"
    listed.write_text("".join(f"{clip}\n" for clip in clips), encoding="utf-8", newline="")
    lines = "\n" in str(home) or "\r" in str(home)  # a list has a path on each line
    commands: list[tuple[str | Path, ...]] = [
        ("embed", clips[0]),
        ("embed", clips[0], clips[1], "--json"),
        ("embed", *clips, "--out", home / "vektörler.npz"),
        ("enrol", person, clips[0], "--into", people),
        ("verify", people, clips[1], "--speaker", person),
        ("identify", people, clips[1], "--json"),
        *([] if lines else [("embed", "--list", listed)]),
        ("spot", clips[0], "--examples", f"ışık={clips[1]}"),
    ]
    for command in commands:
        ended = intervox(*command, cwd=home if len(str(home)) < 1000 else Path("/"), env=env)
        # A pattern's characters in a name make it a pattern: that is said.
        embedded = len(clips) if command[0] == "embed" else 1
        tally.add(ended.judged(embedded), f"{home.name[:40]!r} {env}: {command[0]} {ended.error[-200:]}")
