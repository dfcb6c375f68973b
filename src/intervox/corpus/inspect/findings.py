"""What a check of a corpus finds, and how it is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Severity = Literal["error", "warning", "info"]

MAX_EXAMPLES = 5
_COLOURS = {"error": "bold red", "warning": "yellow", "info": "dim"}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a corpus, or worth knowing about it.

    Attributes
    ----------
    severity
        An ``error`` makes training or evaluation on the corpus wrong, a ``warning`` may make it
        worse, an ``info`` is a fact.
    what
        One sentence.
    mend
        How to put it right.
    examples
        Where it was seen, at most five; of an ``info``, the particulars.
    """

    severity: Severity
    what: str
    mend: str = ""
    examples: tuple[str, ...] = ()


def finding(severity: Severity, what: str, mend: str = "", examples: Iterable[Any] = ()) -> Finding:
    """Make a finding that keeps the first few examples."""
    shown = tuple(str(example) for example, _ in zip(examples, range(MAX_EXAMPLES), strict=False))
    return Finding(severity, what, mend, shown)


def has_errors(findings: Sequence[Finding]) -> bool:
    """Say whether a corpus should not be used as it is."""
    return any(found.severity == "error" for found in findings)


def print_findings(title: str, findings: Sequence[Finding]) -> None:
    """Print the findings as a table, the worst first, and their counts."""
    table = Table(title=escape(title), title_justify="left", show_lines=True)
    for column in ("", "what", "examples", "how to mend it"):
        table.add_column(column, overflow="fold")
    for severity, colour in _COLOURS.items():
        for found in findings:
            if found.severity == severity:
                words = (found.what, "\n".join(found.examples), found.mend)
                table.add_row(f"[{colour}]{severity}[/]", *(escape(word) for word in words))
    console = Console()
    console.print(table)
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning")}
    console.print(" · ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items()))
