"""Check prose against the word list: Markdown pages, and docstrings, comments and messages in Python.

``python tools/prose.py [PATH ...]`` prints ``file:line: found; write ...`` for each hit and exits with code 1
if there is any. Without paths it checks all pages and sources of the repository. It needs no network.
"""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = Path(__file__).with_suffix(".toml")
CHECKED = (
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md"),
    "docs/**/*.md",
)
SOURCES = ("src/**/*.py", "benchmarks/*.py", "hardness/*.py", "tools/*.py", "docs/*.py", "examples/*.py")

_CODE = re.compile(
    r"^(?P<fence>```+|~~~+).*?^(?P=fence)[ \t]*$"  # a block
    r"|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"  # a span
    r"|\]\([^)\s]*\)"  # where a link leads
    r"|<!--.*?-->|<[^<>\n]+>"
    r"|https?://\S+"
    r"|\{[^{}\n]*\}"  # a value in a message
    r"|^ *(?:>>>|\.\.\.) .*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Rule:
    """What not to write, what to write, and where that is checked."""

    pattern: re.Pattern[str]
    write: str
    kinds: tuple[str, ...]
    messages: bool


def rules(path: Path = RULES) -> list[Rule]:
    """Read the word list."""
    return [
        Rule(
            re.compile(rule["pattern"], re.IGNORECASE),
            rule["write"],
            (rule["in"],) if "in" in rule else ("markdown", "python"),
            rule.get("messages", True),
        )
        for rule in tomllib.loads(path.read_text(encoding="utf-8"))["rule"]
    ]


def without_code(text: str) -> str:
    """Blank out what is no prose, so that lines keep their numbers."""
    return _CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def prose_of_python(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield by line the docstrings and comments of a module, and, marked as messages, its other strings."""
    docstrings = {
        (node.value.lineno, node.value.col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("# type:", "# noqa")):
            yield token.start[0], token.string, False
        elif tokenize.tok_name[token.type] in ("STRING", "FSTRING_MIDDLE") and " " in token.string:
            yield token.start[0], token.string, token.start not in docstrings


def problems(path: Path, checks: Iterable[Rule]) -> Iterator[tuple[int, str, str]]:
    """Yield the line, what is written there, and what to write."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        kind, said = (
            "python",
            [(first, without_code(part), own) for first, part, own in prose_of_python(text)],
        )
    else:
        kind, said = "markdown", [(1, without_code(text), False)]
    for rule in checks:
        if kind not in rule.kinds:
            continue
        for first, part, message in said:
            if message and not rule.messages:
                continue
            for found in rule.pattern.finditer(part):
                line = first + part.count("\n", 0, found.start())
                yield line, " ".join(found[0].split()), rule.write


def main(words: list[str]) -> int:
    """Check the files named, or all."""
    checks = rules()
    paths = [Path(word) for word in words] or sorted(
        path for pattern in (*CHECKED, *SOURCES) for path in ROOT.glob(pattern)
    )
    count = 0
    for path in paths:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        for line, found, write in sorted(problems(path, checks)):
            print(f"{shown}:{line}: {found!r}: write {write}")
            count += 1
    print(f"{len(paths)} files, {count} problems", file=sys.stderr)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
