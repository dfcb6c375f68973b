"""What a report opens with: how much of each factor every subspace keeps, and how often it errs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from intervox.evaluation.findings import Shots
from intervox.evaluation.results import RAW, Metrics
from intervox.metrics.bootstrap import Interval
from intervox.reporting import render
from intervox.reporting.trials import SHOWN_BASELINES
from intervox.reporting.wording import System, human_protocols, percent, span, spotting, usual, verifying

CONDITIONS = ("clean", "cross_condition")
T = TypeVar("T")


@dataclass(frozen=True)
class Mark:
    """A measured share, with its interval where it has one, both from 0 to 1 or beyond."""

    protocol: str
    value: float
    interval: Interval | None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval in figures; none where there is none, or where no resample differs."""
        return self.interval if isinstance(self.interval, tuple) else None

    @property
    def words(self) -> str:
        """The share and its interval in per cent."""
        value, *bounds = percent(self.value, self.interval).split(" ", 1)
        return " ".join([f"{value} %", *bounds])


@dataclass(frozen=True)
class KeptBar:
    """What one space keeps of one factor, on every test set.

    Attributes
    ----------
    made_for
        Factor that the space was trained for; ``raw`` for the raw layers.
    marks
        A share of what the raw layers know for each test set.
    """

    space: str
    made_for: str
    marks: list[Mark]

    @property
    def title(self) -> str:
        """The space in words."""
        return "raw model" if self.made_for == RAW else f"{self.space} subspace"

    @property
    def mean(self) -> float:
        """Over the test sets, each counting the same."""
        return sum(mark.value for mark in self.marks) / len(self.marks)

    @property
    def spread(self) -> str:
        """From the least to the most, in per cent: ``81 to 89 %``."""
        known = [100 * max(mark.value, 0) for mark in self.marks]
        return span(min(known), max(known), 0)


def kept_bars(metrics: Metrics) -> dict[str, list[KeptBar]]:
    """Collect what every subspace keeps of every factor that a subspace was made for.

    Returns
    -------
    dict
        Factor to a bar a subspace, the factor's own first; empty where nothing was probed. Human speech
        alone, unless there is none.
    """
    made = {space: factor for space, factor in metrics.spaces.items() if factor}
    humans = human_protocols(metrics)
    found: dict[str, list[KeptBar]] = {}
    for factor in sorted(set(made.values()), key=lambda factor: (factor != "speaker", factor)):
        for space in sorted(made, key=lambda space: made[space] != factor):
            marks = [
                Mark(protocol, cell.kept.share, cell.kept.interval)
                for protocol in humans or metrics.protocols
                if (separation := metrics.separation.get(protocol))
                and (cell := separation.matrix.get(factor, {}).get(space))
                and cell.kept
            ]
            if marks:
                found.setdefault(factor, []).append(KeptBar(space, made[space], marks))
    return found


def kept_words(bars: Mapping[str, list[KeptBar]]) -> str:
    """Describe the picture of ``kept_bars`` in words, for those who do not see it."""
    parts = [
        f"of the {factor}, the {bar.title} keeps {bar.spread}"
        for factor, here in bars.items()
        for bar in here
    ]
    return f"Of what the raw model knows: {'; '.join(parts)}."


def kept_picture(metrics: Metrics, alone: bool = False) -> str:
    """Draw ``kept_bars``: a bar a space, a dot and its interval a test set, raw layers at 100 %.

    Parameters
    ----------
    alone
        Whether it is a file of its own, with colours for a light and a dark page, or a part of a page.

    Returns
    -------
    str
        An ``<svg>`` element; empty where nothing was probed.
    """
    bars = kept_bars(metrics)
    if not bars:
        return ""
    raw = KeptBar(RAW, RAW, [Mark("", 1.0, None)])
    rows = {factor: [raw, *here] for factor, here in bars.items()}
    ends = [end for here in bars.values() for bar in here for mark in bar.marks for end in _ends(mark)]
    return render(
        "kept.svg.jinja",
        rows=rows,
        alone=alone,
        words=kept_words(bars),
        most=max(1.05, *ends),
        notes=_kept_notes(metrics, bars),
    ).strip()


def _kept_notes(metrics: Metrics, bars: Mapping[str, list[KeptBar]]) -> list[str]:
    speech = "human recordings" if human_protocols(metrics) else "synthetic speech"
    sets = dict.fromkeys(mark.protocol for here in bars.values() for bar in here for mark in bar.marks)
    return [
        f"Share of what probes read from the raw model, on {speech}.",
        "Bar: mean of the test sets. Dot: one set, with its 95 % interval;",
        f"from above {', '.join(sets)}.",
        "More than 100 %: easier to read there than in the raw model.",
    ]


def _ends(mark: Mark) -> tuple[float, ...]:
    return (mark.value, *(mark.bounds or ()))


@dataclass(frozen=True)
class RateBar:
    """How often one system errs.

    Attributes
    ----------
    kind
        Decides the colour: the factor of a subspace, ``raw``, or the name of a baseline.
    rates
        ``clean``, and ``cross_condition`` where every clip was degraded too.
    """

    title: str
    kind: str
    rates: dict[str, Mark]


@dataclass(frozen=True)
class RatePanel:
    """The systems that are compared on one test set, ours first.

    Attributes
    ----------
    about
        How many were tested.
    """

    protocol: str
    about: str
    bars: list[RateBar]

    @property
    def degraded(self) -> bool:
        """Whether degraded clips were measured."""
        return any("cross_condition" in bar.rates for bar in self.bars)


def speaker_panels(metrics: Metrics) -> list[RatePanel]:
    """Collect the equal error rates of telling speakers apart, a panel for each test set."""
    panels = []
    for protocol in _shown(metrics, metrics.verification):
        systems = verifying(metrics, protocol, _baselines(metrics))
        rates = [
            {condition: usual(system.found, condition) for condition in CONDITIONS} for system in systems
        ]
        bars = [
            _bar(
                system, {c: Mark(protocol, rate.eer, rate.eer_interval) for c, rate in found.items() if rate}
            )
            for system, found in zip(systems, rates, strict=True)
        ]
        if trials := next((found["clean"] for found in reversed(rates) if found["clean"]), None):
            count = f"{trials.targets + trials.impostors:,}"
            about = f"{metrics.protocols[protocol].speakers:,} speakers, {count} trials"
            panels.append(RatePanel(protocol, about, _ours_first(bars)))
    return panels


def word_panels(metrics: Metrics) -> list[RatePanel]:
    """Collect how often a word is mistaken, given one example of each, a panel for each test set."""
    panels = []
    for protocol in _shown(metrics, metrics.keywords):
        systems = spotting(metrics, protocol, _baselines(metrics))
        shots = [{c: found.shot_1 for c, found in system.found.items()} for system in systems]
        bars = [
            _bar(system, {c: _mistaken(protocol, shot) for c, shot in found.items() if shot})
            for system, found in zip(systems, shots, strict=True)
        ]
        if any(bar.rates for bar in bars):
            about = metrics.protocols[protocol]
            words = f"{about.contents:,} words, {about.speakers:,} speakers"
            panels.append(RatePanel(protocol, words, _ours_first(bars)))
    return panels


def common_scale(panels: Iterable[RatePanel]) -> float:
    """The upper end of an axis that holds every rate and interval, a share in whole tenths."""
    marks = [mark for panel in panels for bar in panel.bars for mark in bar.rates.values()]
    return max(0.1, ceil(10 * max((end for mark in marks for end in _ends(mark)), default=0)) / 10)


def _mistaken(protocol: str, shot: Shots) -> Mark:
    bounds = shot.interval
    turned = (1 - bounds[1], 1 - bounds[0]) if isinstance(bounds, tuple) else bounds
    return Mark(protocol, 1 - shot.accuracy, turned)


def _shown(metrics: Metrics, measured: Iterable[str]) -> list[str]:
    return [protocol for protocol in human_protocols(metrics) or metrics.protocols if protocol in measured]


def _baselines(metrics: Metrics) -> list[str]:
    return [name for name in SHOWN_BASELINES if name in metrics.baselines]


def _bar(system: System[T], rates: dict[str, Mark]) -> RateBar:
    titles = {"raw": "best raw layer", "mean": "mean of raw layers"}
    title = titles.get(system.kind, system.title)
    return RateBar(title, title.split()[0].lower() if system.kind in ("own", "baseline") else RAW, rates)


def _ours_first(bars: list[RateBar]) -> list[RateBar]:
    """Turn the order of tables around, in which ours comes last."""
    return [bar for bar in reversed(bars) if bar.rates]
