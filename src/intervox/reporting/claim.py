"""The claim in words: does it separate, how much, on whose speech? Computed from ``metrics.json`` alone."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from intervox.metrics.trials import usual_stratum
from intervox.reporting.wording import human_protocols, spaces_of, systems

Outcome = Literal["separated", "partly", "not", "void"]
READABLE = 0.25
"""Share of the way from chance to perfect up to which a probe finds a factor only *partly* there."""

CONFUSED = 0.40
"""EER from which verification by the wrong subspace is only *partly* possible; 0.5 is chance."""

SHOWN = 3
"""Baselines that a sentence names where ours is better, best first; those as good are named all."""

RULES = (
    "Separated: every probe of the factor lies within the interval of the same probe on shuffled labels, "
    "and the interval of its EER, where it has one, reaches 50 %. "
    f"Partly: above that, but at most {READABLE:.0%} of the way from chance to perfect, and an EER of at "
    f"least {CONFUSED:.0%}. Not: more than that. Void: the subspace does not know its own factor either, "
    "so that missing the other one shows nothing. The worst piece of evidence decides."
)
_ORDER: tuple[Outcome, ...] = ("separated", "partly", "not")
_FACTORS = ("speaker", "content", "condition")


@dataclass(frozen=True)
class Verdict:
    """Whether a subspace holds a factor that is not its own, on one protocol.

    Attributes
    ----------
    outcome
        By ``RULES``.
    evidence
        In words, what decides first.
    """

    protocol: str
    space: str
    factor: str
    outcome: Outcome
    evidence: list[str]


@dataclass(frozen=True)
class Claim:
    """What the run may claim.

    Attributes
    ----------
    headline
        One line over all human protocols.
    sentences
        How much, on whose speech, against what.
    verdicts
        One a protocol, subspace and foreign factor.
    """

    headline: str
    sentences: list[str]
    verdicts: list[Verdict]


def claim(metrics: dict[str, Any]) -> Claim:
    """Say what the metrics show, for and against."""
    humans = human_protocols(metrics)
    found = [verdict for protocol in metrics["protocols"] for verdict in verdicts(metrics, protocol)]
    sentences = [_tested(metrics, humans)]
    for protocol in humans:
        sentences += [*_verification(metrics, protocol), *_keywords(metrics, protocol)]
        sentences += (
            [_separation(protocol, here)] if (here := [v for v in found if v.protocol == protocol]) else []
        )
    return Claim(_headline([v for v in found if v.protocol in humans], bool(humans)), sentences, found)


def verdicts(metrics: dict[str, Any], protocol: str) -> list[Verdict]:
    """Judge every subspace on every factor that is not its own and that was probed.

    A space that was made for no factor can't leak one.
    """
    spaces: dict[str, str] = metrics["spaces"]
    made = {space: factor for space, factor in spaces.items() if factor}
    factors = dict.fromkeys([*_FACTORS, *made.values()])
    result = []
    for space, own in made.items():
        void = _knows_nothing(metrics, protocol, space, own)
        for factor in factors:
            if factor != own and (evidence := _evidence(metrics, protocol, space, factor)):
                worst_first = sorted(evidence, key=lambda piece: -_ORDER.index(piece[0]))
                worst, words = worst_first[0][0], [words for _, words in worst_first]
                if void and worst != "not":
                    result.append(Verdict(protocol, space, factor, "void", [void, *words]))
                else:
                    result.append(Verdict(protocol, space, factor, worst, words))
    return result


def _evidence(metrics: dict[str, Any], protocol: str, space: str, factor: str) -> list[tuple[Outcome, str]]:
    """All that was measured of a factor in a space: an outcome and its words each."""
    result: list[tuple[Outcome, str]] = []
    cell = _cell(metrics, protocol, factor, space)
    for kind, name in (("linear", "linear probe"), ("mlp", "MLP probe")):
        if probe := cell.get(kind):
            control = probe.get("shuffled_interval") or [cell["chance"], cell["chance"]]
            low = (probe.get("interval") or [probe["accuracy"]])[0]
            outcome = _probe(probe["accuracy"], low, control[1], cell["chance"])
            result.append(
                (outcome, f"{name} {probe['accuracy']:.2f}, shuffled {control[0]:.2f} to {control[1]:.2f}")
            )
    keywords = metrics.get("keywords", {}).get(protocol, {}).get(space, {}).get("clean", {})
    if factor == "content" and not cell and keywords.get("probe") is not None:
        probe, chance = keywords["probe"], keywords["chance"]
        low = (keywords.get("probe_interval") or [probe])[0]
        result.append((_probe(probe, low, chance, chance), f"linear probe {probe:.2f}, chance {chance:.2f}"))
    if factor == "speaker" and (result_of := _different_text(metrics, protocol, space)):
        eer, bounds = result_of["eer"], result_of.get("eer_interval")
        words = f"EER {_rate(result_of)}"
        if (bounds or [eer, eer])[1] >= 0.5:
            result.append(("separated", words))
        else:
            result.append(("partly" if eer >= CONFUSED else "not", words))
    return result


def _probe(accuracy: float, low: float, control: float, chance: float) -> Outcome:
    """Judge a probe by the lower end of its interval, the upper end of the control, and chance."""
    if low <= control:
        return "separated"
    return "partly" if accuracy - chance <= READABLE * (1 - chance) else "not"


def _knows_nothing(metrics: dict[str, Any], protocol: str, space: str, own: str) -> str:
    """Say that a space does not know its own factor, or nothing where it does or nobody measured."""
    evidence = _evidence(metrics, protocol, space, own)
    if evidence and all(outcome == "separated" for outcome, _ in evidence):
        return f"{space} does not know its own factor ({evidence[0][1]})"
    return ""


def _headline(verdicts: list[Verdict], any_human: bool) -> str:
    if not any_human:
        return "Nothing is claimed: no human speech was tested."
    if not verdicts:
        return "Nothing is claimed of separation: no subspace was probed for another factor."
    counts = Counter(verdict.outcome for verdict in verdicts)
    total = len(verdicts)
    if counts["separated"] == total:
        return f"Separated on human speech: in none of {total} cases is the other factor found."
    parts = [
        f"{counts[name]} {_plural(counts[name])} {words}" for name, words in _WORDS.items() if counts[name]
    ]
    lead = "Partly separated" if counts["separated"] + counts["partly"] else "Not separated"
    if counts["void"] == total:
        return "Nothing is claimed of separation: the subspaces do not know their own factors."
    return f"{lead} on human speech: of {total} {'case' if total == 1 else 'cases'}, {_listed(parts)}."


_WORDS: dict[Outcome, str] = {
    "separated": "separated",
    "partly": "partly separated",
    "not": "not separated",
    "void": "void of everything, so not shown to be separated",
}


def _plural(count: int) -> str:
    return "is" if count == 1 else "are"


def _tested(metrics: dict[str, Any], humans: list[str]) -> str:
    """Whose speech it was."""
    if not humans:
        return "Only synthetic speech was tested."
    about = metrics["protocols"]
    parts = [
        f"{name} ({about[name]['speakers']:,} speakers, {about[name]['clips']:,} clips)" for name in humans
    ]
    tongues = sorted({tongue for name in humans for tongue in about[name].get("languages", ()) if tongue})
    languages = f" Languages: {', '.join(tongues)}." if tongues else ""
    return f"Tested on recordings of people: {_listed(parts)}.{languages}"


def _separation(protocol: str, here: list[Verdict]) -> str:
    """What the subspaces hold of other factors, with the evidence."""
    parts = [f"the {v.space} subspace is {_WORDS[v.outcome]} from {v.factor} ({v.evidence[0]})" for v in here]
    return f"On {protocol} {_listed(parts)}."


def _verification(metrics: dict[str, Any], protocol: str) -> list[str]:
    """How well the speaker subspaces verify, against everything else there."""
    if protocol not in metrics["verification"]:
        return []
    sentences = []
    for space in spaces_of(metrics, "speaker"):
        ours = _different_text(metrics, protocol, space)
        if not ours:
            continue
        others = []
        for title, result in systems(metrics, "verification", protocol, "speaker", metrics["baselines"]):
            strata = result["clean"]
            theirs = strata.get(usual_stratum(strata))
            if theirs and not title.endswith("subspace") and not title.startswith("raw, mean"):
                name, chosen = _named(title)
                words = ", ".join(filter(None, (_rate(theirs), chosen)))
                others.append((theirs, f"{name} ({words})"))
        others.sort(key=lambda other: float(other[0]["eer"]))
        text = f"On {protocol} the {space} subspace has an EER of {_rate(ours)}"
        worse = [words for result, words in others if result["eer"] > ours["eer"]]
        better = [words for result, words in others if result["eer"] <= ours["eer"]]
        if len(worse) > SHOWN:
            worse = [*worse[: SHOWN - 1], f"{len(worse) - SHOWN + 1} others"]
        text += f", below {_listed(worse)}" if worse else ""
        text += f"{' but' if worse else ', '} not below {_listed(better)}" if better else ""
        sentences.append(f"{text}.{_harder(metrics, protocol, space)}")
    return sentences


def _named(title: str) -> tuple[str, str]:
    """Say what stands beside a subspace, and how it was chosen where that flatters it."""
    raw = title.startswith("raw")
    return ("the best raw layer", "chosen on this very test") if raw else (title, "")


def _harder(metrics: dict[str, Any], protocol: str, space: str) -> str:
    """What degraded clips and same-text impostors do to it."""
    strata = metrics["verification"][protocol][space]
    cross = strata.get("cross_condition", {})
    parts = []
    if degraded := cross.get(usual_stratum(cross)):
        parts.append(f"{_rate(degraded)} with every clip degraded")
    if same_text := strata["clean"].get("same_text_impostors"):
        parts.append(f"{_rate(same_text)} against impostors who say the same words")
    return f" It is {_listed(parts)}." if parts else ""


def _keywords(metrics: dict[str, Any], protocol: str) -> list[str]:
    """How well words are known from one example of other speakers."""
    if protocol not in metrics.get("keywords", {}):
        return []
    shown = []
    for title, result in systems(metrics, "keywords", protocol, "content", metrics["baselines"]):
        shot = result["clean"].get("shot_1")
        if shot and not title.startswith("raw, mean"):
            shown.append((title, shot["accuracy"]))
    ours = [f"{value:.2f} from the {title}" for title, value in shown if title.endswith("subspace")]
    others = sorted((s for s in shown if not s[0].endswith("subspace")), key=lambda other: -other[1])
    best = max((value for title, value in shown if title.endswith("subspace")), default=0.0)
    theirs = []
    for title, value in others:
        name, chosen = _named(title)
        theirs.append(f"{value:.2f} from {name}" + (f" ({chosen})" if chosen else ""))
    kept = max(SHOWN, sum(value >= best for _, value in others))
    if len(theirs) > kept + 1:
        theirs = [*theirs[:kept], f"less from {len(theirs) - kept} others"]
    if not ours:
        return []
    chance = metrics["keywords"][protocol][spaces_of(metrics, "content")[0]]["clean"]["chance"]
    if theirs:
        ours[-1] += f", against {_listed(theirs)}"
    return [f"One example a word of {protocol} gives an accuracy of {_listed(ours)}; chance is {chance:.2f}."]


def _different_text(metrics: dict[str, Any], protocol: str, space: str) -> dict[str, Any]:
    strata = metrics["verification"].get(protocol, {}).get(space, {}).get("clean", {})
    return strata.get(usual_stratum(strata)) or {}


def _cell(metrics: dict[str, Any], protocol: str, factor: str, space: str) -> dict[str, Any]:
    matrix = metrics.get("separation", {}).get(protocol, {}).get("matrix") or {}
    return matrix.get(factor, {}).get(space) or {}


def _rate(result: dict[str, Any]) -> str:
    bounds = result.get("eer_interval")
    shown = " [{:.1f}, {:.1f}]".format(*(100 * bound for bound in bounds)) if bounds else ""
    return f"{100 * result['eer']:.1f} %{shown}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
