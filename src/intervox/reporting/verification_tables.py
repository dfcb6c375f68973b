"""The tables of speaker verification: headline, strata, gaps, severities, back-ends and layers."""

from typing import Any

from intervox.metrics.trials import usual_stratum
from intervox.reporting.wording import (
    condition_title,
    error_rate,
    in_percent,
    number,
    percent,
    spaces_of,
    stratum_title,
    systems,
)
from intervox.tables import NOTHING, Table

_HEADLINE = (
    ("clean", "different_text"),
    ("clean", "same_text_impostors"),
    ("cross_condition", "different_text"),
)
_GAPS = {
    "same_text": "impostors who say the same words",
    "cross_condition": "every clip degraded",
    "cross_session": "targets across sessions",
    "short": "short clips in place of long ones",
}
_BACKENDS = {"as_norm": "AS-norm", "plda": "PLDA"}


def verification_table(metrics: dict[str, Any]) -> Table:
    """Equal error rates of the speaker subspaces and of what they have to beat."""
    listed = sorted(
        {
            stratum
            for spaces in metrics["verification"].values()
            for space in spaces_of(metrics, "speaker")
            for stratum in spaces.get(space, {}).get("clean", {})
            if stratum.startswith("list:")
        }
    )
    columns = [*_HEADLINE, *(("clean", stratum) for stratum in listed), ("clean", "all")]
    rows = []
    for protocol in metrics["verification"]:
        plain = [name for name in metrics["baselines"] if name == "lda"]
        for title, result in systems(metrics, "verification", protocol, "speaker", plain):
            cells = [_cell(result, condition, stratum) for condition, stratum in columns]
            rows.append([protocol, title, *cells])
    header = [f"{condition_title(condition)}, {stratum_title(stratum)}" for condition, stratum in columns]
    return Table(
        "Speaker verification: equal error rate in %",
        "Lower is better, 50 is chance; in brackets the 95 % interval over speakers. Raw layers are "
        "the best for clean / cross-condition trials, chosen on the test itself.",
        ["protocol", "representation", *header],
        rows,
    ).without_empty_columns()


def _cell(result: dict[str, Any], condition: str, stratum: str) -> str:
    """The pool of all pairs stands in only where texts are not known to differ."""
    strata = result.get(condition, {})
    if stratum == "all" and "different_text" in strata:
        return NOTHING
    return error_rate(strata.get(stratum))


def strata_table(metrics: dict[str, Any]) -> Table:
    """Every stratum of every subspace of the speaker, with costs and counts."""
    rows = []
    for protocol, spaces in metrics["verification"].items():
        for space in spaces_of(metrics, "speaker"):
            for condition, strata in spaces.get(space, {}).items():
                for stratum, result in strata.items():
                    costs = [number(result["min_dcf"].get(prior)) for prior in ("0.01", "0.05")]
                    costs += [number(result.get(name)) for name in ("cllr", "min_cllr")]
                    counts = [f"{result[kind]:,}" for kind in ("targets", "impostors")]
                    where = f"{condition_title(condition)}, {stratum_title(stratum)}"
                    rows.append([protocol, space, where, error_rate(result), *costs, *counts])
    return Table(
        "Every stratum: speaker subspaces",
        "EER in %; minDCF with its prior, normalised, 1 is no use at all; Cllr in bits, 1 is no use "
        "at all, calibrated on the synthetic test set or, without one, across halves of the speakers.",
        [
            "protocol",
            "space",
            "trials",
            "EER %",
            "minDCF 0.01",
            "minDCF 0.05",
            "Cllr",
            "min Cllr",
            "targets",
            "impostors",
        ],
        rows,
        3,
    ).without_empty_columns()


def gaps_table(metrics: dict[str, Any]) -> Table:
    """What each difficulty costs, paired over speakers."""
    rows = [
        [
            protocol,
            space,
            _GAPS.get(name, name),
            in_percent(gap["value"], gap.get("interval")),
            NOTHING if gap.get("ratio") is None else f"{gap['ratio']:.2f} ×",
        ]
        for protocol, spaces in metrics.get("gaps", {}).items()
        for space, gaps in spaces.items()
        for name, gap in gaps.items()
    ]
    return Table(
        "Gaps: what a difficulty costs",
        "Rise of the EER in points, with the interval of a bootstrap that draws the same speakers for both.",
        ["protocol", "space", "difficulty", "points of EER", "ratio"],
        rows,
        3,
    )


def severity_table(metrics: dict[str, Any]) -> Table:
    """EER against the severity of one disturbance at a time."""
    curves = [
        (protocol, space, disturbance, curve)
        for protocol, spaces in metrics.get("severity", {}).items()
        for space, disturbances in spaces.items()
        for disturbance, curve in disturbances.items()
    ]
    severities = sorted({severity for *_, curve in curves for severity in curve}, key=float)
    rows = [
        [protocol, space, disturbance, *(error_rate(curve.get(severity)) for severity in severities)]
        for protocol, space, disturbance, curve in curves
    ]
    return Table(
        "Severity: EER in % under one disturbance",
        "On a subset of the clips; severity 0 is the same clips undisturbed, 1 the worst of a disturbance.",
        ["protocol", "space", "disturbance", *severities],
        rows,
        3,
    )


def scoring_table(metrics: dict[str, Any]) -> Table:
    """Scoring back-ends beside the plain cosine."""
    rows = []
    for protocol, spaces in metrics.get("scoring", {}).items():
        for space, conditions in spaces.items():
            for condition, backends in conditions.items():
                for backend, result in backends.items():
                    costs = [number(result.get("min_dcf", {}).get(prior)) for prior in ("0.01", "0.05")]
                    costs += [number(result.get(name)) for name in ("cllr", "min_cllr")]
                    names = [protocol, space, condition_title(condition), _BACKENDS.get(backend, backend)]
                    rows.append([*names, error_rate(result), *costs])
    return Table(
        "Scoring: the same vectors under other back-ends",
        "Different-text trials, or all of them where texts are not known. Cllr is calibrated across two "
        "halves of the speakers, so it differs from that of the other tables.",
        [
            "protocol",
            "space",
            "condition",
            "back-end",
            "EER %",
            "minDCF 0.01",
            "minDCF 0.05",
            "Cllr",
            "min Cllr",
        ],
        rows,
        4,
    ).without_empty_columns()


def layers_table(metrics: dict[str, Any]) -> Table:
    """EER of every raw layer."""
    rows: list[list[str]] = []
    names: list[str] = []
    for protocol, spaces in metrics["verification"].items():
        layers = spaces.get("raw", {}).get("layers", {})
        names = sorted(layers, key=int) or names
        for condition in layers[names[0]] if layers else ():
            strata = [layers[name][condition] for name in names]
            chosen = usual_stratum(strata[0])
            rows.append([protocol, condition_title(condition), *(percent(s[chosen]["eer"]) for s in strata)])
    return Table(
        "Raw layers: EER in % of each",
        "Different-text trials, or all of them where texts are not known; layer 0 is the input.",
        ["protocol", "condition", *(f"layer {name}" for name in names)],
        rows,
    )


def calibration_table(metrics: dict[str, Any]) -> Table:
    """From a cosine to log odds."""
    rows = [
        [protocol, space, str(fit.get("source", NOTHING)), number(fit["slope"], 2), number(fit["offset"], 2)]
        for protocol, spaces in metrics.get("calibration", {}).items()
        for space, fit in spaces.items()
    ]
    return Table(
        "Calibration: from a cosine to log odds",
        "Log odds of the same speaker are slope × cosine + offset; the source is what they were fitted on.",
        ["protocol", "space", "source", "slope", "offset"],
        rows,
        3,
    )
