"""The tables of separation: who knows what, what remains, how the spaces lie to each other."""

from typing import Any

from intervox.reporting.table import (
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
        cells = [percent(found.get("speaker_eer_from", {}).get(space)) for space in contents[:1]]
        for space in speakers[:1]:
            cost = found.get("same_text_cost_of", {}).get(space)
            probe = found.get("keyword_probe_from", {}).get(space)
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
            "information, which is at most the entropy beside it. Condition tells clean clips from "
            "degraded copies, by disturbance where severities were measured.",
            [
                "protocol",
                "factor",
                "from",
                "linear",
                "MLP",
                "shuffled",
                "chance",
                "bits",
                "entropy, bits",
                "classes",
                "clips",
            ],
            rows,
            3,
        )
    )


def rejection_table(metrics: dict[str, Any]) -> Table:
    """What is left when a subspace is taken out of the raw representation, and what it keeps."""
    rows = []
    for protocol, found in metrics.get("separation", {}).items():
        without, within = (found.get(kind) or {} for kind in ("rejection", "projection"))
        for factor, spaces in (without or within).items():
            for space in spaces:
                cells = [side.get(factor, {}).get(space) for side in (without, within)]
                chance = next((cell.get("chance") for cell in cells if cell), None)
                rows.append([protocol, factor, space, *map(accuracy, cells), number(chance)])
    return without_empty_columns(
        Table(
            "Projection: raw layers without a subspace, and within it",
            "Accuracy of a linear probe of the factor, with its 95 % interval: on all layers with the "
            "subspace projected out, and on what the subspace reads of them.",
            ["protocol", "factor", "subspace", "left without it", "kept in it", "chance"],
            rows,
            3,
        )
    )


def geometry_table(metrics: dict[str, Any]) -> Table:
    """Angles between the maps, and dependence of their embeddings."""
    rows = []
    for protocol, found in metrics.get("separation", {}).items():
        for pair, measured in (found.get("geometry") or {}).items():
            angles = measured.get("principal_angles") or {}
            rows.append(
                [
                    protocol,
                    pair.replace("-", " and "),
                    number(measured.get("cross_covariance")),
                    number(measured.get("cross_covariance_by_chance")),
                    number(measured.get("shared_bits"), 2),
                    *(number(angles.get(name), 1) for name in ("mean", "min", "random_mean", "random_min")),
                ]
            )
    return without_empty_columns(
        Table(
            "Geometry: how two spaces lie to each other",
            "Cross-covariance (RV coefficient) and shared bits are of the clean clips' vectors, 0 is "
            "uncorrelated; by chance is with clips paired at random. Principal angles are between the "
            "maps, in degrees, 90 is orthogonal, beside those of random subspaces of the same dims; "
            "orthogonal maps can still be dependent.",
            [
                "protocol",
                "spaces",
                "cross-covariance",
                "by chance",
                "shared bits",
                "mean angle",
                "smallest",
                "random, mean",
                "random, smallest",
            ],
            rows,
        )
    )


def abx_table(metrics: dict[str, Any]) -> Table:
    """ABX error across speakers, of the subspaces and the best raw layer."""
    rows = [
        [
            protocol,
            space.replace("raw.", "raw, layer "),
            in_percent(result["error"], result.get("interval")),
            f"{result['triples']:,}" if "triples" in result else NOTHING,
        ]
        for protocol, found in metrics.get("separation", {}).items()
        for space, result in (found.get("abx") or {}).items()
        if result
    ]
    return without_empty_columns(
        Table(
            "ABX across speakers: error in % by single frames",
            "How often a content lies nearer to another content of a voice than to the same one of that "
            "voice, said by someone else. Lower is better for content, 50 is chance and what a space "
            "without words should have; the raw layer is the best, chosen on the test itself.",
            ["protocol", "space", "error", "triples"],
            rows,
        )
    )


def blocks_table(metrics: dict[str, Any]) -> Table:
    """DCI and MIG with a subspace in the place of a dimension."""
    names = ("disentanglement", "completeness", "informativeness")
    rows = []
    for protocol, found in metrics.get("separation", {}).items():
        blocks = found.get("blocks") or {}
        cells = [number((blocks.get("dci") or {}).get(name)) for name in names]
        cells.append(number(blocks.get("mig")))
        if any(cell != NOTHING for cell in cells):
            rows.append([protocol, *cells])
    return Table(
        "Blocks: DCI and MIG of whole subspaces",
        "Between 0 and 1, higher is better separated; they compress the matrix and add nothing to it.",
        ["protocol", *names, "MIG"],
        rows,
        1,
    )
