"""The report's figures, drawn as SVG text so that the page needs nothing else."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.manifold import TSNE

from intervox.evaluation.detection import error_rates
from intervox.evaluation.scoring import cosine
from intervox.evaluation.trials import Trials

MAP_CLIPS = 400
MAP_CLASSES = 10
_DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "intervox", "font.size": 9}


def svg(figure: Figure) -> str:
    """Render a figure as an ``<svg>`` element, the same text for the same figure."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def det_curves(vectors: Mapping[str, NDArray[np.float32]], trials: Trials) -> Figure:
    """False rejects against false accepts on normal-deviate axes, one line a representation."""
    figure, axes = _figure(4.6, 4.2)
    for name, points in vectors.items():
        accept, reject = error_rates(cosine(points, trials.targets), cosine(points, trials.impostors))
        kept = np.linspace(0, len(accept) - 1, min(len(accept), 2000)).astype(int)
        limits = 5e-4, 1 - 5e-4
        axes.plot(norm.ppf(accept[kept].clip(*limits)), norm.ppf(reject[kept].clip(*limits)), label=name)
    ticks = np.asarray(norm.ppf(_DET_TICKS))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{100 * tick:g}" for tick in _DET_TICKS])
    axes.set(xlim=(ticks[0], ticks[-1]), ylim=(ticks[0], ticks[-1]))
    axes.set(xlabel="false accepts, %", ylabel="false rejects, %")
    axes.plot(ticks, ticks, color="0.8", linewidth=0.8, zorder=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def score_histograms(vectors: NDArray[np.float32], trials: Mapping[str, Trials]) -> Figure:
    """Cosine scores of targets, of impostors with another text, and of impostors with the same one."""
    figure, axes = _figure(4.6, 2.8)
    shown = {"same speaker, different text": trials["different_text"].targets}
    shown["impostor, different text"] = trials["different_text"].impostors
    if "same_text_impostors" in trials:
        shown["impostor, same text"] = trials["same_text_impostors"].impostors
    bins = np.linspace(-1, 1, 81).tolist()
    for name, pairs in shown.items():
        axes.hist(cosine(vectors, pairs), bins, density=True, histtype="step", linewidth=1.4, label=name)
    axes.set(xlabel="cosine in the speaker subspace", ylabel="density", yticks=[])
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.legend(frameon=False, fontsize=8)
    return figure


def layer_weights(weights: Mapping[str, Mapping[int, float]]) -> Figure:
    """Learned weight of every layer that a subspace uses."""
    figure, axes = _figure(4.6, 2.4)
    width = 0.8 / len(weights)
    for index, (name, by_layer) in enumerate(weights.items()):
        positions = np.array(list(by_layer)) + (index - (len(weights) - 1) / 2) * width
        axes.bar(positions, list(by_layer.values()), width, label=name)
    layers = sorted({layer for by_layer in weights.values() for layer in by_layer})
    axes.set(xlabel="layer", ylabel="weight", xticks=layers)
    axes.legend(frameon=False)
    return figure


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Every part of the loss over the steps."""
    figure, axes = _figure(4.6, 2.8)
    steps = [record["step"] for record in history]
    parts = [k for k in history[0] if k not in ("step", "total") and not k.startswith("dropped_")]
    for part in parts:
        axes.plot(steps, [record[part] for record in history], label=part.replace("_", " "))
    axes.set(xlabel="step", ylabel="loss part", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def subspace_maps(vectors: Mapping[str, NDArray[np.float32]], labels: Mapping[str, NDArray[Any]]) -> Figure:
    """t-SNE of each subspace (rows) coloured by each label (columns); the diagonal should cluster."""
    chosen = _map_clips(labels)
    figure = Figure(figsize=(7.2, 3.6 * len(vectors)))
    grid = figure.subplots(len(vectors), len(labels), squeeze=False)
    for row, (space, points) in zip(grid, vectors.items(), strict=True):
        perplexity = min(30.0, (len(chosen) - 1) / 3)
        flat = TSNE(2, metric="cosine", init="random", random_state=0, perplexity=perplexity, max_iter=500)
        places = flat.fit_transform(points[chosen])
        for axes, (factor, values) in zip(row, labels.items(), strict=True):
            for value in np.unique(values[chosen]):
                here = values[chosen] == value
                axes.scatter(*places[here].T, s=8, label=str(value))
            axes.set(title=f"{space} subspace, coloured by {factor}", xticks=[], yticks=[])
            axes.title.set_fontsize(9)
    return figure


def _map_clips(labels: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Clips of the most frequent classes of every label, few enough to draw."""
    kept = np.ones(len(next(iter(labels.values()))), bool)
    for values in labels.values():
        names, counts = np.unique(values[kept], return_counts=True)
        kept &= np.isin(values, names[np.argsort(-counts, kind="stable")[:MAP_CLASSES]])
    clips = np.flatnonzero(kept)
    return np.sort(np.random.default_rng(0).permutation(clips)[:MAP_CLIPS])


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()
