"""The tables of speaker verification: headline, strata, gaps, severities, back-ends and layers."""

from collections.abc import Mapping

from intervox.evaluation.findings import ErrorRates
from intervox.evaluation.results import Metrics, Strata
from intervox.metrics.trials import usual_stratum
from intervox.reporting.wording import (
    condition_title,
    error_rate,
    number,
    own_verification,
    percent,
    spaces_of,
    stratum_title,
    verifying,
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


def verification_table(metrics: Metrics) -> Table:
    """Equal error rates of the speaker subspaces and of what they have to beat."""
    strata = (
        stratum
        for protocol in metrics.verification
        for space in spaces_of(metrics, "speaker")
        for stratum in own_verification(metrics, protocol, space).get("clean", {})
    )
    listed = sorted({stratum for stratum in strata if stratum.startswith("list:")})
    columns = [*_HEADLINE, *(("clean", stratum) for stratum in listed), ("clean", "all")]
    records = [
        {"protocol": protocol, "representation": system.title}
        | {
            f"{condition_title(condition)}, {stratum_title(stratum)}": _cell(system.found, condition, stratum)
            for condition, stratum in columns
        }
        for protocol in metrics.verification
        for system in verifying(metrics, protocol, [name for name in metrics.baselines if name == "lda"])
    ]
    return Table.from_records(
        "Speaker verification: equal error rate in %",
        "Lower is better, 50 is chance; in brackets the 95 % interval over speakers. Raw layers are "
        "the best for clean / cross-condition trials, chosen on the test itself.",
        records,
    ).without_empty_columns()


def decision_table(metrics: Metrics) -> Table:
    """What the default decision does to the trials behind each headline of the speaker subspaces."""
    records = [
        {
            "protocol": protocol,
            "space": space,
            "trials": f"{condition_title(condition)}, {stratum_title(stratum)}",
            "EER %": error_rate(rates),
            **_decided(rates),
        }
        for protocol in metrics.verification
        for space in spaces_of(metrics, "speaker")
        for condition, stratum in _HEADLINE
        if (rates := own_verification(metrics, protocol, space).get(condition, {}).get(stratum))
        and rates.false_accepts is not None
    ]
    return Table.from_records(
        "The default decision: strangers accepted and speakers refused, in %",
        "The threshold of this run's model accepts 1 % of strangers among the synthetic test set's voices; "
        "no human recording decides it. `intervox verify` prints the rates of the model that it uses.",
        records,
        labels=3,
    )


def _decided(result: ErrorRates) -> dict[str, str]:
    return {
        "strangers accepted": percent(result.false_accepts),
        "speakers refused": percent(result.false_rejects),
    }


def _cell(found: Mapping[str, Strata], condition: str, stratum: str) -> str:
    """The pool of all pairs stands in only where texts are not known to differ."""
    strata = found.get(condition, {})
    if stratum == "all" and "different_text" in strata:
        return NOTHING
    return error_rate(strata.get(stratum))


def _costs(result: ErrorRates) -> dict[str, str]:
    return {
        "EER %": error_rate(result),
        **{f"minDCF {prior}": number(result.min_dcf.get(prior)) for prior in ("0.01", "0.05")},
        "Cllr": number(result.cllr),
        "min Cllr": number(result.min_cllr),
        **_decided(result),
    }


def strata_table(metrics: Metrics) -> Table:
    """Every stratum of every subspace of the speaker, with costs and counts."""
    records = [
        {
            "protocol": protocol,
            "space": space,
            "trials": f"{condition_title(condition)}, {stratum_title(stratum)}",
            **_costs(result),
            "targets": f"{result.targets:,}",
            "impostors": f"{result.impostors:,}",
        }
        for protocol, found in metrics.verification.items()
        for space in spaces_of(metrics, "speaker")
        for condition, strata in found.own.get(space, {}).items()
        for stratum, result in strata.items()
    ]
    return Table.from_records(
        "Every stratum: speaker subspaces",
        "EER in %; minDCF with its prior, normalised, 1 is no use at all; Cllr in bits, 1 is no use "
        "at all, calibrated on the synthetic test set or, without one, across halves of the speakers.",
        records,
        labels=3,
    ).without_empty_columns()


def gaps_table(metrics: Metrics) -> Table:
    """What each difficulty costs, paired over speakers."""
    records = [
        {
            "protocol": protocol,
            "space": space,
            "difficulty": _GAPS.get(name, name),
            "points of EER": percent(gap.value, gap.interval),
            "ratio": NOTHING if gap.ratio is None else f"{gap.ratio:.2f} ×",
        }
        for protocol, spaces in metrics.gaps.items()
        for space, gaps in spaces.items()
        for name, gap in gaps.items()
    ]
    return Table.from_records(
        "Gaps: what a difficulty costs",
        "Rise of the EER in points, with the interval of a bootstrap that draws the same speakers for both.",
        records,
        labels=3,
    )


def severity_table(metrics: Metrics) -> Table:
    """EER against the severity of one disturbance at a time."""
    curves = [
        (protocol, space, disturbance, curve)
        for protocol, spaces in metrics.severity.items()
        for space, disturbances in spaces.items()
        for disturbance, curve in disturbances.items()
    ]
    severities = sorted({severity for *_, curve in curves for severity in curve}, key=float)
    return Table(
        "Severity: EER in % under one disturbance",
        "On a subset of the clips; severity 0 is the same clips undisturbed, 1 the worst of a disturbance.",
        ["protocol", "space", "disturbance", *severities],
        [[*names, *(error_rate(curve.get(severity)) for severity in severities)] for *names, curve in curves],
        labels=3,
    )


def scoring_table(metrics: Metrics) -> Table:
    """Scoring back-ends beside the plain cosine."""
    records = [
        {
            "protocol": protocol,
            "space": space,
            "condition": condition_title(condition),
            "back-end": _BACKENDS.get(backend, backend),
            **_costs(result),
        }
        for protocol, spaces in metrics.scoring.items()
        for space, conditions in spaces.items()
        for condition, backends in conditions.items()
        for backend, result in backends.items()
    ]
    return Table.from_records(
        "Scoring: the same vectors under other back-ends",
        "Different-text trials, or all of them where texts are not known. Cllr is calibrated across two "
        "halves of the speakers, so it differs from that of the other tables.",
        records,
        labels=4,
    ).without_empty_columns()


def layers_table(metrics: Metrics) -> Table:
    """EER of every raw layer."""
    records = []
    for protocol, found in metrics.verification.items():
        layers = found.raw.layers if found.raw else {}
        for condition in layers.get("0", {}):
            record = {"protocol": protocol, "condition": condition_title(condition)}
            for layer in sorted(layers, key=int):
                strata = layers[layer][condition]
                record[f"layer {layer}"] = percent(strata[usual_stratum(strata)].eer)
            records.append(record)
    return Table.from_records(
        "Raw layers: EER in % of each",
        "Different-text trials, or all of them where texts are not known; layer 0 is the input.",
        records,
    )


def calibration_table(metrics: Metrics) -> Table:
    """From a cosine to log odds."""
    records = [
        {
            "protocol": protocol,
            "space": space,
            "source": fit.source,
            "slope": number(fit.slope, digits=2),
            "offset": number(fit.offset, digits=2),
        }
        for protocol, spaces in metrics.calibration.items()
        for space, fit in spaces.items()
    ]
    return Table.from_records(
        "Calibration: from a cosine to log odds",
        "Log odds of the same speaker are slope × cosine + offset; the source is what they were fitted on.",
        records,
        labels=3,
    )
