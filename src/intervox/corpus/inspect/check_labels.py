"""The part of the check that looks at the design: crossing, balance, splits and labels."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intervox.clips.labels import PIECE, normalise_text
from intervox.corpus.acoustics.conditions import disturbance_counts
from intervox.corpus.inspect.check_clips import COLUMNS, REQUIRED, Finding, Severity, factor_columns, finding

MAX_RATIO = 3.0
"""A speaker or content that is this much more frequent than another is worth a warning."""

_MAY_BE_EMPTY = {"error", "severity", "transformation", "kind", "duration"}
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|-?\d+(\.\d+)?")


def label_findings(cells: pa.Table, families: dict[tuple[str, str], str]) -> Iterator[Finding]:
    """Run every check whose columns are there.

    Parameters
    ----------
    cells
        What ``check_clips.scan_shard`` gives, of all shards.
    families
        Engine and voice to voice family, as far as known.
    """
    yield from _missing_labels(cells)
    columns = set(cells.column_names)
    if {"engine", "voice", "split"} <= columns and families:
        known = [families.get(pair) for pair in _pairs(cells, "engine", "voice")]
        cells = cells.append_column("family", pa.array(known, pa.string()))
    for needed, check in _CHECKS:
        if needed <= set(cells.column_names):
            yield from check(cells)


def _missing_labels(cells: pa.Table) -> Iterator[Finding]:
    for name in (name for name in COLUMNS if name in cells.column_names and name not in _MAY_BE_EMPTY):
        empty = cells[name].is_null()
        if pa.types.is_string(cells[name].type):
            empty = pc.or_kleene(empty, pc.equal(cells[name], ""))
        lacking = cells.filter(empty)["cell_id"].to_pylist()
        if lacking:
            severity: Severity = "error" if name in REQUIRED else "warning"
            examples = (f"cell {cell_id}" for cell_id in lacking)
            yield finding(severity, f"{len(lacking):,} cells have no {name}", "write the label", examples)


def _failures(cells: pa.Table) -> Iterator[Finding]:
    """Count failed cells by reason, and show the holes that they leave in blocks."""
    failed = cells.filter(cells["error"].is_valid()).select(["cell_id", "error"]).to_pylist()
    by_reason: dict[str, list[str]] = {}
    for row in failed:
        reason = _PARTICULARS.sub("…", row["error"])
        by_reason.setdefault(reason, []).append(f"cell {row['cell_id']}: {row['error']}")
    for reason, where in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        yield finding(
            "warning",
            f"{len(where):,} of {cells.num_rows:,} cells ({len(where) / cells.num_rows:.1%}) are holes, "
            f"rejected or failed: {reason}",
            "nothing, when they are few: training leaves them out; else fix the engine or its text",
            where,
        )


def _crossing(cells: pa.Table) -> Iterator[Finding]:
    """Every block must hold each speaker × content × copy exactly once.

    In a block of unlabelled recordings that holds for each voice, the speakers made from one recording.
    """
    axes = ["speaker", "content", "copy"] if "copy" in cells.column_names else ["speaker", "content"]
    grids: dict[tuple[int, str], Counter[tuple[Any, ...]]] = {}
    columns = [cells[name].to_pylist() for name in axes]
    homes = zip(cells["block"].to_pylist(), _own_voices(cells), strict=True)
    for home, place in zip(homes, zip(*columns, strict=True), strict=True):
        grids.setdefault(home, Counter())[place] += 1
    absent, repeated = [], []
    for (block, voice), grid in grids.items():
        whole = product(*(dict.fromkeys(values) for values in zip(*grid, strict=True)))
        where = f"block {block}, {voice}" if voice else f"block {block}"
        absent += [f"{where}: {_place(place)}" for place in whole if place not in grid]
        repeated += [f"{where}: {_place(place)}" for place, count in grid.items() if count > 1]
    if absent:
        remedy = "bring back the cells, or correct the labels: a block holds each speaker with each content"
        yield finding("error", f"{len(absent):,} cells of the blocks' grids are absent", remedy, absent)
    if repeated:
        remedy = "correct the labels, or number the `copy` of one rendition"
        yield finding("error", f"{len(repeated):,} cells of the blocks' grids are repeated", remedy, repeated)
    for what, chosen in (
        ("blocks", [grid for (_, voice), grid in grids.items() if not voice]),
        (
            "grids of one unlabelled recording and its own pieces",
            [grid for (_, voice), grid in grids.items() if voice],
        ),
    ):
        sizes = Counter(" × ".join(str(len(set(v))) for v in zip(*grid, strict=True)) for grid in chosen)
        shapes = (f"{count} of {shape}" for shape, count in sizes.most_common())
        if chosen:
            yield finding("info", f"{len(chosen):,} {what}, by size ({' × '.join(axes)})", "", shapes)


def _own_voices(cells: pa.Table) -> list[str]:
    """Return the voice of each piece of an unlabelled recording, which alone says it; empty for others."""
    if not {"kind", "voice"} <= set(cells.column_names):
        return [""] * cells.num_rows
    return [str(voice) if kind == PIECE else "" for voice, kind in _pairs(cells, "voice", "kind")]


def _pieces(cells: pa.Table) -> Iterator[Finding]:
    """A piece of an unlabelled recording is said by that voice alone."""
    pieces = cells.filter(pc.field("kind") == PIECE)
    yield from _one_to_one(pieces, "content", "voice", "a piece is of one recording")


def _place(place: tuple[Any, ...]) -> str:
    return " × ".join(map(str, place))


def _balance(cells: pa.Table) -> Iterator[Finding]:
    """How often each value of a factor occurs in training."""
    train = cells.filter(pc.field("split") == "train")
    if not train.num_rows:
        remedy = "write the split of each cell: train, validation or test"
        yield finding("warning", "no cell is in the split train", remedy)
        return
    for name in ("speaker", "content", "engine", "kind", "language", *factor_columns(train.schema)):
        if name not in train.column_names:
            continue
        order = [("count_all", "descending"), (name, "ascending")]
        labelled, of = train.filter(pc.field(name) != ""), name
        if name in ("speaker", "content") and "kind" in train.column_names:
            # How much there is of an unlabelled recording is nobody's choice.
            chosen = labelled.filter(pc.field("kind").is_null() | (pc.field("kind") != PIECE))
            of += " beside unlabelled recordings" if chosen.num_rows < labelled.num_rows else ""
            labelled = chosen
        counted = labelled.group_by(name).aggregate([([], "count_all")]).sort_by(order)
        if not counted.num_rows:
            continue
        counts = counted["count_all"].to_pylist()
        ratio = counts[0] / counts[-1]
        uneven = name in ("speaker", "content") and ratio > MAX_RATIO
        yield finding(
            "warning" if uneven else "info",
            f"train: {len(counts):,} values of {of}, {counts[-1]:,} to {counts[0]:,} cells each "
            f"(ratio {ratio:.1f})",
            "deal them out more evenly: what is frequent is learnt best" if uneven else "",
            (f"{row[name]}: {row['count_all']:,}" for row in counted.to_pylist()),
        )


def _conditions(cells: pa.Table) -> Iterator[Finding]:
    """Which disturbances each split has, and how severe they are."""
    for split in pc.unique(cells["split"]).to_pylist():
        part = cells.filter(pc.field("split") == split)
        counts = disturbance_counts(part)
        shares = (f"{kind}: {count / part.num_rows:.0%}" for kind, count in counts)
        words = f"{split}: kinds of disturbance by their share of the cells"
        if "severity" in part.column_names and len(severity := part["severity"].drop_null().to_numpy()):
            low, middle, high = np.quantile(severity, (0.1, 0.5, 0.9))
            words += f"; severity {low:.2f} · {middle:.2f} · {high:.2f} (10, 50 and 90 %)"
        yield Finding("info", words, "", tuple(shares))


def _splits(cells: pa.Table) -> Iterator[Finding]:
    """Splits must share no speaker, voice, voice family or text; sharing engines is a fact."""
    keys: dict[str, list[Any]] = {"speaker": cells["speaker"].to_pylist()}
    for name, columns in {"voice": ("engine", "voice"), "voice family": ("engine", "family")}.items():
        if set(columns) <= set(cells.column_names):
            keys[name] = [": ".join(map(str, pair)) for pair in _pairs(cells, *columns) if pair[1]]
    if "text" in cells.column_names:
        keys["text"] = _spoken(cells)
    if "engine" in cells.column_names:
        keys["engine"] = cells["engine"].to_pylist()
    splits = cells["split"].to_pylist()
    for name, values in keys.items():
        by_split: dict[str, set[Any]] = {}
        for split, value in zip(splits, values, strict=True):
            by_split.setdefault(split, set()).add(value)
        for (one, ones), (other, others) in combinations(by_split.items(), 2):
            both = sorted(value for value in ones & others if value)
            if both:
                held_out = name != "engine"
                what = f"{one} and {other} share {len(both):,} {name} value{'s' * (len(both) != 1)}"
                remedy = f"leave the blocks with this {name} out of one split" if held_out else ""
                yield finding("error" if held_out else "info", what, remedy, both)
    if "family" not in cells.column_names:
        yield finding("info", "voice families are not known, so whether splits share one is not checked")


def _block_voices(cells: pa.Table) -> Iterator[Finding]:
    """Merged near-duplicates may give a speaker several voices, but not in one block."""
    voices: dict[tuple[Any, Any], set[tuple[Any, Any]]] = {}
    for place, voice in zip(_pairs(cells, "block", "speaker"), _pairs(cells, "engine", "voice"), strict=True):
        voices.setdefault(place, set()).add(voice)
    several = [f"block {block}: {speaker}" for (block, speaker), found in voices.items() if len(found) > 1]
    if several:
        remedy = "correct the speaker or the voice"
        yield finding("error", f"{len(several):,} speakers have several voices in a block", remedy, several)


def _content_texts(cells: pa.Table) -> Iterator[Finding]:
    """A content is one text, and a text of a language is one content."""
    texts = [normalise_text(text or "") for text in cells["text"].to_pylist()]
    contents, spoken = cells["content"].to_pylist(), _spoken(cells)
    table = pa.table({"content": contents, "text": texts, "spoken": spoken}).filter(pc.field("text") != "")
    yield from _one_to_one(table, "content", "text", "a content is one text")
    yield from _one_to_one(table, "spoken", "content", "a text of a language is one content")


def _spoken(cells: pa.Table) -> list[str]:
    """Normal forms of the texts, with their language: what two languages spell alike is two texts."""
    texts = [normalise_text(text or "") for text in cells["text"].to_pylist()]
    if "language" not in cells.column_names:
        return texts
    tags = [(language or "").split("-")[0] for language in cells["language"].to_pylist()]
    return [f"{text} ({tag})" if text and tag else text for text, tag in zip(texts, tags, strict=True)]


def _one_to_one(cells: pa.Table, key: str, value: str, rule: str) -> Iterator[Finding]:
    found: dict[Any, set[Any]] = {}
    for one, other in _pairs(cells, key, value):
        found.setdefault(one, set()).add(other)
    broken = [
        f"{one}: {', '.join(sorted(map(str, others)))}" for one, others in found.items() if len(others) > 1
    ]
    if broken:
        what = f"{rule}, but not {len(broken):,} of {len(found):,}"
        yield finding("error", what, "correct the labels, or renumber", broken)


def _repeated_audio(cells: pa.Table) -> Iterator[Finding]:
    """Find the same samples in cells that should differ."""
    heard = cells.filter(cells["digest"].is_valid()).select(["cell_id", "speaker", "content", "digest"])
    first: dict[bytes, dict[str, Any]] = {}
    labelled: list[str] = []
    repeated: list[str] = []
    for row in heard.to_pylist():
        other = first.setdefault(row["digest"], row)
        if other is row:
            continue
        same = (row["speaker"], row["content"]) == (other["speaker"], other["content"])
        (repeated if same else labelled).append(f"cells {other['cell_id']} and {row['cell_id']}")
    if labelled:
        remedy = "render one of each pair again, or correct its labels"
        what = f"{len(labelled):,} clips have the samples of a clip with another speaker or content"
        yield finding("error", what, remedy, labelled)
    if repeated:
        remedy = "leave one of each pair out, or give it another condition: they are trivial positives"
        yield finding("warning", f"{len(repeated):,} clips repeat another's samples", remedy, repeated)


def _pairs(cells: pa.Table, one: str, other: str) -> list[tuple[Any, Any]]:
    return list(zip(cells[one].to_pylist(), cells[other].to_pylist(), strict=True))


_CHECKS: list[tuple[set[str], Callable[[pa.Table], Iterator[Finding]]]] = [
    ({"error"}, _failures),
    ({"block", "speaker", "content"}, _crossing),
    ({"block", "split"}, partial(_one_to_one, key="block", value="split", rule="a block lies in one split")),
    ({"block", "speaker", "engine", "voice"}, _block_voices),
    ({"content", "text"}, _content_texts),
    ({"content", "kind", "voice"}, _pieces),
    ({"speaker", "content", "digest"}, _repeated_audio),
    ({"split", "speaker"}, _splits),
    ({"split"}, _balance),
    ({"split", "condition"}, _conditions),
]
"""Columns that a check of the table of cells needs, and the check, which yields findings."""
