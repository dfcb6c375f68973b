"""Runs side by side: their headline figures, and paired differences on the trials that they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from os.path import commonprefix
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from intervox.errors import IntervoxError
from intervox.evaluation.results import METRICS, Metrics, Verification
from intervox.metrics.bootstrap import Interval, compare_systems
from intervox.reporting import render
from intervox.reporting.claim import claim
from intervox.reporting.opening import Mark, RateBar, RatePanel, common_scale, kept_bars
from intervox.reporting.trials import read_trials, stratum_scores, stratum_trials, trial_path
from intervox.reporting.wording import (
    condition_title,
    number,
    own_keywords,
    own_verification,
    p_value,
    percent,
    spaces_of,
    stratum_title,
    usual,
)
from intervox.seeds import rng
from intervox.storage import write_bytes
from intervox.tables import NOTHING, Table

REPEATS = 500
SEED = 1_234
HEADLINES = (
    ("clean", "different_text"),
    ("clean", "same_text_impostors"),
    ("cross_condition", "different_text"),
    ("clean", "all"),
)
"""Condition and stratum of the error rates that are compared; ``all`` only where texts are not known."""

_COLOURS = ("speaker", "content", "lda", "resemblyzer", "other", "raw")
"""Classes of the page's bars, in the order of the runs."""


@dataclass(frozen=True)
class ComparedRun:
    """What a run is, and the headline of its claim."""

    name: str
    recipe: str
    seed: int
    backbone: str | None
    claim: str


@dataclass(frozen=True)
class Value:
    """An EER or an accuracy, with its interval."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Figure:
    """A figure of a protocol, with a value for each run that has it."""

    protocol: str
    figure: str
    values: list[Value | None]


@dataclass(frozen=True)
class Difference:
    """What a run's EER is more or less than that of the first.

    Attributes
    ----------
    difference
        EER of the run less EER of the first, negative is better.
    interval, p
        Of a bootstrap over speakers, where both runs have the same trials.
    note
        Why the last two are None where they are.
    """

    run: str
    protocol: str
    figure: str
    difference: float
    interval: Interval | None = None
    p: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, and each against the first."""

    runs: list[ComparedRun]
    figures: list[Figure]
    differences: list[Difference]


def compare(runs: Sequence[Path], repeats: int = REPEATS) -> Comparison:
    """Put the headline figures of runs side by side, and test each run against the first.

    Parameters
    ----------
    runs
        Folders with ``metrics.json`` and, for the differences, ``trials/``.
    repeats
        Of the bootstrap over speakers.

    Raises
    ------
    IntervoxError
        Fewer than two runs, or one without readable metrics.
    """
    if len(runs) < 2:
        raise IntervoxError("there is nothing to compare: name two runs or more")
    measured = [(run, Metrics.read(run / METRICS)) for run in runs]
    return Comparison(
        [_about(run, found) for run, found in measured],
        _figures([found for _, found in measured]),
        [row for other in measured[1:] for row in _differences(measured[0], other, repeats)],
    )


def comparison_tables(found: Comparison) -> list[Table]:
    """Build the tables of a comparison."""
    names = [run.name for run in found.runs]
    figures = [
        [row.protocol, row.figure, *(_cell(value, row.figure) for value in row.values)]
        for row in found.figures
    ]
    differences = [
        {
            "protocol": row.protocol,
            "figure": row.figure,
            "run": row.run,
            "difference": percent(row.difference, row.interval),
            "p": p_value(row.p),
            "note": row.note or NOTHING,
        }
        for row in found.differences
    ]
    tables = [
        Table(
            "Runs: side by side",
            "EER in %, lower is better except from the content subspace; kept: share of what the raw model "
            "knows, in %; accuracies between 0 and 1; in brackets the 95 % interval.",
            ["protocol", "figure", *names],
            figures,
        ),
        Table.from_records(
            f"Differences: from {names[0]}",
            f"EER of the run less that of {names[0]} in points, negative is better; interval and p by a "
            "bootstrap over speakers on the trials of both.",
            differences,
            labels=3,
        ),
    ]
    return [table for table in tables if table.rows]


def write_comparison(path: Path, found: Comparison) -> None:
    """Write a comparison as a page that looks like the report."""
    panels = comparison_panels(found)
    page = render(
        "compare.html.jinja",
        runs=found.runs,
        panels=panels,
        most=common_scale(panels),
        tables=comparison_tables(found),
    )
    write_bytes(path, page.encode())


def comparison_panels(found: Comparison) -> list[RatePanel]:
    """Collect the error rates of telling speakers apart, a panel a protocol and a bar a run."""
    panels = []
    for protocol in dict.fromkeys(row.protocol for row in found.figures):
        rates: list[dict[str, Mark]] = [{} for _ in found.runs]
        for row in found.figures:
            condition = _CHARTED.get(row.figure)
            if row.protocol == protocol and condition:
                for by_condition, value in zip(rates, row.values, strict=True):
                    if value:
                        by_condition[condition] = Mark(protocol, value.value, value.interval)
        named = zip(found.runs, cycle(_COLOURS), rates, strict=False)
        bars = [RateBar(run.name, kind, by_condition) for run, kind, by_condition in named if by_condition]
        if bars:
            panels.append(RatePanel(protocol, "", bars))
    return panels


def _about(run: Path, found: Metrics) -> ComparedRun:
    backbone = found.backbone.name if found.backbone else None
    return ComparedRun(str(run), found.recipe, found.seed, backbone, claim(found).headline)


def _figures(metrics: list[Metrics]) -> list[Figure]:
    """Headline figures of every protocol that any run has, in the order of the first that has it."""
    rows = []
    for protocol in dict.fromkeys(protocol for found in metrics for protocol in found.protocols):
        by_run = [dict(_headline(found, protocol)) for found in metrics]
        for figure in dict.fromkeys(name for figures in by_run for name in figures):
            rows.append(Figure(protocol, figure, [figures.get(figure) for figures in by_run]))
    return rows


def _headline(metrics: Metrics, protocol: str) -> Iterator[tuple[str, Value]]:
    speakers = spaces_of(metrics, "speaker")[:1]
    for space in speakers:
        found = own_verification(metrics, protocol, space)
        for condition, stratum in _measured(found):
            result = found[condition][stratum]
            yield _title(condition, stratum), Value(result.eer, result.eer_interval)
    for space in spaces_of(metrics, "content")[:1]:
        leak = usual(own_verification(metrics, protocol, space))
        if leak and space not in speakers:
            yield "EER of the speaker from content", Value(leak.eer, leak.eer_interval)
        for condition, keywords in own_keywords(metrics, protocol, space).items():
            if shot := keywords.shot_1:
                title = f"one-shot keywords, {condition_title(condition)}"
                yield title, Value(shot.accuracy, shot.interval)
    for factor, bars in kept_bars(metrics).items():
        for bar in bars:
            for mark in bar.marks:
                if mark.protocol == protocol:
                    yield f"kept of the {factor} by {bar.space}", Value(mark.value, mark.interval)
    for space in speakers:
        words = own_keywords(metrics, protocol, space).get("clean")
        if words and words.probe is not None:
            yield "keyword probe from the speaker", Value(words.probe, words.probe_interval)


def _differences(
    first: tuple[Path, Metrics], other: tuple[Path, Metrics], repeats: int
) -> Iterator[Difference]:
    """Paired differences of the first speaker space of each run."""
    spaces = [next(iter(spaces_of(metrics, "speaker")), "") for _, metrics in (other, first)]
    for protocol in first[1].verification:
        after, before = (
            own_verification(metrics, protocol, space)
            for (_, metrics), space in zip((other, first), spaces, strict=True)
        )
        shared = set(_measured(after))
        for condition, stratum in (key for key in _measured(before) if key in shared):
            about = str(other[0]), protocol, _title(condition, stratum)
            difference = round(after[condition][stratum].eer - before[condition][stratum].eer, 5)
            ours, theirs = (_trials(run, protocol, condition) for run, _ in (other, first))
            if ours is None or theirs is None:
                yield Difference(*about, difference, note="no trial files")
            elif not _same_trials(ours, theirs, stratum):
                yield Difference(*about, difference, note="the trials differ")
            else:
                trials, speakers = stratum_trials(ours, stratum)
                our_scores = stratum_scores(ours, spaces[0], stratum)
                their_scores = stratum_scores(theirs, spaces[1], stratum)
                random = rng(SEED, "bootstrap")
                paired = compare_systems(our_scores, their_scores, trials, speakers, repeats, random)
                yield Difference(*about, paired.difference, paired.interval, paired.p)


def _measured(found: Verification) -> list[tuple[str, str]]:
    there = [(c, s) for c, s in HEADLINES if s in found.get(c, {})]
    return [(c, s) for c, s in there if s != "all" or (c, "different_text") not in there]


def _trials(run: Path, protocol: str, condition: str) -> pa.Table | None:
    return read_trials(run, protocol, condition) if trial_path(run, protocol, condition).exists() else None


def _same_trials(one: pa.Table, other: pa.Table, stratum: str) -> bool:
    """Whether two runs compared the same recordings in a stratum, in the same order."""
    a, b = (table.filter(table[stratum]) for table in (one, other))
    return a["target"].equals(b["target"]) and all(map(pa.ChunkedArray.equals, _clips(a), _clips(b)))


def _clips(trials: pa.Table) -> list[pa.ChunkedArray]:
    """Name the clips of both sides without what all names begin with: a corpus may lie elsewhere."""
    sides = [trials[side].cast(pa.string()) for side in ("enrol", "test")]
    ends = [end for side in sides for end in pc.min_max(side).as_py().values()]
    # Letter by letter, as the name of a clip may be anything.
    begin = len(commonprefix(ends)) if len(trials) else 0  # noqa: RUF071
    return [pc.utf8_slice_codeunits(side, begin) for side in sides]


def _title(condition: str, stratum: str) -> str:
    return f"EER, {condition_title(condition)}, {stratum_title(stratum)}"


_CHARTED = {
    _title(condition, stratum): condition
    for condition, stratum in HEADLINES
    if stratum in ("different_text", "all")
}
"""Figures that the page draws, with their conditions."""


def _cell(value: Value | None, figure: str) -> str:
    write = percent if figure.startswith(("EER", "kept")) else number
    return write(value.value, value.interval) if value else NOTHING
