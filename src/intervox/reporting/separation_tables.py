"""The tables of separation: who knows what, what remains, how the spaces lie to each other."""

from intervox.evaluation.results import Metrics
from intervox.reporting.wording import accuracy, number, percent
from intervox.tables import NOTHING, Table


def separation_table(metrics: Metrics) -> Table:
    """What each subspace holds of the other's factor, in three figures a protocol."""
    speaker, content = (
        next((space for space, of in metrics.spaces.items() if of == factor), "")
        for factor in ("speaker", "content")
    )
    records = []
    for protocol, found in metrics.separation.items():
        cost, probe = found.same_text_cost_of.get(speaker), found.keyword_probe_from.get(speaker)
        chance = f" (chance {number(found.keyword_chance)})"
        cells = {
            "speaker EER % from content": percent(found.speaker_eer_from.get(content)),
            "same-text cost of speaker": NOTHING if cost is None else f"{cost:.2f} ×",
            "keyword probe from speaker": NOTHING if probe is None else number(probe) + chance,
        }
        if any(cell != NOTHING for cell in cells.values()):
            records.append({"protocol": protocol} | cells)
    return Table.from_records(
        "Separation: what each subspace holds of the other factor",
        "A content subspace that knows no speaker has an EER of 50 %; a speaker subspace that knows "
        "no words has a probe at chance, and same-text impostors cost it 1 ×.",
        records,
        labels=1,
    ).without_empty_columns()


def kept_table(metrics: Metrics) -> Table:
    """What each subspace keeps of what the raw model knows, of its own factor and of the others."""
    records = []
    for protocol, found in metrics.separation.items():
        cells = {
            f"{space}: {factor}": percent(cell.kept.share, cell.kept.interval)
            for space in metrics.spaces
            for factor in dict.fromkeys(filter(None, metrics.spaces.values()))
            if (cell := found.matrix.get(factor, {}).get(space)) and cell.kept
        }
        if cells:
            records.append({"protocol": protocol} | cells)
    return Table.from_records(
        "Kept: of what the raw model knows, the share in each subspace, in %",
        "Bits that the better of a linear probe and an MLP reads on unseen groups, as a share of what they "
        "read from all raw layers, with the 95 % interval. 100 is all; of the other factor 0 is best.",
        records,
        labels=1,
    ).without_empty_columns()


def matrix_table(metrics: Metrics) -> Table:
    """The separation matrix as rows."""
    records = [
        {
            "protocol": protocol,
            "factor": factor,
            "from": space,
            "linear": accuracy(cell.linear),
            "MLP": accuracy(cell.mlp),
            "shuffled": number(cell.linear.shuffled, cell.linear.shuffled_interval),
            "chance": number(cell.chance),
            "bits": number(cell.information.bits, cell.information.interval, 2),
            "entropy, bits": number(cell.information.entropy_bits, digits=2),
            "classes": str(cell.classes),
            "clips": f"{cell.clips:,}",
        }
        for protocol, found in metrics.separation.items()
        for factor, spaces in found.matrix.items()
        for space, cell in spaces.items()
    ]
    return Table.from_records(
        "Separation matrix: what probes read from each space",
        "Accuracy on clips kept from the probe, with its 95 % interval; shuffled is the same linear "
        "probe on shuffled labels, chance the commonest class. Bits are a lower bound of the "
        "information, which is at most the entropy beside it. Condition tells clean clips from "
        "degraded copies, by disturbance where severities were measured.",
        records,
        labels=3,
    )


def rejection_table(metrics: Metrics) -> Table:
    """What is left when a subspace is taken out of the raw representation, and what it keeps."""
    records = [
        {
            "protocol": protocol,
            "factor": factor,
            "subspace": space,
            "left without it": accuracy(reading),
            "kept in it": accuracy(found.projection.get(factor, {}).get(space)),
            "chance": number(reading.chance),
        }
        for protocol, found in metrics.separation.items()
        for factor, spaces in found.rejection.items()
        for space, reading in spaces.items()
    ]
    return Table.from_records(
        "Projection: raw layers without a subspace, and within it",
        "Accuracy of a linear probe of the factor, with its 95 % interval: on all layers with the "
        "subspace projected out, and on what the subspace reads of them.",
        records,
        labels=3,
    )


def geometry_table(metrics: Metrics) -> Table:
    """Angles between the maps, and dependence of their embeddings."""
    records = []
    for protocol, found in metrics.separation.items():
        for pair, measured in found.geometry.items():
            record = {
                "protocol": protocol,
                "spaces": pair.replace("-", " and "),
                "cross-covariance": number(measured.cross_covariance),
                "by chance": number(measured.cross_covariance_by_chance),
                "shared bits": number(measured.shared_bits, digits=2),
            }
            if angles := measured.principal_angles:
                shown = angles.mean, angles.min, angles.random_mean, angles.random_min
                names = "mean angle", "smallest", "random, mean", "random, smallest"
                record |= {name: number(one, digits=1) for name, one in zip(names, shown, strict=True)}
            records.append(record)
    return Table.from_records(
        "Geometry: how two spaces lie to each other",
        "Cross-covariance (RV coefficient) and shared bits are of the clean clips' vectors, 0 is "
        "uncorrelated; by chance is with clips paired at random. Principal angles are between the "
        "maps, in degrees, 90 is orthogonal, beside those of random subspaces of the same dims; "
        "orthogonal maps can still be dependent.",
        records,
    )


def abx_table(metrics: Metrics) -> Table:
    """ABX error across speakers, of the subspaces and the best raw layer."""
    records = [
        {
            "protocol": protocol,
            "space": space.replace("raw.", "raw, layer "),
            "error": percent(result.error, result.interval),
            "triples": f"{result.triples:,}",
        }
        for protocol, found in metrics.separation.items()
        for space, result in found.abx.items()
    ]
    return Table.from_records(
        "ABX across speakers: error in % by single frames",
        "How often a content lies nearer to another content of a voice than to the same one of that "
        "voice, said by someone else. Lower is better for content, 50 is chance and what a space "
        "without words should have; the raw layer is the best, chosen on the test itself.",
        records,
    )


def blocks_table(metrics: Metrics) -> Table:
    """DCI and MIG with a subspace in the place of a dimension."""
    records = [
        {"protocol": protocol}
        | {name: number(value) for name, value in blocks.dci}
        | {"MIG": number(blocks.mig)}
        for protocol, found in metrics.separation.items()
        if (blocks := found.blocks)
    ]
    return Table.from_records(
        "Blocks: DCI and MIG of whole subspaces",
        "Between 0 and 1, higher is better separated; they compress the matrix and add nothing to it.",
        records,
        labels=1,
    )
