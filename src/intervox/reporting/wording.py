"""The wording of cells, and the systems that share a table's rows."""

from collections.abc import Iterable, Iterator
from typing import Any

from intervox.evaluation import SYNTHETIC
from intervox.tables import NOTHING

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


def percent(value: float | None) -> str:
    """Write a rate in per cent, one digit after the point."""
    return NOTHING if value is None else f"{100 * value:.1f}"


def error_rate(result: dict[str, Any] | None) -> str:
    """Write an EER in per cent with its interval."""
    return NOTHING if result is None else in_percent(result["eer"], result.get("eer_interval"))


def in_percent(value: float | None, interval: list[float] | None) -> str:
    """Write a rate and its interval in per cent: ``10.6 [9.2, 11.9]``."""
    if value is None:
        return NOTHING
    bounds = f" [{100 * interval[0]:z.1f}, {100 * interval[1]:z.1f}]" if interval else ""
    return f"{100 * value:z.1f}{bounds}"


def share(value: float | None, interval: list[float] | None = None) -> str:
    """Write an accuracy and its interval: ``0.905 [0.890, 0.921]``."""
    if value is None:
        return NOTHING
    bounds = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    return f"{value:.3f}{bounds}"


def accuracy(result: dict[str, Any] | None) -> str:
    """Write the accuracy of a probe or of episodes with its interval."""
    return NOTHING if result is None else share(result["accuracy"], result.get("interval"))


def number(value: float | None, digits: int = 3) -> str:
    """Write a plain number."""
    return NOTHING if value is None else f"{value:.{digits}f}"


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


def spaces_of(metrics: dict[str, Any], factor: str) -> list[str]:
    """Names of the subspaces of a factor, or else of the spaces that were made for none."""
    spaces = metrics["spaces"].items()
    return [name for name, of in spaces if of == factor] or [name for name, of in spaces if not of]


def human_protocols(metrics: dict[str, Any]) -> list[str]:
    """Names of the protocols that people spoke."""
    return [name for name in metrics["protocols"] if name != SYNTHETIC]


def systems(
    metrics: dict[str, Any], kind: str, protocol: str, factor: str, baselines: Iterable[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield title and results by condition of everything that is compared on a protocol.

    Parameters
    ----------
    kind
        ``verification`` or ``keywords``.
    factor
        Whose subspaces are meant, and whose baselines.
    baselines
        Which of ``metrics["baselines"]``, in order.
    """
    found = metrics[kind][protocol]
    if raw := found.get("raw"):
        best = raw["best_layer"]
        yield "raw, mean over layers", raw["mean"]
        layers = " / ".join(f"layer {layer}" for layer in dict.fromkeys(best.values()))
        yield f"raw, {layers}", {c: raw["layers"][str(layer)][c] for c, layer in best.items()}
    own = [space for space in spaces_of(metrics, factor) if space in found]
    for name in baselines:
        by_space = metrics["baselines"][name].get(kind, {}).get(protocol, {})
        for space in own:
            if space in by_space:
                suffix = f" ({space})" if len(own) > 1 else ""
                yield f"{baseline_title(name)}{suffix}", by_space[space]
    for space in own:
        yield f"{space} subspace", found[space]
