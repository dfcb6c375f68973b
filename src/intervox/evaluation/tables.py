"""The tables of a run, the same numbers on the terminal, in Markdown and in the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from intervox.errors import IntervoxError
from intervox.storage import write_bytes

MARKERS = ("<!-- tables: begin -->", "<!-- tables: end -->")
STRATUM_COLUMNS = (
    ("clean", "different_text", "clean, different text"),
    ("clean", "same_text_impostors", "clean, same-text impostors"),
    ("cross_condition", "different_text", "cross-condition, different text"),
)


@dataclass(frozen=True)
class Table:
    """A title, a sentence on how to read it, a header and rows of finished text."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]


def metric_tables(metrics: dict[str, Any]) -> list[Table]:
    """Build every table from the content of ``metrics.json``."""
    built = [_verification(metrics), _keywords(metrics), _separation(metrics)]
    return [table for table in built if table.rows]


def print_tables(tables: list[Table]) -> None:
    """Show tables on standard output."""
    console = Console(width=max(Console().width, 100))
    for table in tables:
        shown = RichTable(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
        for index, column in enumerate(table.header):
            shown.add_column(column, justify="left" if index < 2 else "right")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def markdown(tables: list[Table]) -> str:
    """Write tables in Markdown."""
    blocks = []
    for table in tables:
        lines = [
            " | ".join(["", *cells, ""]).strip()
            for cells in (table.header, ["---"] * len(table.header), *table.rows)
        ]
        blocks.append(f"**{table.title}.** {table.note}\n\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def insert_markdown(path: Path, tables: list[Table]) -> None:
    """Replace what stands between the markers of a Markdown file by tables."""
    text = path.read_text(encoding="utf-8")
    begin, end = MARKERS
    if begin not in text or end not in text:
        raise IntervoxError(f"{path} has no lines {begin} and {end}: add them where the tables belong")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    write_bytes(path, f"{before}{begin}\n{markdown(tables)}\n{end}{after}".encode())


def _space_of(metrics: dict[str, Any], factor: str) -> str | None:
    """Name of the first subspace of a factor."""
    return next((name for name, of in metrics["spaces"].items() if of == factor), None)


def _verification(metrics: dict[str, Any]) -> Table:
    rows = []
    own = _space_of(metrics, "speaker")
    for protocol, spaces in metrics["verification"].items():
        raw = spaces["raw"]
        best = {c: f"layer {raw['best_layer'][c]}" for c in ("clean", "cross_condition")}
        systems = [("raw, mean over layers", {c: raw["mean"][c] for c in best})]
        systems.append(("raw, best layer", {c: raw["layers"][raw["best_layer"][c]][c] for c in best}))
        if own:
            for name, baseline in metrics["baselines"].items():
                systems.append((name.upper(), baseline["verification"][protocol][own]))
            systems.append((f"{own} subspace", spaces[own]))
        for system, result in systems:
            cells = [_eer(result[c].get(stratum)) for c, stratum, _ in STRATUM_COLUMNS]
            if system == "raw, best layer":
                system = f"raw, {best['clean']} / {best['cross_condition']}"
            rows.append([protocol, system, *cells])
    return Table(
        "Speaker verification: equal error rate in %",
        "Lower is better, 50 is chance; in brackets the 95 % interval over speakers. The raw layers "
        "are the best for clean / cross-condition trials, chosen on the test itself.",
        ["protocol", "representation", *(title for _, _, title in STRATUM_COLUMNS)],
        rows,
    )


def _keywords(metrics: dict[str, Any]) -> Table:
    rows = []
    own, other = _space_of(metrics, "content"), _space_of(metrics, "speaker")
    for protocol, spaces in metrics["keywords"].items():
        raw = spaces["raw"]
        layer = raw["best_layer"]["clean"]
        systems = [
            ("raw, mean over layers", raw["mean"]),
            (f"raw, layer {layer}", raw["layers"][layer]),
        ]
        if own:
            for name, baseline in metrics["baselines"].items():
                systems.append((name.upper(), baseline["keywords"][protocol][own]))
        systems += [(f"{space} subspace", spaces[space]) for space in (own, other) if space]
        for system, result in systems:
            clean, cross = result["clean"], result["cross_condition"]
            rows.append(
                [
                    protocol,
                    system,
                    f"{clean['probe']:.3f}",
                    _shots(clean["shot_1"]),
                    _shots(clean["shot_5"]),
                    _shots(cross["shot_1"]),
                ]
            )
    return Table(
        "Keywords of unseen speakers: accuracy",
        "Higher is better, except for the speaker subspace, which should know no words. The raw "
        "layer is the best at one shot, chosen on the test itself; in brackets the 95 % interval over "
        "speakers.",
        ["protocol", "representation", "linear probe", "one-shot", "five-shot", "one-shot, cross-condition"],
        rows,
    )


def _separation(metrics: dict[str, Any]) -> Table:
    rows = []
    content, speaker = _space_of(metrics, "content"), _space_of(metrics, "speaker")
    for protocol, found in metrics["separation"].items():
        eer = found.get(f"speaker_eer_from_{content}")
        cost = found.get(f"same_text_cost_of_{speaker}")
        probe = found.get(f"keyword_probe_from_{speaker}")
        rows.append(
            [
                protocol,
                "–" if eer is None else f"{100 * eer:.1f}",
                "–" if cost is None else f"{cost:.2f} ×",
                "–" if probe is None else f"{probe:.3f} (chance {found['keyword_chance']:.3f})",
            ]
        )
    return Table(
        "Separation: what each subspace holds of the other factor",
        "A content subspace that knows no speaker has an EER of 50 %; a speaker subspace that knows "
        "no words has a probe at chance, and same-text impostors cost it 1 ×.",
        ["protocol", "speaker EER % from content", "same-text cost of speaker", "keyword probe from speaker"],
        rows,
    )


def _eer(result: dict[str, Any] | None) -> str:
    if result is None:
        return "–"
    interval = result["eer_interval"]
    bounds = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""
    return f"{100 * result['eer']:.1f}{bounds}"


def _shots(result: dict[str, Any] | None) -> str:
    if result is None:
        return "–"
    interval = result["interval"]
    bounds = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"{result['accuracy']:.3f}{bounds}"
