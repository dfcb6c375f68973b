"""The figures of docs/concepts: two drawings, three of the tables in docs/evidence.md, two measured here.

What is measured needs half a minute: 36 espeak clips through the packaged model, and the reference cells
that the model carries.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.special import expit

from intervox import SubspaceModel
from intervox.backbones.base import load_backbone
from intervox.engines.base import load_engine
from intervox.features.extraction import layer_means
from intervox.recipe import FeatureSettings
from intervox.recipe_corpus import EspeakSettings

ROOT = Path(__file__).parents[1]
VOICES = 6
TEXTS = (
    "the cold river",
    "seven grey horses",
    "open the gate",
    "nobody was home",
    "blue paper",
    "a long walk",
)
CORPORA = ("librispeech", "speech_commands", "fsdd")
BLUE, ORANGE, GREEN, GREY = "#2f7ed8", "#e07b39", "#3a9d6b", "#d8dade"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "intervox",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def entanglement() -> Figure:
    """Cosines of every two of 36 clips: in the raw layers, and in either subspace."""
    engine = load_engine(EspeakSettings(voices=60))
    voices = [voice.name for voice in engine.voices()[:: 60 // VOICES]][:VOICES]
    clips = [engine.render(text, voice, 1) for voice in voices for text in TEXTS]
    model = SubspaceModel.from_pretrained("default")
    means, _ = layer_means(load_backbone(model.backbone_name), clips, FeatureSettings())
    raw = means.mean(axis=1)
    spaces = {"raw: mean over layers": unit(raw - raw.mean(axis=0))}
    vectors = model.encode(clips)
    spaces |= {f"{name} subspace": vectors[name] for name in ("speaker", "content")}
    figure = Figure((8, 3))
    ticks = np.arange(VOICES) * len(TEXTS) + len(TEXTS) / 2 - 0.5
    for axes, (name, points) in zip(figure.subplots(1, 3), spaces.items(), strict=True):
        image = axes.imshow(points @ points.T, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(name, fontsize=9)
        axes.set_xticks(ticks, [f"voice {number + 1}" for number in range(VOICES)], rotation=45, fontsize=6)
        axes.set_yticks([])
    figure.colorbar(image, ax=figure.axes, shrink=0.7, label="cosine")
    return figure


def unit(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to unit length."""
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float32)


def interventions() -> Figure:
    """A block: voices by texts by conditions, and what each direction intervenes on."""
    figure = Figure((7, 3))
    axes = figure.add_subplot()
    for copy in (1, 0):
        for row in range(3):
            for column in range(4):
                place = (column * 1.5 + 0.18 * copy, -row + 0.18 * copy)
                axes.add_patch(
                    Rectangle(place, 1.3, 0.7, facecolor=GREY if copy else "white", edgecolor="0.4")
                )
    for row, name in enumerate("ABC"):
        axes.text(-0.2, 0.35 - row, f"voice {name}", ha="right", va="center")
        for column in range(4):
            axes.text(
                column * 1.5 + 0.65,
                0.35 - row,
                f"({name}, text {column + 1})",
                ha="center",
                va="center",
                size=7,
            )
    arrows = (
        ((0.6, 1.15), (5.4, 1.15), BLUE, "do(content): another text, the same voice"),
        ((6.4, 0.6), (6.4, -1.9), ORANGE, "do(speaker):\nanother voice,\nthe same text"),
    )
    for start, end, colour, words in arrows:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 2})
        across = start[1] == end[1]
        middle = ((start[0] + end[0]) / 2, start[1] + 0.12) if across else (6.55, -0.7)
        axes.text(
            *middle,
            words,
            color=colour,
            ha="center" if across else "left",
            va="bottom" if across else "center",
        )
    axes.text(
        3,
        -2.45,
        "behind it, do(condition): the same rendition in another room, noise or codec",
        color=GREEN,
        ha="center",
    )
    axes.set(xlim=(-1.2, 8.4), ylim=(-2.7, 1.6))
    axes.set_axis_off()
    return figure


def loss() -> Figure:
    """What one anchor is drawn to and pushed from, in either space."""
    figure = Figure((7, 2.6))
    for axes, space in zip(figure.subplots(1, 2), ("speaker", "content"), strict=True):
        for row in range(4):
            for column in range(5):
                same = row == 1 if space == "speaker" else column == 2
                hard = column == 2 if space == "speaker" else row == 1
                colour = BLUE if same else ORANGE if hard else GREY
                anchor = row == 1 and column == 2
                axes.add_patch(Rectangle((column, -row), 0.9, 0.9, facecolor="black" if anchor else colour))
        axes.set(xlim=(-0.1, 5), ylim=(-3.1, 1), title=f"{space} space", xlabel="texts →", ylabel="← voices")
        axes.set(xticks=[], yticks=[], aspect="equal")
        for side in axes.spines.values():
            side.set_visible(False)
    kinds = (("anchor", "black"), ("positive", BLUE), ("hard negative", ORANGE), ("negative", GREY))
    handles = [Rectangle((0, 0), 1, 1, facecolor=colour) for _, colour in kinds]
    figure.legend(handles, [name for name, _ in kinds], loc="lower center", ncol=4, frameon=False)
    figure.subplots_adjust(bottom=0.2)
    return figure


def layers(evidence: str) -> Figure:
    """Error rates of the raw layers, clean and degraded."""
    figure = Figure((7, 2.6))
    for axes, condition in zip(figure.subplots(1, 2, sharey=True), ("clean", "cross-condition"), strict=True):
        for row in table(evidence, "Raw layers"):
            if row["protocol"] in CORPORA and row["condition"] == condition:
                rates = [float(row[f"layer {number}"]) for number in range(6)]
                axes.plot(rates, "o-", label=row["protocol"])
        axes.axhline(50, color="0.6", lw=0.8)
        axes.set(title=condition, xlabel="layer of Whisper tiny.en", ylim=(0, 55))
    figure.axes[0].set_ylabel("speaker EER, %")
    figure.axes[0].legend(frameon=False, fontsize=7)
    return figure


def separation(evidence: str) -> Figure:
    """What a linear probe reads of either factor from each space, beside its shuffled control."""
    figure = Figure((7, 2.6))
    rows = table(evidence, "Separation matrix")
    for axes, factor in zip(figure.subplots(1, 2, sharey=True), ("speaker", "content"), strict=True):
        found = {
            row["from"]: row
            for row in rows
            if row["protocol"] == "speech_commands" and row["factor"] == factor
        }
        names = ("speaker", "content", "raw")
        bars(axes, names, [interval(found[name]["linear"]) for name in names], BLUE, "probe", -0.2)
        bars(axes, names, [interval(found[name]["shuffled"]) for name in names], GREY, "shuffled labels", 0.2)
        axes.set(title=f"{factor} read from …", ylim=(0, 1))
    figure.axes[0].set_ylabel("accuracy")
    figure.axes[0].legend(frameon=False, fontsize=7, loc=(0.4, 0.5))
    return figure


def cross_condition(evidence: str) -> Figure:
    """Error rates clean and degraded, of the best raw layer, LDA and the speaker subspace."""
    figure = Figure((7, 2.6))
    rows = table(evidence, "Speaker verification")
    for axes, protocol in zip(figure.subplots(1, 3, sharey=True), CORPORA, strict=True):
        own = [row for row in rows if row["protocol"] == protocol]
        kept = [row for row in own if not row["representation"].startswith("raw, mean")]
        names = ("best raw layer", "LDA", "speaker subspace")
        for column, colour, label, shift in (
            ("clean, different text", BLUE, "clean", -0.2),
            ("cross-condition, different text", ORANGE, "cross-condition", 0.2),
        ):
            bars(axes, names, [interval(row[column]) for row in kept], colour, label, shift)
        axes.set_title(protocol, fontsize=9)
        axes.tick_params("x", rotation=20, labelsize=6)
    figure.axes[0].set_ylabel("speaker EER, %")
    figure.axes[0].legend(frameon=False, fontsize=7)
    figure.subplots_adjust(bottom=0.2)
    return figure


def calibration() -> Figure:
    """Cosines of the packaged model's reference cells, and the probability that is read from them."""
    model = SubspaceModel.from_pretrained("default")
    references = model.references
    assert references
    figure = Figure((7, 2.6))
    for axes, space in zip(figure.subplots(1, 2), ("speaker", "content"), strict=True):
        labels, vectors = np.asarray(references.labels[space]), references.vectors[space]
        pairs = np.triu_indices(len(labels), 1)
        scores, same = (vectors @ vectors.T)[pairs], (labels[:, None] == labels)[pairs]
        for kind, colour, name in ((same, BLUE, f"same {space}"), (~same, ORANGE, f"another {space}")):
            axes.hist(scores[kind], 60, range=(-0.6, 1), density=True, color=colour, alpha=0.6, label=name)
        axes.set(xlabel="cosine", ylabel="density of pairs", yticks=[])
        axes.legend(frameon=False, fontsize=7, loc="upper left")
        slope, offset = model.calibration[space]
        cosines = np.linspace(-0.6, 1, 200)
        curve = axes.twinx()
        curve.plot(cosines, expit(slope * cosines + offset), color="black", lw=1.5)
        curve.set(ylim=(0, 1.05), ylabel="probability of the same" if space == "content" else "")
    figure.subplots_adjust(bottom=0.2, wspace=0.3)
    return figure


def bars(
    axes: Axes, names: tuple[str, ...], found: list[list[float]], colour: str, label: str, shift: float
) -> None:
    """Draw values with their intervals, beside those of another kind."""
    value, low, high = np.asarray(found).T
    places = np.arange(len(names))
    axes.bar(
        places + shift, value, 0.38, color=colour, label=label, yerr=(value - low, high - value), ecolor="0.4"
    )
    axes.set_xticks(places, names)


def table(evidence: str, title: str) -> list[dict[str, str]]:
    """Read a table of docs/evidence.md by the beginning of its title."""
    lines = evidence.split(f"**{title}", 1)[1].splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:]]
    end = next((index for index, line in enumerate(lines[first:]) if not line.startswith("|")), len(split))
    return [dict(zip(split[0], cells, strict=True)) for cells in split[2:end]]


def interval(cell: str) -> list[float]:
    """Read ``value [low, high]``."""
    return [float(number) for number in re.findall(r"-?[\d.]+", cell)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "concepts", help="folder of the figures")
    out = parser.parse_args().out
    evidence = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    with matplotlib.rc_context(STYLE):
        figures = {
            "entanglement": entanglement(),
            "interventions": interventions(),
            "loss": loss(),
            "layers": layers(evidence),
            "separation": separation(evidence),
            "cross-condition": cross_condition(evidence),
            "calibration": calibration(),
        }
        for name, figure in figures.items():
            figure.savefig(out / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
