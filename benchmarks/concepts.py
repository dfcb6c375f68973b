"""The figures of docs/concepts, and the numbers that the pages quote, printed.

Raw layers are measured on a block of espeak clips, eight voices by eight sentences, rendered here; the
subspaces on the packaged model's references, held-out synthetic cells, clean and degraded.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import signal

from intervox import SubspaceModel
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.bundled import BUNDLED
from intervox.backbones.load import load_backbone
from intervox.engines.base import load_engine
from intervox.features.encoding import layer_means
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.recipe import FeatureSettings
from intervox.recipe.engines import EspeakSettings

TEXTS = (
    "the harbour was quiet before the first boats came in",
    "she carried seven oranges over the narrow bridge",
    "nobody expected the clock to strike thirteen again",
    "please open the second window on the left",
    "they sold the old red boat before the winter",
    "a gentle evening by the sea is all I want",
    "every train to the north was late on Monday",
    "his brother paints small birds on broken plates",
)
VOICES = 8
CLEAN, DEGRADED = "clean", "cross_condition"
BLUE, ORANGE, GREEN, GREY, INK = "#0072B2", "#E69F00", "#009E73", "#9AA3AD", "#1b1f24"
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "intervox", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "axes.labelcolor": INK,
    "legend.frameon": False, "axes.titlesize": 11,
    "figure.constrained_layout.w_pad": 0.1, "figure.constrained_layout.h_pad": 0.08,
}  # fmt: skip

Same = NDArray[np.bool_]
Vectors = NDArray[np.floating]


@dataclass(frozen=True)
class Pairs:
    """Which two of some cells share what: each cell pair once."""

    speaker: Same
    content: Same
    first: NDArray[np.intp]
    second: NDArray[np.intp]

    @classmethod
    def of(cls, speakers: Sequence[str], contents: Sequence[str]) -> "Pairs":
        first, second = np.triu_indices(len(speakers), 1)
        who, what = np.asarray(speakers), np.asarray(contents)
        return cls(who[first] == who[second], what[first] == what[second], first, second)

    def cosines(self, vectors: Vectors) -> NDArray[np.float64]:
        """Score every pair of unit vectors."""
        return np.asarray(np.sum(vectors[self.first] * vectors[self.second], axis=1), np.float64)

    def kinds(self) -> dict[str, Same]:
        """Split the pairs by what they share, but for those that share both."""
        return {
            "same voice, other text": self.speaker & ~self.content,
            "other voice, same text": ~self.speaker & self.content,
            "other voice, other text": ~self.speaker & ~self.content,
        }


def eer(scores: NDArray[np.float64], targets: Same, impostors: Same) -> float:
    """Return the equal error rate in %."""
    return 100 * equal_error_rate(*error_rates(scores[targets], scores[impostors]))


def unit(vectors: Vectors) -> Vectors:
    """Centre on the cells and scale to unit length, as raw layers are evaluated."""
    centred = vectors - vectors.mean(axis=0)
    return np.asarray(centred / np.linalg.norm(centred, axis=-1, keepdims=True))


def block() -> tuple[list[Waveform], Pairs]:
    """Render every sentence in every voice."""
    engine = load_engine(EspeakSettings(voices=40))
    voices = [voice.name for voice in engine.voices()[:: 40 // VOICES]][:VOICES]
    cells = [(voice, text) for voice in voices for text in TEXTS]
    waves = [engine.render(text, voice, seed) for seed, (voice, text) in enumerate(cells)]
    speakers, contents = zip(*cells, strict=True)
    return waves, Pairs.of(speakers, contents)


def entanglement(means: Vectors, pairs: Pairs) -> Figure:
    """Draw cosines of the raw mean over layers."""
    scores = pairs.cosines(unit(means.mean(axis=1)))
    kinds = pairs.kinds()
    figure = Figure(figsize=(6.4, 2.9), layout="constrained")
    axes = figure.subplots()
    _densities(axes, scores, kinds)
    axes.set(xlabel="cosine of two clips, raw layers averaged", yticks=[], ylabel="pairs")
    axes.legend(loc="upper left")
    same, crossed, other = kinds.values()
    print(f"entanglement: mean cosine {', '.join(f'{scores[kind].mean():.2f}' for kind in kinds.values())}")
    print(f"  speaker EER {eer(scores, same, other):.0f} %, same text {eer(scores, same, crossed):.0f} %")
    return figure


def _densities(axes: Axes, scores: NDArray[np.float64], kinds: Mapping[str, Same]) -> None:
    """Draw the distribution of each kind of pair, filled below, all of equal area."""
    edges = np.linspace(-1, 1, 41)
    colours = dict(zip(kinds, (BLUE, ORANGE, GREY), strict=False))
    for (name, kind), line in zip(kinds.items(), ("-", "--", ":"), strict=False):
        height = np.histogram(scores[kind], edges, density=True)[0]
        axes.stairs(height, edges, fill=True, color=colours[name], alpha=0.25)
        axes.stairs(height, edges, color=colours[name], linewidth=1.6, linestyle=line, label=name)
    axes.set(xlim=(-1, 1), xticks=(-0.5, 0, 0.5))


def interventions(waves: Sequence[Waveform]) -> Figure:
    """Draw the spectrograms of three voices by three texts."""
    size = 3
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    grid = figure.subplots(size, size)
    longest = max(len(waves[len(TEXTS) * row + column]) for row in range(size) for column in range(size))
    for row, column in np.ndindex(size, size):
        wave = waves[len(TEXTS) * row + column]
        padded = np.pad(wave, (0, longest - len(wave)))
        power = np.abs(signal.stft(padded, SAMPLE_RATE, nperseg=400, noverlap=0)[2]) ** 2
        level = 10 * np.log10(np.maximum(power, 1e-5 * power.max()))
        axes = grid[row, column]
        axes.imshow(level[:96:3], origin="lower", aspect="auto", cmap="Greys", interpolation="none")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=GREY, linewidth=0.8)
    for number in range(size):
        grid[0, number].set_title(f"text {number + 1}")
        grid[number, 0].set_ylabel(f"voice {number + 1}")
    figure.supxlabel("do(content) →  along a row the voice is held", fontsize=10, color=BLUE)
    figure.supylabel("← do(speaker)", fontsize=10, color="#B35900")
    return figure


def loss() -> Figure:
    """Draw what each anchor of a block of three by three is compared with, in either space."""
    speakers, contents = np.divmod(np.arange(9), 3)
    figure = Figure(figsize=(7, 3.9), layout="constrained")
    names = ("itself", "negative", "negative that shares the other factor", "positive")
    colours = matplotlib.colors.ListedColormap(["#FFFFFF", "#DDE3EA", ORANGE, BLUE])
    for axes, (space, own, other) in zip(
        figure.subplots(1, 2),
        (("speaker", speakers, contents), ("content", contents, speakers)),
        strict=True,
    ):
        roles = 1 + (other[:, None] == other) + 2 * (own[:, None] == own)
        np.fill_diagonal(roles, 0)
        axes.imshow(roles, cmap=colours, vmin=0, vmax=3)
        for row, column in zip(*np.nonzero(roles >= 2), strict=True):
            sign = "+" if roles[row, column] == 3 else "−"
            axes.text(column, row, sign, ha="center", va="center", color="white" if sign == "+" else INK)
        cells = [f"{'abc'[cell // 3]}{cell % 3 + 1}" for cell in range(9)]
        axes.set_xticks(range(9), cells)
        axes.set_yticks(range(9), cells)
        axes.set(title=f"{space} space", xlabel="compared with", ylabel="anchor")
        axes.hlines(np.arange(8) + 0.5, -0.5, 8.5, color="white", linewidth=1)
        axes.vlines(np.arange(8) + 0.5, -0.5, 8.5, color="white", linewidth=1)
    shown = [matplotlib.patches.Patch(color=colours(index), label=names[index]) for index in (3, 2, 1)]
    figure.legend(handles=shown, loc="outside lower center", ncols=3)
    return figure


def subspaces(means: Vectors, pairs: Pairs, model: SubspaceModel) -> Figure:
    """Draw what each raw layer tells, and which layers the packaged maps read."""
    same, crossed, other = pairs.kinds().values()
    trials = {
        "same voice? other texts": (same, other, BLUE, "o-"),
        "same voice? same text": (same, crossed, BLUE, "o--"),
        "same text? other voices": (crossed, other, ORANGE, "s-"),
        "same text? same voice": (crossed, same, ORANGE, "s--"),
    }
    scores = [pairs.cosines(unit(means[:, layer])) for layer in range(means.shape[1])]
    figure = Figure(figsize=(7.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (targets, impostors, colour, style) in trials.items():
        errors = [eer(layer, targets, impostors) for layer in scores]
        left.plot(errors, style, color=colour, label=name, markersize=4, linewidth=1.5)
        print(f"subspaces: {name}: EER % by raw layer {', '.join(f'{error:.0f}' for error in errors)}")
    left.set(xlabel="raw layer", ylabel="EER in %", ylim=(0, 100), title="what a raw layer tells")
    for (space, reading), colour, shift in zip(
        sorted(model.maps().items(), reverse=True), (BLUE, ORANGE), (-0.2, 0.2), strict=True
    ):
        power = reading.detach().reshape(len(reading), means.shape[1], -1).square().sum(dim=(0, 2))
        shares = (power / power.sum()).numpy()
        right.bar(np.arange(len(shares)) + shift, shares, 0.4, color=colour, label=f"{space} subspace")
        print(f"subspaces: {space} reads {', '.join(f'{share:.2f}' for share in shares)}")
    right.set(xlabel="layer", ylabel="share of squared weights", title="what the maps read")
    for axes in (left, right):
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def separation(model: SubspaceModel) -> Figure:
    """Draw the cosines of clean references in both subspaces, by what two cells share."""
    vectors, pairs = _references(model, CLEAN)
    figure = Figure(figsize=(7.4, 2.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    kinds = pairs.kinds()
    for axes, space in zip(panels, ("speaker", "content"), strict=True):
        scores = pairs.cosines(vectors[space])
        _densities(axes, scores, kinds)
        axes.set(title=f"{space} subspace", xlabel="cosine", yticks=[])
        means = ", ".join(f"{name} {scores[kind].mean():.2f}" for name, kind in kinds.items())
        print(f"separation: {space} subspace, mean cosine: {means}")
    print(f"separation: pairs: {', '.join(str(kind.sum()) for kind in kinds.values())}")
    panels[0].set_ylabel("pairs")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def cross_condition(model: SubspaceModel) -> Figure:
    """Draw same and different speakers of other texts, clean and degraded, and the threshold."""
    figure = Figure(figsize=(7.4, 2.8), layout="constrained")
    even = float(model.calibration["speaker"].score_at(0.0))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, condition in zip(panels, (CLEAN, DEGRADED), strict=True):
        vectors, pairs = _references(model, condition)
        scores = pairs.cosines(vectors["speaker"])
        targets, _, impostors = pairs.kinds().values()
        _densities(axes, scores, {"same voice": targets, "other voice": impostors})
        axes.axvline(even, color=INK, linewidth=1, label="probability of a half")
        axes.set(title=condition.replace("_", "-"), xlabel="cosine in the speaker subspace", yticks=[])
        rejected, accepted = (scores[targets] < even), (scores[impostors] >= even)
        print(f"cross-condition: {condition}: EER {eer(scores, targets, impostors):.1f} %, at a half "
              f"{100 * rejected.mean():.1f} % rejected, {100 * accepted.mean():.1f} % accepted")  # fmt: skip
    panels[0].set_ylabel("pairs")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def calibration(model: SubspaceModel) -> Figure:
    """Draw predicted probability against the share of pairs that share the factor, at even odds."""
    figure = Figure(figsize=(7.4, 3.3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    edges = np.linspace(0, 1, 11)
    for axes, (space, colour) in zip(panels, (("speaker", BLUE), ("content", ORANGE)), strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        for condition, style in ((CLEAN, "o-"), (DEGRADED, "s--")):
            vectors, pairs = _references(model, condition)
            same = pairs.speaker if space == "speaker" else pairs.content
            predicted = model.probability(pairs.cosines(vectors[space]), space)
            # Either kind weighs as much as the other in all: even odds.
            weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
            total = np.histogram(predicted, edges, weights=weight)[0]
            found = np.histogram(predicted[same], edges, weights=weight[same])[0]
            middle = np.histogram(predicted, edges, weights=weight * predicted)[0]
            axes.plot(middle / total, found / total, style, color=colour, markersize=4, linewidth=1.4,
                      label=condition.replace("_", "-"))  # fmt: skip
            shares = ", ".join(f"{share:.2f}" for share in found / total)
            print(f"calibration: {space}, {condition}: shares by bin {shares}; {total[0] + total[-1]:.2f} "
                  "of the weight in the first and last")  # fmt: skip
        axes.set(title=f"{space} subspace", xlabel="predicted probability", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.legend(loc="upper left")
    panels[0].set_ylabel("share that is the same")
    return figure


def _references(model: SubspaceModel, condition: str) -> tuple[dict[str, Vectors], Pairs]:
    """Take the references of one condition, and their pairs."""
    references = model.references
    assert references is not None, "the packaged model has references"
    chosen = np.flatnonzero(np.asarray(references.labels["condition"]) == condition)
    speakers, contents = ([references.labels[name][row] for row in chosen] for name in ("speaker", "content"))
    return {name: vectors[chosen] for name, vectors in references.vectors.items()}, Pairs.of(
        speakers, contents
    )


def figures() -> dict[str, Callable[[], Figure]]:
    """Name the figures of the pages."""
    model = SubspaceModel.from_pretrained("default")
    waves, pairs = block()
    means = layer_means(load_backbone(BUNDLED, "cpu"), waves, FeatureSettings())[0]
    return {
        "entanglement": lambda: entanglement(means, pairs),
        "interventions": lambda: interventions(waves),
        "loss": loss,
        "subspaces": lambda: subspaces(means, pairs, model),
        "separation": lambda: separation(model),
        "cross-condition": lambda: cross_condition(model),
        "calibration": lambda: calibration(model),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/concepts"), help="folder of the pages")
    options = parser.parse_args()
    with matplotlib.rc_context(STYLE):
        for name, draw in figures().items():
            draw().savefig(options.docs / f"{name}.svg", metadata={"Date": None})
