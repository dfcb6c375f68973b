"""The code blocks of the README and the docs, and how each line of them is executed.

Everything is executed as it is printed, in a folder that ``desk`` fills, except for what the tables here
name, each with its reason. A table's entry that matches nothing any more is an error
(``test_documents_tables_have_no_dead_entries``).
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer
import yaml
from markdown_it import MarkdownIt

from intervox.cli import app as cli
from intervox.recipe import Recipe, load_recipe
from tests.conftest import ROOT

PARSED = {
    "intervox run paper": "the desk has its finished run",
    "intervox paper paper --genders SPEAKERS.TXT": "no such table here; `intervox paper paper` is run",
    "intervox like-for-like quickstart": "400 steps of the encoder; tests/evaluation/test_like_for_like.py",
    "intervox tables runs/quickstart --of like-for-like-all": "as above",
    "intervox run benchmarks/depth.yaml": "trains the encoder for minutes",
    "intervox sweep benchmarks/depth.yaml": "as above",
    "intervox tables runs/depth --of sweep --into docs/depth.md": "as above",
    "docs/tutorial.md: intervox export --model runs/mine/model --out exported": "docs/export.md runs one",
    "intervox assets kokoro": "downloads; tests/engines/test_engine_assets.py has its files",
    "intervox sweep default": "needs the four engines of its recipe; `intervox sweep paper` is run",
    "intervox tables runs/default --of sweep": "as above",
    "intervox synth mine.yaml --engine-pool ray": "starts Ray; tests/test_parallel.py does",
    "intervox synth mine.yaml --engine-pool ray://head-node:10001": "needs a cluster",
    "intervox extract mine.yaml --engine-pool ray": "starts Ray; tests/features/test_extraction_on_ray.py",
    "intervox extract mine.yaml --engine-pool ray://head-node:10001": "needs a cluster",
    "intervox demo": "serves until it is stopped; tests/demo/test_demo.py opens the page",
    "intervox demo --model runs/quickstart/model --port 8000": "as above",
    "intervox demo --megabytes 50 --minutes 30": "as above",
    "intervox demo --host 0.0.0.0": "as above",
}
"""Lines whose arguments are only parsed by the real command line, and why; with a page, on that one alone."""

SHOWN = {
    ". .venv/bin/activate": "there is no such environment here",
    "apt-get install flite": "changes the machine",
    "apt-get install flite festival": "as above",
    "apt-get install festvox-kdlpc16k festvox-italp16k festvox-itapc16k festvox-ru": "as above",
    "apt-get install festvox-suopuhe-lj festvox-suopuhe-mv": "as above",
    "apt-get install festvox-czech-ph festvox-czech-dita festvox-czech-krb festvox-czech-machac": "as above",
}
"""Lines that nothing here can check, and why."""

PROGRAMS = {
    "make": "`make -n` has to know the target",
    "pip": "the extras it names have to be in pyproject.toml",
    "accelerate": "starts processes; what follows `-m intervox` is parsed as a command of ours",
    "torchrun": "as accelerate",
    "python": "the benchmark has to be there; they run for minutes",
}
"""Programs that are not run, and what is checked in their place."""

ANSWERS_NO = {
    "intervox match a.wav b.wav": "one person says two things",
    "intervox match a.wav b.wav --json": "as above",
}
"""Commands whose exit code is 1, which says no, and what they say."""

HUB = {"microsoft/wavlm-base-plus": "wavlm"}
"""Hub ids, and the random checkpoint of ``tests/backbones/test_backbones.py`` that stands for each."""


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes into nested mappings; what is no mapping on both sides is replaced."""
    both = {
        key: merged(base[key], value)
        for key, value in changes.items()
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
    }
    return {**base, **changes, **both}


TINY: dict[str, Any] = {
    "corpus": {
        "engines": [{"name": "espeak", "voices": 40}],
        "texts": {"count": 60},
        "train": {"blocks": 3, "speakers": 4, "contents": 4},
        "validation": {"blocks": 0},
        "test": {"blocks": 1, "speakers": 3, "contents": 3},
        "conditions": {"rooms": 2},
    },
    "subspaces": {name: {"factor": name, "layers": [2], "dim": 16} for name in ("speaker", "content")},
    "training": {"steps": 5, "blocks_per_step": 2},
    "evaluation": {
        "protocols": ["fsdd"], "bootstrap": 10, "episodes": 5, "max_trials": 1000, "baselines": ["lda"],
        "seeds": 1, "running_minutes": 0.1, "severities": {"disturbances": []},
    },
}  # fmt: skip
"""What stands for the recipes of the package, with their names and the variants of their sweeps."""

BUILT_IN = ("quickstart", "standard", "paper", "default", "mini", "own-audio", "neural")

_ALONE = TINY["evaluation"] | {"protocols": []}
_BRIEF = {name: TINY[name] for name in ("corpus", "training")}

SMALLER: dict[str, dict[str, Any]] = {
    "mine.yaml": merged(TINY, {"corpus": {"casting": None, "quality": {"recognise": False}}}),
    "own.yaml": {"corpus": {"train": {"blocks": 3}, "test": {"blocks": 1}, "conditions": {"rooms": 2}}},
    "language.yaml": merged(
        _BRIEF | {"evaluation": _ALONE},
        {
            "corpus": {"engines": [{"name": "espeak", "voices": 48, "languages": ["en", "de", "es"]}]},
            "subspaces": {"language": {"layers": [2]}},
        },
    ),
    "style.yaml": TINY | {"evaluation": _ALONE},
    "mood.yaml": {"subspaces": {"mood": {"layers": [2]}}},
    "wavlm.yaml": _BRIEF | {"evaluation": _ALONE},
    "deep.yaml": merged(TINY, {"training": {"steps": 2}, "evaluation": _ALONE}),
    "again.yaml": TINY | {"evaluation": _ALONE},
}
"""Recipes on a page that take too long: they are checked as printed, and run with these changes."""


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def lines(self) -> list[str]:
        """Return a shell block's commands, without comments, continued lines joined."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in map(_without_comment, joined.splitlines()) if line]


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line).strip()


def pages() -> list[Path]:
    """Return the README and every page of the site."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page; one that is only indented has no language."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    name = str(page.relative_to(ROOT))
    return [
        Block(name, (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


class Reader:
    """Somebody who types what a page says, in a folder of their own.

    Parameters
    ----------
    folder
        Filled by the ``desk`` fixture.
    hub
        Hub id to the checkpoint that stands for it.
    """

    def __init__(self, folder: Path, hub: Mapping[str, str]) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self._hub = hub

    def copy_recipes(self, page: Path) -> None:
        """Write the recipes of a page, which may come after the first command that takes one."""
        for block in blocks(page):
            if block.language == "yaml" and block.text.startswith("# "):
                self.follow(block)

    def follow(self, block: Block) -> None:
        """Execute a block; an ``AssertionError`` says where the page is wrong."""
        text = block.text
        for hub_id, checkpoint in self._hub.items():
            text = text.replace(hub_id, checkpoint)
        match block.language:
            case "python":
                self._python("\n" * block.line + text)  # a traceback's lines are then the page's
            case "yaml":
                self._write_or_check(text)
            case "sh":
                for line in Block(block.page, block.line, "sh", text).lines():
                    if line in PARSED or f"{block.page}: {line}" in PARSED:
                        parse(expand(line, self.folder)[1:])
                    else:
                        self._type(line)
            case "text":
                pass
            case other:
                raise AssertionError(f"a block of {other!r}: fence it as python, sh, yaml or text (output)")

    def _python(self, code: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, "the page", "exec"), self.names)

    def _write_or_check(self, text: str) -> None:
        named = re.match(r"# (\S+\.yaml)\n", text)
        if not named:
            Recipe.model_validate(yaml.safe_load(text))
            return
        path = self.folder / named[1]
        path.write_text(text, encoding="utf-8")
        load_recipe(path)
        if path.name in SMALLER:
            smaller = merged(yaml.safe_load(text), SMALLER[path.name])
            path.write_text(yaml.safe_dump(smaller), encoding="utf-8")

    def _type(self, line: str) -> None:
        if line in SHOWN:
            return
        program = next(word for word in shlex.split(line) if "=" not in word)
        answered = re.fullmatch(r"(.*) (&&|\|\|) echo .*", line)
        command, then = answered.groups() if answered else (line, "")
        if program in PROGRAMS:
            check_program(line)
        elif program == "intervox" and not re.search(r"[|<>;]|&&", command):
            code, said = intervox(expand(command, self.folder)[1:])
            expected = (0, 1) if then == "||" else (1,) if line in ANSWERS_NO else (0,)
            assert code in expected, f"{line!r} gave {code}: {said}"
        else:
            run_in_shell(line, self.folder)


def expand(line: str, folder: Path) -> list[str]:
    """Split a line as the shell does: quotes, globs, variables."""
    shell = subprocess.run(
        ["bash", "-c", f'intervox() {{ printf "%s\\0" intervox "$@"; }}; {line}'],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return shell.stdout.split("\0")[:-1]


def intervox(words: list[str]) -> tuple[int, str]:
    """Run the command line in this process; returns the exit code and what was said on an error."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", ["intervox", *words]):
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                cli.main()
        except SystemExit as leaving:
            return int(leaving.code or 0), err.getvalue()
    return 0, ""


def parse(words: list[str]) -> None:
    """Let the real command line parse a command without running it."""
    command = typer.main.get_command(cli.app)
    context = command.make_context("intervox", [], resilient_parsing=True)
    while hasattr(command, "get_command"):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name!r}"
        command = found
        if hasattr(command, "get_command"):
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
    command.make_context(command.name, words, parent=context)


def check_program(line: str) -> None:
    """Check what ``PROGRAMS`` says of a line."""
    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[0] == "pip":
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = {extra for named in re.findall(r"intervox\[(.*?)\]", line) for extra in named.split(",")}
        assert asked <= known.keys(), f"no extras {asked - known.keys()}"
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"{words[1]} is not there"
    else:
        parse(words[words.index("intervox") + 1 :])


def run_in_shell(line: str, folder: Path) -> None:
    """Run a pipeline, or another program, with ``intervox`` on the path."""
    programs = folder / ".bin"
    programs.mkdir(exist_ok=True)
    (programs / "intervox").write_text(f'#!/bin/sh\nexec {sys.executable} -m intervox "$@"\n')
    (programs / "intervox").chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == (1 if line in ANSWERS_NO else 0), f"{line!r}: {done.stderr}"


def small_recipes(folder: Path) -> Path:
    """Write the recipes that stand for the built-in ones."""
    folder.mkdir()
    for name in BUILT_IN:
        own = load_recipe(name).model_dump(mode="json")
        recipe = TINY | {"name": name, "sweep": own["sweep"]}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def unknown_entries() -> Iterator[str]:
    """Name the entries of the tables that match nothing on any page."""
    found = [block for page in pages() for block in blocks(page)]
    shell = [block for block in found if block.language == "sh"]
    lines = {line for block in shell for line in block.lines()}
    on_pages = lines | {f"{block.page}: {line}" for block in shell for line in block.lines()}
    everything = "\n".join(block.text for block in found)
    programs = {shlex.split(re.sub(r"^([A-Z_]+=\S+ )+", "", line))[0] for line in lines}
    yield from (line for table in (PARSED, SHOWN, ANSWERS_NO) for line in table if line not in on_pages)
    yield from (program for program in PROGRAMS if program not in programs)
    yield from (hub_id for hub_id in HUB if hub_id not in everything)
    yield from (name for name in SMALLER if f"# {name}\n" not in everything)
