"""A page for each command, from what ``intervox COMMAND --help`` says.

MkDocs calls these for the site; ``pages()`` is the list of pages, by place.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from intervox.cli.app import app

FOLDER = "commands"
SECTION = "Commands, one by one"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to the navigation, after the page of all commands."""
    reference = next(part["Reference"] for part in config.nav or [] if "Reference" in part)
    place = next(at for at, page in enumerate(reference) if "Commands" in page)
    reference.insert(place + 1, {SECTION: [{title: path} for path, (title, _) in pages().items()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages themselves."""
    for path, (_, content) in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


@cache
def pages() -> dict[str, tuple[str, str]]:
    """Return for each page its place among the sources, its title and its Markdown."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        f"{FOLDER}/{title.replace(' ', '-')}.md": (title, _page(title, command))
        for name, group in commands.items()
        for title, command in _with_below(name, group)
    }


def _with_below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command, or those of a group."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for each, inner in below.items():
        yield f"{name} {each}", inner


def _page(title: str, command: Any) -> str:
    context = typer.Context(command, info_name=f"intervox {title}")
    usage = f"intervox {title} {' '.join(command.collect_usage_pieces(context))}"
    about, _, examples = (command.help or "").partition("\b\n")
    parts = [f"# {title}", f"```text\n{usage}\n```", _markdown(about.strip())]
    if examples.strip():
        parts.append(f"## Examples\n\n```text\n{examples.strip()}\n```")
    for kind, heading in (("argument", "Arguments"), ("option", "Options")):
        records = [p.get_help_record(context) for p in command.params if p.param_type_name == kind]
        rows = [f"| `{_cell(name)}` | {_markdown(_cell(said))} |" for name, said in filter(None, records)]
        if rows:
            parts.append(f"## {heading}\n\n| {kind} | what it does |\n| --- | --- |\n" + "\n".join(rows))
    parts.append("[What all commands have in common](../command-line.md#what-they-have-in-common)")
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _markdown(text: str) -> str:
    """Escape what Markdown would take for a tag or for emphasis, outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>*_])", r"\\\1", part) for part in parts)
