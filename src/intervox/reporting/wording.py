"""The wording of cells and titles, and the systems that share a table's rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from intervox.evaluation import SYNTHETIC
from intervox.evaluation.findings import (
    ErrorRates,
    Keywords,
    OpenSet,
    ProbeAccuracy,
    Rate,
    Reading,
    Running,
    Shots,
)
from intervox.evaluation.results import Metrics, RawLayers, RunningSpaces, Spaces, Strata, Verification
from intervox.metrics.bootstrap import Interval
from intervox.metrics.trials import usual_stratum
from intervox.tables import NOTHING

T = TypeVar("T")

_TITLES = {"lda": "LDA", "svd": "SVD", "pca": "PCA", "leace": "LEACE", "resemblyzer": "Resemblyzer"}
_STRATA = {
    "all": "all pairs",
    "different_text": "different text",
    "same_text_impostors": "same-text impostors",
    "same_session": "same session",
    "cross_session": "across sessions",
    "short": "short clips",
    "medium": "medium clips",
    "long": "long clips",
}


@dataclass(frozen=True)
class System(Generic[T]):
    """What is compared on a protocol: raw layers, a baseline or a subspace.

    Attributes
    ----------
    title
        In words.
    kind
        ``mean`` over the raw layers, the best ``raw`` layer, a ``baseline`` or a subspace of our ``own``.
    found
        What was measured, by condition.
    """

    title: str
    kind: Literal["mean", "raw", "baseline", "own"]
    found: Mapping[str, T]


def percent(value: float | None, interval: Interval | None = None) -> str:
    """Write a rate and its interval in per cent: ``10.6 [9.2, 11.9]``, or ``10.6 [too few groups]``."""
    return NOTHING if value is None else _bounded(value, interval, lambda share: f"{100 * share:z.1f}")


def error_rate(result: Rate | OpenSet | None) -> str:
    """Write an EER in per cent with its interval."""
    return NOTHING if result is None else percent(result.eer, result.eer_interval)


def accuracy(result: Shots | ProbeAccuracy | Reading | None) -> str:
    """Write the accuracy of a probe or of episodes with its interval."""
    return NOTHING if result is None else number(result.accuracy, result.interval)


def number(value: float | None, interval: Interval | None = None, digits: int = 3) -> str:
    """Write a number and its interval: ``0.905 [0.890, 0.921]``."""
    return NOTHING if value is None else _bounded(value, interval, lambda each: f"{each:.{digits}f}")


def _bounded(value: float, interval: Interval | None, write: Callable[[float], str]) -> str:
    """Write a value and, in brackets, its interval or why it has none."""
    if interval is None:
        return write(value)
    bounds = ", ".join(map(write, interval)) if isinstance(interval, tuple) else interval
    return f"{write(value)} [{bounds}]"


def span(least: float, most: float, digits: int) -> str:
    """Write a range of figures in per cent: ``81 to 89 %``, or one figure where both ends read the same."""
    low, high = f"{least:z.{digits}f}", f"{most:z.{digits}f}"
    return f"{low if low == high else f'{low} to {high}'} %"


def p_value(value: float | None) -> str:
    """Write a p-value; below a thousandth only that is said."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def stratum_title(name: str) -> str:
    """Say a stratum in words."""
    return (
        f"official list {name.removeprefix('list:')}" if name.startswith("list:") else _STRATA.get(name, name)
    )


def condition_title(name: str) -> str:
    """Say a condition in words."""
    return name.replace("_", "-")


def baseline_title(name: str) -> str:
    """Say a baseline in words."""
    return _TITLES.get(name, name.replace("_", " "))


def representation_title(name: str, spaces: Iterable[str]) -> str:
    """Say a representation in words: a subspace, ``raw.3``, or a baseline such as ``lda.speaker``."""
    if name in spaces:
        return f"{name} subspace"
    kind, _, part = name.partition(".")
    if kind == "raw":
        return "raw, mean over layers" if part == "mean" else f"raw, layer {part}"
    return baseline_title(kind)


def spaces_of(metrics: Metrics, factor: str) -> list[str]:
    """Names of the subspaces of a factor, or else of the spaces that were made for none."""
    spaces = metrics.spaces.items()
    return [name for name, of in spaces if of == factor] or [name for name, of in spaces if not of]


def human_protocols(metrics: Metrics) -> list[str]:
    """Names of the protocols that people spoke."""
    return [name for name in metrics.protocols if name != SYNTHETIC]


def usual(found: Mapping[str, Strata] | None, condition: str = "clean") -> ErrorRates | None:
    """Choose the different-text trials under a condition, or all of them where texts are not known."""
    strata = (found or {}).get(condition, {})
    return strata.get(usual_stratum(strata))


def own_verification(metrics: Metrics, protocol: str, space: str) -> Verification:
    """Return what was found in one of our spaces; empty where nothing was."""
    found = metrics.verification.get(protocol)
    return found.own.get(space, {}) if found else {}


def own_keywords(metrics: Metrics, protocol: str, space: str) -> dict[str, Keywords]:
    """Return the keywords found in one of our spaces; empty where nothing was."""
    found = metrics.keywords.get(protocol)
    return found.own.get(space, {}) if found else {}


def running_by_name(found: RunningSpaces) -> dict[str, Running]:
    """Name what was found in running speech by space, the best raw layer as ``raw.<layer>``."""
    return found.own | ({f"raw.{found.raw.layer}": found.raw} if found.raw else {})


def verifying(metrics: Metrics, protocol: str, baselines: Sequence[str]) -> list[System[Strata]]:
    """List everything whose speaker verification is compared on a protocol, ours last."""
    beside = {name: metrics.baselines[name].verification.get(protocol, {}) for name in baselines}
    return list(_systems(metrics.verification[protocol], beside, spaces_of(metrics, "speaker")))


def spotting(metrics: Metrics, protocol: str, baselines: Sequence[str]) -> list[System[Keywords]]:
    """List everything whose keywords are compared on a protocol, ours last."""
    beside = {name: metrics.baselines[name].keywords.get(protocol, {}) for name in baselines}
    return list(_systems(metrics.keywords[protocol], beside, spaces_of(metrics, "content")))


def _systems(
    found: "Spaces[dict[str, T], RawLayers[T]]",
    beside: Mapping[str, Mapping[str, Mapping[str, T]]],
    spaces: Sequence[str],
) -> Iterator[System[T]]:
    if raw := found.raw:
        yield System("raw, mean over layers", "mean", raw.mean)
        layers = " / ".join(f"layer {layer}" for layer in dict.fromkeys(raw.best_layer.values()))
        best = {condition: raw.layers[layer][condition] for condition, layer in raw.best_layer.items()}
        yield System(f"raw, {layers}", "raw", best)
    own = [space for space in spaces if space in found.own]
    for name, by_space in beside.items():
        for space in own:
            if space in by_space:
                suffix = f" ({space})" if len(own) > 1 else ""
                yield System(f"{baseline_title(name)}{suffix}", "baseline", by_space[space])
    for space in own:
        yield System(f"{space} subspace", "own", found.own[space])
