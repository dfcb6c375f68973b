"""Which tables a run has: the same numbers on the terminal, in Markdown, LaTeX, CSV and the report."""

from collections.abc import Callable, Mapping

from intervox.evaluation.findings import Keywords, SystemDifference
from intervox.evaluation.results import Metrics, Verification
from intervox.reporting.separation_tables import (
    abx_table,
    blocks_table,
    geometry_table,
    kept_table,
    matrix_table,
    rejection_table,
    separation_table,
)
from intervox.reporting.verification_tables import (
    calibration_table,
    decision_table,
    gaps_table,
    layers_table,
    scoring_table,
    severity_table,
    strata_table,
    verification_table,
)
from intervox.reporting.wording import (
    accuracy,
    baseline_title,
    condition_title,
    error_rate,
    number,
    own_keywords,
    own_verification,
    p_value,
    percent,
    representation_title,
    running_by_name,
    spaces_of,
    spotting,
    usual,
)
from intervox.tables import NOTHING, Table


def protocols_table(metrics: Metrics) -> Table:
    """Who was tested: speakers, clips, languages, and the licence of the recordings."""
    records = [
        {
            "protocol": protocol,
            "languages": ", ".join(filter(None, about.languages)) or NOTHING,
            "licence": about.licence or NOTHING,
            "speakers": f"{about.speakers:,}",
            "clips": f"{about.clips:,}",
            "contents": f"{about.contents:,}",
            "hours": number(about.hours, digits=2),
            "unreadable": str(about.failed) if about.failed else NOTHING,
        }
        for protocol, about in metrics.protocols.items()
    ]
    return Table.from_records(
        "Evaluation sets: who was tested",
        "People, except in the synthetic set; hours are of the clips, unreadable ones are left out.",
        records,
        labels=3,
    ).without_empty_columns()


def keywords_table(metrics: Metrics) -> Table:
    """Accuracy of the content subspaces, of what they have to beat, and of the speaker subspaces."""
    contents = spaces_of(metrics, "content")
    records = []
    for protocol, found in metrics.keywords.items():
        compared = spotting(metrics, protocol, [name for name in metrics.baselines if name == "lda"])
        rows = [(system.title, system.found) for system in compared]
        others = [s for s in spaces_of(metrics, "speaker") if s in found.own and s not in contents]
        for title, by_condition in [*rows, *((f"{space} subspace", found.own[space]) for space in others)]:
            clean, cross = by_condition["clean"], by_condition.get("cross_condition")
            record = {
                "protocol": protocol,
                "representation": title,
                "linear probe": number(clean.probe, clean.probe_interval),
                "one-shot": accuracy(clean.shot_1),
                "five-shot": accuracy(clean.shot_5),
                "ten-shot": accuracy(clean.shot_10),
                "one-shot, cross-condition": accuracy(cross.shot_1 if cross else None),
            }
            records.append(record)
    return Table.from_records(
        "Keywords of unseen speakers: accuracy",
        "Higher is better, except for the speaker subspace, which should know no words. Raw layers "
        "are the best at one shot for clean / cross-condition clips, chosen on the test itself; in "
        "brackets the 95 % interval.",
        records,
    ).without_empty_columns()


def open_set_table(metrics: Metrics) -> Table:
    """Known words told from words that were never enrolled."""
    records = [
        {
            "protocol": protocol,
            "space": space,
            "condition": condition_title(condition),
            "EER %": error_rate(open_set),
            "rejects at 1 %": percent(open_set.false_reject_at_false_accept.get("0.01")),
            "at 5 %": percent(open_set.false_reject_at_false_accept.get("0.05")),
            "at 10 %": percent(open_set.false_reject_at_false_accept.get("0.10")),
            "words known / unknown": f"{open_set.known} / {open_set.unknown}",
            "examples": str(open_set.shots),
        }
        for protocol, found in metrics.keywords.items()
        for space in metrics.spaces
        for condition, result in found.own.get(space, {}).items()
        if (open_set := result.open_set)
    ]
    return Table.from_records(
        "Open set: known words against unknown ones",
        "EER in %, by chance n/(n + 1) with n known words, as a word has to be named rightly too; false "
        "rejects in % where 1, 5 and 10 % of the unknown words are accepted.",
        records,
        labels=3,
    ).without_empty_columns()


def running_table(metrics: Metrics) -> Table:
    """Keywords spotted in running speech."""
    records = []
    for protocol, spaces in metrics.running.items():
        for name, found in running_by_name(spaces).items():
            bounds = found.miss_interval or {}
            record = {
                "protocol": protocol,
                "representation": representation_title(name, metrics.spaces),
                "average precision": number(found.average_precision, found.interval),
                "misses at 10/h": percent(found.miss_at.get("10"), bounds.get("10")),
                "misses at 60/h": percent(found.miss_at.get("60"), bounds.get("60")),
                "keywords": str(len(found.keywords)),
                "occurrences": f"{found.events:,}",
                "hours": number(found.hours, digits=2),
            }
            records.append(record)
    return Table.from_records(
        "Running speech: keywords found in it",
        "Average precision and misses in % at 10 and at 60 false alarms an hour, with 95 % intervals; the "
        "raw layer is the best, chosen on the test itself.",
        records,
    )


def baselines_table(metrics: Metrics) -> Table:
    """Everything that is compared at equal dimension, with the paired difference from ours."""
    speaker = next(iter(spaces_of(metrics, "speaker")), "")
    records = []
    for protocol in metrics.verification:
        ours = own_verification(metrics, protocol, speaker)
        if ours and metrics.baselines:
            words = {space: own_keywords(metrics, protocol, space) for space in metrics.spaces}
            cells = _compared(metrics, ours, words)
            records.append({"protocol": protocol, "representation": f"{speaker} subspace"} | cells)
        for name, baseline in metrics.baselines.items():
            found = baseline.verification.get(protocol, {}).get(speaker, {})
            against = baseline.against.get(protocol)
            cross = against.cross_condition if against else None
            cells = _compared(metrics, found, baseline.keywords.get(protocol, {}), against, cross)
            if any(cell != NOTHING for cell in cells.values()):
                records.append({"protocol": protocol, "representation": baseline_title(name)} | cells)
    about = [f"{baseline_title(name)}: {of.about}" for name, of in metrics.baselines.items() if of.about]
    return Table.from_records(
        "Baselines: at equal dimension",
        "EER in % of different-text trials; a difference is the baseline's EER less ours in points, "
        "with the interval and p of a bootstrap that draws the same speakers for both."
        + (f" {'; '.join(about)}." if about else ""),
        records,
    ).without_empty_columns()


def _compared(
    metrics: Metrics,
    found: Verification,
    keywords: Mapping[str, Mapping[str, Keywords]],
    clean: SystemDifference | None = None,
    cross: SystemDifference | None = None,
) -> dict[str, str]:
    """Write the figures of one system, its keywords from the first content space."""
    content = next((space for space in spaces_of(metrics, "content") if keywords.get(space)), None)
    return {
        "EER, clean": error_rate(usual(found)),
        "EER, cross-condition": error_rate(usual(found, "cross_condition")),
        **_difference("clean", clean),
        **_difference("cross-condition", cross),
        "one-shot keywords": NOTHING if content is None else accuracy(keywords[content]["clean"].shot_1),
    }


def _difference(condition: str, found: SystemDifference | None) -> dict[str, str]:
    return {
        f"difference, {condition}": percent(found.difference, found.interval) if found else NOTHING,
        f"p, {condition}": p_value(found.p) if found else NOTHING,
    }


_SECTIONS: dict[str, tuple[Callable[[Metrics], Table], ...]] = {
    "tested": (protocols_table,),
    "verification": (
        verification_table,
        decision_table,
        strata_table,
        gaps_table,
        scoring_table,
        layers_table,
    ),
    "keywords": (keywords_table, open_set_table, running_table),
    "separation": (
        kept_table,
        separation_table,
        matrix_table,
        rejection_table,
        geometry_table,
        abx_table,
        blocks_table,
    ),
    "baselines": (baselines_table,),
    "severity": (severity_table,),
    "calibration": (calibration_table,),
}


def headline_tables(metrics: Metrics) -> list[Table]:
    """Build the few tables of a README or a model card."""
    build = (kept_table, verification_table, decision_table, keywords_table, separation_table)
    built = [table(metrics) for table in build]
    return [table for table in built if table.rows]


def metric_tables(metrics: Metrics) -> list[Table]:
    """Build every table."""
    return [table for tables in table_sections(metrics).values() for table in tables]


def table_sections(metrics: Metrics) -> dict[str, list[Table]]:
    """Build every table, by section of the report; tables and sections without rows are left out."""
    sections = {
        section: [table for build in builders if (table := build(metrics)).rows]
        for section, builders in _SECTIONS.items()
    }
    return {section: tables for section, tables in sections.items() if tables}
