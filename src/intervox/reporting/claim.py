"""The claim in words: does it separate, how much, on whose speech? Computed from ``metrics.json`` alone."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeVar

from intervox.evaluation.findings import Rate
from intervox.evaluation.results import Metrics
from intervox.reporting.wording import (
    System,
    human_protocols,
    own_keywords,
    own_verification,
    percent,
    spaces_of,
    spotting,
    usual,
    verifying,
)

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
_WORDS: dict[Outcome, str] = {
    "separated": "separated",
    "partly": "partly separated",
    "not": "not separated",
    "void": "void of everything, so not shown to be separated",
}
T = TypeVar("T")


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


def claim(metrics: Metrics) -> Claim:
    """Say what the metrics show, for and against."""
    humans = human_protocols(metrics)
    found = [verdict for protocol in metrics.protocols for verdict in verdicts(metrics, protocol)]
    sentences = [_tested(metrics, humans)]
    for protocol in humans:
        sentences += [*_verification(metrics, protocol), *_keywords(metrics, protocol)]
        if here := [verdict for verdict in found if verdict.protocol == protocol]:
            sentences.append(_separation(protocol, here))
    return Claim(_headline([v for v in found if v.protocol in humans], bool(humans)), sentences, found)


def verdicts(metrics: Metrics, protocol: str) -> list[Verdict]:
    """Judge every subspace on every factor that is not its own and that was probed.

    A space that was made for no factor can't leak one.
    """
    made = {space: factor for space, factor in metrics.spaces.items() if factor}
    factors = dict.fromkeys([*_FACTORS, *made.values()])
    result = []
    for space, own in made.items():
        void = _knows_nothing(metrics, protocol, space, own)
        for factor in factors:
            if factor != own and (evidence := _evidence(metrics, protocol, space, factor)):
                evidence.sort(key=lambda piece: -_ORDER.index(piece[0]))
                if void and evidence[0][0] != "not":
                    evidence.insert(0, ("void", void))
                outcome, words = evidence[0][0], [words for _, words in evidence]
                result.append(Verdict(protocol, space, factor, outcome, words))
    return result


def _evidence(metrics: Metrics, protocol: str, space: str, factor: str) -> list[tuple[Outcome, str]]:
    """All that was measured of a factor in a space: an outcome and its words each."""
    result: list[tuple[Outcome, str]] = []
    separation = metrics.separation.get(protocol)
    cell = separation.matrix.get(factor, {}).get(space) if separation else None
    keywords = own_keywords(metrics, protocol, space).get("clean")
    if cell:
        for name, probe in (("linear probe", cell.linear), ("MLP probe", cell.mlp)):
            control = probe.shuffled_interval or (cell.chance, cell.chance)
            low = (probe.interval or (probe.accuracy,))[0]
            words = f"{name} {probe.accuracy:.2f}, shuffled {control[0]:.2f} to {control[1]:.2f}"
            result.append((_probe(probe.accuracy, low, control[1], cell.chance), words))
    elif factor == "content" and keywords and keywords.probe is not None:
        low = (keywords.probe_interval or (keywords.probe,))[0]
        words = f"linear probe {keywords.probe:.2f}, chance {keywords.chance:.2f}"
        result.append((_probe(keywords.probe, low, keywords.chance, keywords.chance), words))
    found = usual(own_verification(metrics, protocol, space))
    if factor == "speaker" and found:
        by_chance = (found.eer_interval or (found.eer, found.eer))[1] >= 0.5
        outcome: Outcome = "separated" if by_chance else "partly" if found.eer >= CONFUSED else "not"
        result.append((outcome, f"EER {_rate(found)}"))
    return result


def _probe(accuracy: float, low: float, control: float, chance: float) -> Outcome:
    """Judge a probe by the lower end of its interval, the upper end of the control, and chance."""
    if low <= control:
        return "separated"
    return "partly" if accuracy - chance <= READABLE * (1 - chance) else "not"


def _knows_nothing(metrics: Metrics, protocol: str, space: str, own: str) -> str:
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
    if counts["void"] == total:
        return "Nothing is claimed of separation: the subspaces do not know their own factors."
    parts = [
        f"{count} {'is' if count == 1 else 'are'} {words}"
        for name, words in _WORDS.items()
        if (count := counts[name])
    ]
    lead = "Partly separated" if counts["separated"] + counts["partly"] else "Not separated"
    return f"{lead} on human speech: of {total} {'case' if total == 1 else 'cases'}, {_listed(parts)}."


def _tested(metrics: Metrics, humans: list[str]) -> str:
    """Whose speech it was."""
    if not humans:
        return "Only synthetic speech was tested."
    about = metrics.protocols
    people = {name: f"{about[name].speakers:,}" if about[name].speakers else "unknown" for name in humans}
    parts = [f"{name} ({people[name]} speakers, {about[name].clips:,} clips)" for name in humans]
    tongues = sorted({tongue for name in humans for tongue in about[name].languages if tongue})
    languages = f" Languages: {', '.join(tongues)}." if tongues else ""
    return f"Tested on recordings of people: {_listed(parts)}.{languages}"


def _separation(protocol: str, here: list[Verdict]) -> str:
    """What the subspaces hold of other factors, with the evidence."""
    parts = [f"the {v.space} subspace is {_WORDS[v.outcome]} from {v.factor} ({v.evidence[0]})" for v in here]
    return f"On {protocol} {_listed(parts)}."


def _verification(metrics: Metrics, protocol: str) -> list[str]:
    """How well the speaker subspaces verify, against everything else there."""
    if protocol not in metrics.verification:
        return []
    others = []
    for system in verifying(metrics, protocol, list(metrics.baselines)):
        theirs = usual(system.found)
        if theirs and system.kind in ("raw", "baseline"):
            name, chosen = _named(system)
            words = ", ".join(filter(None, (_rate(theirs), chosen)))
            others.append((theirs.eer, f"{name} ({words})"))
    others.sort(key=lambda other: other[0])
    sentences = []
    for space in spaces_of(metrics, "speaker"):
        ours = usual(own_verification(metrics, protocol, space))
        if ours:
            text = f"On {protocol} the {space} subspace has an EER of {_rate(ours)}"
            worse = [words for eer, words in others if eer > ours.eer]
            better = [words for eer, words in others if eer <= ours.eer]
            if len(worse) > SHOWN:
                worse = [*worse[: SHOWN - 1], f"{len(worse) - SHOWN + 1} others"]
            text += f", below {_listed(worse)}" if worse else ""
            text += f"{' but' if worse else ', '} not below {_listed(better)}" if better else ""
            sentences.append(f"{text}.{_harder(metrics, protocol, space)}")
    return sentences


def _named(system: System[T]) -> tuple[str, str]:
    """Say what stands beside a subspace, and how it was chosen where that flatters it."""
    raw = system.kind == "raw"
    return ("the best raw layer", "chosen on this very test") if raw else (system.title, "")


def _harder(metrics: Metrics, protocol: str, space: str) -> str:
    """What degraded clips and same-text impostors do to it."""
    found = own_verification(metrics, protocol, space)
    parts = []
    if degraded := usual(found, "cross_condition"):
        parts.append(f"{_rate(degraded)} with every clip degraded")
    if same_text := found["clean"].get("same_text_impostors"):
        parts.append(f"{_rate(same_text)} against impostors who say the same words")
    return f" It is {_listed(parts)}." if parts else ""


def _keywords(metrics: Metrics, protocol: str) -> list[str]:
    """How well words are known from one example of other speakers."""
    if protocol not in metrics.keywords:
        return []
    ours, others, best = [], [], 0.0
    for system in spotting(metrics, protocol, list(metrics.baselines)):
        shot = system.found["clean"].shot_1
        if shot and system.kind == "own":
            ours.append(f"{shot.accuracy:.2f} from the {system.title}")
            best = max(best, shot.accuracy)
        elif shot and system.kind != "mean":
            name, chosen = _named(system)
            words = f"{shot.accuracy:.2f} from {name}" + (f" ({chosen})" if chosen else "")
            others.append((shot.accuracy, words))
    if not ours:
        return []
    others.sort(key=lambda other: -other[0])
    theirs = [words for _, words in others]
    kept = max(SHOWN, sum(accuracy >= best for accuracy, _ in others))
    if len(theirs) > kept + 1:
        theirs = [*theirs[:kept], f"less from {len(theirs) - kept} others"]
    chance = own_keywords(metrics, protocol, spaces_of(metrics, "content")[0])["clean"].chance
    if theirs:
        ours[-1] += f", against {_listed(theirs)}"
    return [f"One example a word of {protocol} gives an accuracy of {_listed(ours)}; chance is {chance:.2f}."]


def _rate(result: Rate) -> str:
    rate, *bounds = percent(result.eer, result.eer_interval).split(" ", 1)
    return " ".join([f"{rate} %", *bounds])


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
