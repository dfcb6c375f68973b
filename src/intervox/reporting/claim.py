"""The claim in words: what is kept, is it separate, how often does it err? From ``metrics.json`` alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from intervox.evaluation.findings import SystemDifference
from intervox.evaluation.results import Metrics
from intervox.reporting.opening import KeptBar, RatePanel, kept_bars, speaker_panels, word_panels
from intervox.reporting.trials import SHOWN_BASELINES
from intervox.reporting.verdicts import MARGIN, Outcome, Verdict, verdicts
from intervox.reporting.wording import baseline_title, human_protocols, span

_WORDS: dict[Outcome, str] = {
    "separated": "separated",
    "not shown": "not shown to be separated",
    "partly": "partly separated",
    "not": "not separated",
    "void": "void of everything, so not shown to be separated",
}


@dataclass(frozen=True)
class Claim:
    """What the run may claim, each in a sentence or two; empty where nothing was measured.

    Attributes
    ----------
    kept
        How much of each factor every subspace keeps.
    judged
        The verdicts, counted over all human protocols.
    tested
        Whose speech it was.
    speakers
        How often speakers are mistaken, against the baselines.
    words
        How often words are mistaken.
    verdicts
        One per protocol, subspace and foreign factor.
    """

    kept: str
    judged: str
    tested: str
    speakers: str
    words: str
    verdicts: list[Verdict]

    @property
    def headline(self) -> str:
        """What is kept, and the verdicts."""
        return " ".join(filter(None, (self.kept, self.judged)))


def claim(metrics: Metrics) -> Claim:
    """Say what the metrics show, for and against."""
    humans = human_protocols(metrics)
    found = [verdict for protocol in metrics.protocols for verdict in verdicts(metrics, protocol)]
    judged = _judged([verdict for verdict in found if verdict.protocol in humans], bool(humans))
    return Claim(_kept(metrics), judged, _tested(metrics, humans), _speakers(metrics), _words(metrics), found)


def _kept(metrics: Metrics) -> str:
    """Say how much of what the raw model knows each subspace keeps, from the least to the most."""
    if not human_protocols(metrics):
        return ""
    by_space: dict[str, list[tuple[str, KeptBar]]] = {}
    for factor, bars in kept_bars(metrics).items():
        for bar in bars:
            by_space.setdefault(bar.title, []).append((factor, bar))
    clauses = []
    for title, parts in by_space.items():
        own_first = sorted(parts, key=lambda part: part[1].made_for != part[0])
        clauses.append(f"the {title} keeps {_listed([f'{bar.spread} of the {f}' for f, bar in own_first])}")
    return f"Of what the raw model knows, {'; '.join(clauses)}." if clauses else ""


def _judged(verdicts: Sequence[Verdict], any_human: bool) -> str:
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


def _tested(metrics: Metrics, humans: Sequence[str]) -> str:
    """Whose speech it was."""
    if not humans:
        return "Only synthetic speech was tested."
    about = metrics.protocols
    people = {name: f"{about[name].speakers:,}" if about[name].speakers else "unknown" for name in humans}
    parts = [f"{name} ({people[name]} speakers, {about[name].clips:,} clips)" for name in humans]
    tongues = sorted({tongue for name in humans for tongue in about[name].languages if tongue})
    languages = f" Languages: {', '.join(tongues)}." if tongues else ""
    return f"Tested on recordings of people: {_listed(parts)}.{languages}"


def _speakers(metrics: Metrics) -> str:
    """Say how often speakers are mistaken, and on how many test sets a baseline is better or worse."""
    panels = speaker_panels(metrics)
    if not panels:
        return ""
    lead = f"The {panels[0].bars[0].title} has an equal error rate of {_spans(panels)[0]}."
    against = []
    for name in SHOWN_BASELINES:
        pairs = [
            (found, found.cross_condition)
            for panel in panels
            if name in metrics.baselines and (found := metrics.baselines[name].against.get(panel.protocol))
        ]
        if pairs:
            clean, degraded = zip(*pairs, strict=True)
            text = f"Against {baseline_title(name)} it is {_tally(clean)}"
            if any(degraded):
                text += f"; with every clip degraded it is {_tally(filter(None, degraded))}"
            against.append(f"{text}.")
    return " ".join([lead, *against])


def _words(metrics: Metrics) -> str:
    """Say how often words are mistaken, and on how many test sets less often than by others."""
    panels = word_panels(metrics)
    if not panels:
        return ""
    ours, *others = _spans(panels)
    beside = f", {_listed(others)}" if others else ""
    return (
        f"Given one example of each word, the {panels[0].bars[0].title} mistakes {ours} of the words of "
        f"unseen speakers{beside}."
    )


def _spans(panels: Sequence[RatePanel]) -> list[str]:
    """The clean error rates of our subspace, then those of the others with their names, least to most."""
    rates: dict[str, list[float]] = {}
    for panel in panels:
        for bar in panel.bars:
            rates.setdefault(bar.title, []).append(100 * bar.rates["clean"].value)
    ours, *others = [(title, span(min(found), max(found), 1)) for title, found in rates.items()]
    return [ours[1], *(f"{title} {words}" for title, words in others)]


def _tally(differences: Iterable[SystemDifference]) -> str:
    """Count the test sets by what the interval of the paired difference says."""
    counts: Counter[str] = Counter()
    total = 0
    for found in differences:
        total += 1
        low, high = found.interval if isinstance(found.interval, tuple) else (0.0, 0.0)
        counts["better" if low > 0 else "worse" if high < 0 else "undecided"] += 1
    order = ("better", "worse", "undecided")
    parts = [f"{name} on {counts[name]}" for name in order if counts[name]]
    return f"{_listed(parts)} of {total} test {'set' if total == 1 else 'sets'}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
