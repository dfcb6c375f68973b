"""The tables of keywords: known from examples, told from unknown words, found in running speech."""

from typing import Any

from intervox.reporting.table import (
    NOTHING,
    Table,
    accuracy,
    condition_title,
    error_rate,
    in_percent,
    number,
    percent,
    representation_title,
    share,
    spaces_of,
    systems,
    without_empty_columns,
)


def keywords_table(metrics: dict[str, Any]) -> Table:
    """Accuracy of the content subspaces, of what they have to beat, and of the speaker subspaces."""
    rows = []
    for protocol, found in metrics.get("keywords", {}).items():
        plain = [name for name in metrics["baselines"] if name == "lda"]
        compared = list(systems(metrics, "keywords", protocol, "content", plain))
        contents = spaces_of(metrics, "content")
        others = [s for s in spaces_of(metrics, "speaker") if s in found and s not in contents]
        for title, result in [*compared, *((f"{space} subspace", found[space]) for space in others)]:
            clean, cross = result["clean"], result.get("cross_condition", {})
            cells = [share(clean.get("probe"), clean.get("probe_interval"))]
            cells += [accuracy(clean.get(shots)) for shots in ("shot_1", "shot_5", "shot_10")]
            rows.append([protocol, title, *cells, accuracy(cross.get("shot_1"))])
    return without_empty_columns(
        Table(
            "Keywords of unseen speakers: accuracy",
            "Higher is better, except for the speaker subspace, which should know no words. Raw layers "
            "are the best at one shot for clean / cross-condition clips, chosen on the test itself; in "
            "brackets the 95 % interval.",
            [
                "protocol",
                "representation",
                "linear probe",
                "one-shot",
                "five-shot",
                "ten-shot",
                "one-shot, cross-condition",
            ],
            rows,
        )
    )


def open_set_table(metrics: dict[str, Any]) -> Table:
    """Known words told from words that were never enrolled."""
    rows = []
    for protocol, spaces in metrics.get("keywords", {}).items():
        for space in metrics["spaces"]:
            for condition, result in spaces.get(space, {}).items():
                if found := result.get("open_set"):
                    rejects = found["false_reject_at_false_accept"]
                    cells = [percent(rejects.get(rate)) for rate in ("0.01", "0.05", "0.10")]
                    names = [protocol, space, condition_title(condition)]
                    counts = [f"{found['known']} / {found['unknown']}", str(found["shots"])]
                    rows.append([*names, error_rate(found), *cells, *counts])
    return without_empty_columns(
        Table(
            "Open set: known words against unknown ones",
            "EER in %, by chance n/(n + 1) with n known words, as a word has to be named rightly too; false "
            "rejects in % where 1, 5 and 10 % of the unknown words are accepted.",
            [
                "protocol",
                "space",
                "condition",
                "EER %",
                "rejects at 1 %",
                "at 5 %",
                "at 10 %",
                "words known / unknown",
                "examples",
            ],
            rows,
            3,
        )
    )


def running_table(metrics: dict[str, Any]) -> Table:
    """Keywords spotted in running speech."""
    rows = []
    for protocol, spaces in metrics.get("running", {}).items():
        for space, found in spaces.items():
            bounds = found.get("miss_interval", {})
            missed = [in_percent(found["miss_at"].get(rate), bounds.get(rate)) for rate in ("10", "60")]
            name = f"{space}.{found['layer']}" if "layer" in found else space
            title = representation_title(name, metrics["spaces"])
            amount = [str(len(found["keywords"])), f"{found['events']:,}"]
            precision = share(found.get("average_precision"), found.get("interval"))
            rows.append([protocol, title, precision, *missed, *amount, number(found.get("hours"), 2)])
    return Table(
        "Running speech: keywords found in it",
        "Average precision and misses in % at 10 and at 60 false alarms an hour, with 95 % intervals; the "
        "raw layer is the best, chosen on the test itself.",
        [
            "protocol",
            "representation",
            "average precision",
            "misses at 10/h",
            "misses at 60/h",
            "keywords",
            "occurrences",
            "hours",
        ],
        rows,
    )


def one_shot(metrics: dict[str, Any], by_space: dict[str, Any]) -> str:
    """Write the clean one-shot accuracy of the first content space in ``by_space``, if it has one."""
    found = [by_space[space] for space in spaces_of(metrics, "content") if space in by_space]
    return accuracy(found[0]["clean"].get("shot_1")) if found else NOTHING
