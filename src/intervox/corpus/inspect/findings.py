"""What a check of a corpus finds, and how it is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from intervox.tables import Table

Severity = Literal["error", "warning", "info"]

MAX_EXAMPLES = 5


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


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """Arrange the findings as a table, the worst first, with their counts as its note."""
    worst_first = sorted(findings, key=lambda found: get_args(Severity).index(found.severity))
    rows = [[found.severity, found.what, "\n".join(found.examples), found.mend] for found in worst_first]
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning")}
    note = " · ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    return Table(title, note, ["", "what", "examples", "fix"], rows, labels=4)
