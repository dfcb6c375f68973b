"""The verdict: whether a subspace holds a factor that is not its own, by fixed rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from intervox.evaluation.findings import Keywords, ProbeAccuracy, Rate
from intervox.evaluation.results import RAW, Metrics
from intervox.metrics.bootstrap import Interval
from intervox.reporting.wording import number, own_keywords, own_verification, percent, usual
from intervox.tables import NOTHING

Outcome = Literal["separated", "not shown", "partly", "not", "void"]
MARGIN = 0.10
"""Share of what raw layers know of a factor, up to which a subspace is *separated* from it."""

READABLE = 0.25
"""Share of the same up to which a subspace is *partly* separated."""

MOST_TIMES = 1_000
"""A test that needs more than so many times the clips there are is not planned."""

RULES = (
    "Each piece of evidence (a linear probe, an MLP, the EER) is held against the best raw one of its kind: "
    "what raw layers know is how far the nearer end of their interval lies from chance. Chance is the mean "
    "of the same probe on shuffled labels, or an EER of 50 %; accuracies are means over seeds, intervals "
    "the central 95 % over resampled groups (speakers or texts). "
    f"Separated: the whole interval lies within {MARGIN:.0%} of what raw layers know. "
    "Partly: a leak is shown, as the whole interval lies beyond chance and beyond the interval of the "
    f"shuffled labels, but its estimate is at most {READABLE:.0%} of raw's. Not: it is more. Not shown: "
    "neither a leak nor its absence, as the interval is too wide or missing, or raw layers themselves "
    "are not shown to know the factor. Void: the subspace is not shown to know its own factor, so that "
    "missing the other one says nothing. The worst piece of evidence decides."
)
_ORDER: tuple[Outcome, ...] = ("separated", "not shown", "partly", "not")
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

    @property
    def case(self) -> tuple[str, str]:
        """What is judged: a subspace, of a factor."""
        return self.space, self.factor


def verdicts(metrics: Metrics, protocol: str) -> list[Verdict]:
    """Judge every subspace on every factor that is not its own and that was probed.

    A space that was made for no factor can't leak one.
    """
    made = {space: factor for space, factor in metrics.spaces.items() if factor}
    factors = dict.fromkeys([*_FACTORS, *made.values()])
    result = []
    for space, own in made.items():
        # Where a protocol can't test the own factor, as texts that nobody shares can't, the others tell.
        known = _evidence(metrics, protocol, space, own) or [
            piece for each in metrics.protocols for piece in _evidence(metrics, each, space, own)
        ]
        for factor in factors:
            if factor != own and (evidence := _evidence(metrics, protocol, space, factor)):
                found = [piece.judged() for piece in evidence]
                found.sort(key=lambda piece: -_ORDER.index(piece[0]))
                if found[0][0] != "not" and not any(piece.shown for piece in known):
                    why = known[0].words if known else f"{own} was measured nowhere"
                    words = f"{space} is not shown to know its own factor ({why})"
                    found.insert(0, ("void", words))
                result.append(Verdict(protocol, space, factor, found[0][0], [words for _, words in found]))
    return result


def verdict_grid(found: Iterable[Verdict]) -> dict[str, dict[tuple[str, str], Verdict]]:
    """Arrange verdicts by protocol, then by subspace and foreign factor."""
    grid: dict[str, dict[tuple[str, str], Verdict]] = {}
    for verdict in found:
        grid.setdefault(verdict.protocol, {})[verdict.case] = verdict
    return grid


@dataclass(frozen=True)
class _Known:
    """What a measure finds, in words, and how far it and its interval lie beyond chance."""

    words: str = NOTHING
    value: float = 0.0
    interval: Interval | None = None

    @classmethod
    def read(cls, accuracy: float, bounds: Interval | None, chance: float) -> "_Known":
        """A probe's accuracy."""
        ends = (bounds[0] - chance, bounds[1] - chance) if isinstance(bounds, tuple) else bounds
        return cls(number(accuracy, bounds, 2), accuracy - chance, ends)

    @classmethod
    def verified(cls, rate: Rate) -> "_Known":
        """An EER: the lower, the more is known."""
        bounds = rate.eer_interval
        ends = (0.5 - bounds[1], 0.5 - bounds[0]) if isinstance(bounds, tuple) else bounds
        return cls(rate_words(rate), 0.5 - rate.eer, ends)

    @property
    def least(self) -> float:
        """What is shown at least: the nearer end or, where no resample differs, the estimate."""
        if isinstance(self.interval, tuple):
            return max(self.interval[0], 0)
        return max(self.value, 0) if self.interval == "all resamples equal" else 0.0


@dataclass(frozen=True)
class _Evidence:
    """What one measure finds of a factor in a subspace, beside what it finds in the raw layers.

    Attributes
    ----------
    noise
        What the control reaches beyond chance.
    clips
        That were measured.
    """

    name: str
    chance: str
    known: _Known
    raw: _Known
    clips: int
    noise: float = 0.0

    @property
    def words(self) -> str:
        """The interval, and what it is held against."""
        return f"{self.name} {self.known.words}, {self.chance}, raw {self.raw.words}"

    @property
    def shown(self) -> bool:
        """Whether the subspace is shown to know the factor."""
        return self.known.least > self.noise

    def judged(self) -> tuple[Outcome, str]:
        """Judge by ``RULES``, and say what decides."""
        limit, interval = MARGIN * self.raw.least, self.known.interval
        if limit and isinstance(interval, tuple) and interval[1] <= limit:
            return "separated", f"{self.words}: at most {max(interval[1], 0) / self.raw.least:.0%} of raw"
        if self.shown:
            some = self.known.value <= READABLE * self.raw.value
            share = f", {self.known.value / self.raw.value:.0%} of raw" if self.raw.value > 0 else ""
            return "partly" if some else "not", f"{self.words}: a leak{share}"
        if not isinstance(interval, tuple):
            return "not shown", f"{self.words}: nothing can be shown without an interval"
        if not limit:
            return "not shown", f"{self.words}: raw is not shown above chance, so nothing can be shown"
        low, high = interval
        half = (high - low) / 2
        # An interval narrows with the root of the clips. It has to fit between chance and the limit or,
        # where it does, between its estimate and the limit.
        room = limit if half > limit else abs(limit - self.known.value)
        times = (half / room) ** 2 if room else MOST_TIMES
        needed = f"about {float(f'{times * self.clips:.1e}'):,.0f}" if times < MOST_TIMES else "far more"
        return "not shown", f"{self.words}: {self.clips:,} clips cannot tell, {needed} could"


def _evidence(metrics: Metrics, protocol: str, space: str, factor: str) -> list[_Evidence]:
    """All that was measured of a factor in a space."""
    result = []
    separation = metrics.separation.get(protocol)
    cells = separation.matrix.get(factor, {}) if separation else {}
    keywords = own_keywords(metrics, protocol, space).get("clean")
    clips = metrics.protocols[protocol].clips
    if cell := cells.get(space):
        raws = [found for name, found in cells.items() if name.partition(".")[0] == RAW]
        result.append(_probed("linear probe", cell.linear, [raw.linear for raw in raws], cell.clips))
        result.append(_probed("MLP probe", cell.mlp, [raw.mlp for raw in raws], cell.clips))
    elif factor == "content" and keywords and keywords.probe is not None:
        layers = metrics.keywords[protocol].raw
        raw_words = [layers.mean, *layers.layers.values()] if layers else []
        known, raw = _of_words([keywords]), _of_words([words["clean"] for words in raw_words])
        result.append(_Evidence("linear probe", f"chance {keywords.chance:.2f}", known, raw, clips))
    rate = usual(own_verification(metrics, protocol, space))
    if factor == "speaker" and rate:
        strata = metrics.verification[protocol].raw
        rates = [usual(found) for found in (strata.mean, *strata.layers.values())] if strata else []
        raw = _best(_Known.verified(found) for found in rates if found)
        result.append(_Evidence("EER", "chance 50 %", _Known.verified(rate), raw, clips))
    return result


def _probed(name: str, probe: ProbeAccuracy, raws: list[ProbeAccuracy], clips: int) -> _Evidence:
    """Hold a probe against its control and against the same probe of the raw layers."""
    known, *others = (_Known.read(each.accuracy, each.interval, each.shuffled) for each in (probe, *raws))
    control = _Known.read(probe.shuffled, probe.shuffled_interval, probe.shuffled)
    noise = control.interval[1] if isinstance(control.interval, tuple) else 0.0
    return _Evidence(name, f"shuffled {control.words}", known, _best(others), clips, noise)


def _of_words(found: Iterable[Keywords]) -> _Known:
    """The best linear probe of keywords."""
    return _best(
        _Known.read(each.probe, each.probe_interval, each.chance) for each in found if each.probe is not None
    )


def _best(found: Iterable[_Known]) -> _Known:
    return max(found, key=lambda known: known.least, default=_Known())


def rate_words(result: Rate) -> str:
    """Write an EER and its interval in a sentence."""
    rate, *bounds = percent(result.eer, result.eer_interval).split(" ", 1)
    return " ".join([f"{rate} %", *bounds])
