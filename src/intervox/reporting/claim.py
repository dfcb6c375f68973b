"""The claim in words: does it separate, how much, on whose speech? Computed from ``metrics.json`` alone."""

from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

from intervox.evaluation.results import Metrics
from intervox.reporting.verdicts import MARGIN, Outcome, Verdict, rate_words, verdicts
from intervox.reporting.wording import (
    System,
    human_protocols,
    own_keywords,
    own_verification,
    spaces_of,
    spotting,
    usual,
    verifying,
)

SHOWN = 3
"""Baselines that a sentence names where ours is better, best first; those as good are named all."""

_WORDS: dict[Outcome, str] = {
    "separated": "separated",
    "not shown": "not shown to be separated",
    "partly": "partly separated",
    "not": "not separated",
    "void": "void of everything, so not shown to be separated",
}
T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """What the run may claim.

    Attributes
    ----------
    headline
        What is kept of each factor, and the verdicts, over all human protocols.
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
    parts = _kept(metrics, humans), _headline([v for v in found if v.protocol in humans], bool(humans))
    return Claim(" ".join(filter(None, parts)), sentences, found)


def _kept(metrics: Metrics, humans: list[str]) -> str:
    """Say how much of what the raw model knows each subspace keeps, from the least to the most."""
    made = {space: factor for space, factor in metrics.spaces.items() if factor}
    clauses = []
    for space in made:
        parts = []
        for factor in dict.fromkeys(made.values()):
            cells = [metrics.separation[p].matrix.get(factor, {}) for p in humans if p in metrics.separation]
            shares = [cell[space].kept for cell in cells if space in cell]
            known = sorted(100 * max(kept.share, 0) for kept in shares if kept)
            if known:
                least, most = f"{known[0]:.0f}", f"{known[-1]:.0f}"
                parts.append(f"{least if least == most else f'{least} to {most}'} % of the {factor}")
        if parts:
            clauses.append(f"the {space} subspace keeps {' and '.join(parts)}")
    return f"Of what the raw model knows, {_listed(clauses)}." if clauses else ""


def _headline(verdicts: list[Verdict], any_human: bool) -> str:
    if not any_human:
        return "Nothing is claimed: no human speech was tested."
    if not verdicts:
        return "Nothing is claimed of separation: no subspace was probed for another factor."
    counts = Counter(verdict.outcome for verdict in verdicts)
    total = len(verdicts)
    if counts["separated"] == total:
        return (
            f"Separated on human speech: in each of {total} cases at most {MARGIN:.0%} of what raw layers "
            "know of the other factor is left."
        )
    if counts["void"] == total:
        return "Nothing is claimed of separation: the subspaces do not know their own factors."
    parts = [
        f"{count} {'is' if count == 1 else 'are'} {words}"
        for name, words in _WORDS.items()
        if (count := counts[name])
    ]
    some = counts["separated"] + counts["partly"]
    lead = "Partly separated" if some else "Not separated" if counts["not"] else "Not shown to be separated"
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
            words = ", ".join(filter(None, (rate_words(theirs), chosen)))
            others.append((theirs.eer, f"{name} ({words})"))
    others.sort(key=lambda other: other[0])
    sentences = []
    for space in spaces_of(metrics, "speaker"):
        ours = usual(own_verification(metrics, protocol, space))
        if ours:
            text = f"On {protocol} the {space} subspace has an EER of {rate_words(ours)}"
            worse = [words for eer, words in others if eer > ours.eer]
            better = [words for eer, words in others if eer <= ours.eer]
            if len(worse) > SHOWN:
                worse = [*worse[: SHOWN - 1], f"{len(worse) - SHOWN + 1} others"]
            text += f", below {_listed(worse)}" if worse else ""
            text += f"{' but' if worse else ','} not below {_listed(better)}" if better else ""
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
        parts.append(f"{rate_words(degraded)} with every clip degraded")
    if same_text := found["clean"].get("same_text_impostors"):
        parts.append(f"{rate_words(same_text)} against impostors who say the same words")
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


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
