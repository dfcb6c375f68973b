"""The tables of separation: who knows what, what remains, how the spaces lie to each other."""

from typing import Any

from intervox.evaluation.table import (
    NOTHING,
    Table,
    accuracy,
    in_percent,
    number,
    percent,
    share,
    spaces_of,
    without_empty_columns,
)


def separation_table(metrics: dict[str, Any]) -> Table:
    """What each subspace holds of the other's factor, in three figures a protocol."""
    speakers, contents = (
        [space for space in spaces_of(metrics, factor) if metrics["spaces"][space]]
        for factor in ("speaker", "content")
    )
    rows = []
    for protocol, found in metrics.get("separation", {}).items():
        chance = found.get("keyword_chance")
        cells = [percent(found.get(f"speaker_eer_from_{space}")) for space in contents[:1]]
        for space in speakers[:1]:
            cost = found.get(f"same_text_cost_of_{space}")
            probe = found.get(f"keyword_probe_from_{space}")
            cells.append(NOTHING if cost is None else f"{cost:.2f} ×")
            cells.append(NOTHING if probe is None else f"{probe:.3f} (chance {chance:.3f})")
        if any(cell != NOTHING for cell in cells):
            rows.append([protocol, *cells])
    header = ["protocol", *("speaker EER % from content" for _ in contents[:1])]
    for _ in speakers[:1]:
        header += ["same-text cost of speaker", "keyword probe from speaker"]
    return Table(
        "Separation: what each subspace holds of the other factor",
        "A content subspace that knows no speaker has an EER of 50 %; a speaker subspace that knows "
        "no words has a probe at chance, and same-text impostors cost it 1 ×.",
        header,
        rows,
        1,
    )


def matrix_table(metrics: dict[str, Any]) -> Table:
    """The separation matrix as rows."""
    rows = []
    for protocol, found in metrics.get("separation", {}).items():
        for factor, spaces in (found.get("matrix") or {}).items():
            for space, cell in spaces.items():
                linear, information = cell["linear"], cell.get("information") or {}
                bits = number(information.get("bits"), 2)
                if information.get("interval"):
                    bits += " [{:.2f}, {:.2f}]".format(*information["interval"])
                cells = [accuracy(linear), accuracy(cell.get("mlp"))]
                cells.append(share(linear.get("shuffled"), linear.get("shuffled_interval")))
                cells += [number(cell["chance"]), bits, number(information.get("entropy_bits"), 2)]
                counts = [
                    str(cell.get("classes", NOTHING)),
                    f"{cell['clips']:,}" if "clips" in cell else NOTHING,
                ]
                rows.append([protocol, factor, space, *cells, *counts])
    return without_empty_columns(
        Table(
            "Separation matrix: what probes read from each space",
            "Accuracy on clips kept from the probe, with its 95 % interval; shuffled is the same linear "
            "probe on shuffled labels, chance the commonest class. Bits are a lower bound of the "
            "information, of the entropy beside it.",
            [
                "protocol",
                "factor",
                "from",
                "linear",
                "MLP",
                "shuffled",
                "chance",
                "bits",
                "of bits",
                "classes",
                "clips",
            ],
            rows,
            3,
        )
    )


def rejection_table(metrics: dict[str, Any]) -> Table:
    """What is left when a subspace is taken out of the raw representation, and what it keeps."""
    rows = [
        [
            protocol,
            factor,
            space,
            "left without it" if kind == "rejection" else "kept in it",
            accuracy(result),
        ]
        for protocol, found in metrics.get("separation", {}).items()
        for kind in ("rejection", "projection")
        for factor, spaces in (found.get(kind) or {}).items()
        for space, result in spaces.items()
    ]
    return Table(
        "Projection: raw layers without a subspace, and within it",
        "Accuracy of a linear probe of the factor, with its 95 % interval.",
        ["protocol", "factor", "subspace", "what is probed", "accuracy"],
        rows,
        4,
    )


def geometry_table(metrics: dict[str, Any]) -> Table:
    """Angles, block scores and ABX: every other number on how the spaces lie to each other."""
    rows = []
    for protocol, found in metrics.get("separation", {}).items():
        abx = found.get("abx") or {}
        for space, result in ((space, of) for space, of in abx.items() if of):
            rows.append(
                [protocol, f"ABX error from {space}, %", in_percent(result["error"], result.get("interval"))]
            )
        for group in ("geometry", "blocks"):
            rows += [[protocol, name, value] for name, value in _flat(found.get(group) or {})]
    return Table(
        "Geometry: angles, blocks and ABX",
        "Principal angles between the subspaces in degrees, 90 is orthogonal; DCI and MIG lie between "
        "0 and 1, higher is better separated.",
        ["protocol", "measure", "value"],
        rows,
    )


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Walk through nested numbers; what is no number is left out."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        title = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            found += _flat(value, f"{title}, ")
        elif isinstance(value, int | float):
            found.append((title, number(value)))
    return found
