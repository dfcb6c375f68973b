"""The paper's two tables: its published figures, and ours below them."""

from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from intervox.evaluation.results import PaperCondition, PaperRun, SweepFigure
from intervox.evaluation.studies.paper import NONE
from intervox.evaluation.studies.paper_measures import ALL, DIFFERENT, KEYWORD_HEAD, SAME, measure_name
from intervox.tables import NOTHING, Table

STRATA = {ALL: "all", SAME: "same gender", DIFFERENT: "different gender"}

PUBLISHED_EER = {
    ("WavLM Base", "none"): 38.7,
    ("WavLM Base", "speaker only"): 24.6,
    ("WavLM Base", "joint"): 24.7,
    ("HuBERT Base", "none"): 36.4,
    ("HuBERT Base", "speaker only"): 26.9,
    ("HuBERT Base", "joint"): 27.2,
}
"""Of Cox & Barker 2026: backbone and condition to the EER in % on VoxCeleb1-O, from the speaker half."""

PUBLISHED_ACCURACY = {
    ("WavLM Base", "none"): 96.9,
    ("WavLM Base", "joint"): 93.0,
    ("HuBERT Base", "none"): 95.7,
    ("HuBERT Base", "joint"): 89.7,
}
"""The same of the accuracy on Speech Commands v0.01, in %, from the content half."""

_SOURCE = (
    "Rows marked published are the paper's (Cox & Barker 2026, arXiv 2606.17967), on its backbones and "
    "clones, as far as they are at hand here. The others were measured here: mean ± deviation over {seeds} "
    "trainings. `none` is the backbone itself: the time mean of the layer that the network reads."
)
_EER_NOTE = (
    "EER in %, cosine, lower is better. From the content space lower means that it still knows the speaker. "
    "The two strata of genders share the targets; their impostors are of one gender, or of two. {lists} "
) + _SOURCE
_HEAD_NOTE = (
    "Accuracy in % of a linear head of 30 epochs on speakers that it was not trained on, higher is better. "
    "From the speaker space higher means that it still knows the words. "
) + _SOURCE


def paper_tables(runs: Sequence[PaperRun]) -> list[Table]:
    """Build both tables from the paper's evaluation on one backbone or several."""
    counts = {len(one.seeds) for run in runs for one in run.conditions if one.seeds}
    seeds = " or ".join(map(str, sorted(counts)))
    lists = sorted({f"{protocol} ({name})" for run in runs for protocol, name in run.lists.items()})
    said = f"Official lists: {', '.join(lists)}." if lists else "No official list is here: trials are drawn."
    return [
        Table(
            "Speaker verification: the paper's table",
            _EER_NOTE.format(seeds=seeds, lists=said),
            ["source", "backbone", "corpus", "condition", "space", *STRATA.values()],
            [*_published_eer(), *(row for run in runs for row in _measured_eer(run))],
            labels=5,
        ),
        Table(
            "Keywords: the paper's table",
            _HEAD_NOTE.format(seeds=seeds),
            ["source", "backbone", "corpus", "condition", "space", "accuracy"],
            [*_published_accuracy(), *(row for run in runs for row in _measured_accuracy(run))],
            labels=5,
        ),
    ]


def _published_eer() -> Iterator[list[str]]:
    for (backbone, condition), value in PUBLISHED_EER.items():
        space = NOTHING if condition == NONE else "speaker"
        yield ["published", backbone, "VoxCeleb1-O cleaned", condition, space, f"{value}", NOTHING, NOTHING]


def _published_accuracy() -> Iterator[list[str]]:
    for (backbone, condition), value in PUBLISHED_ACCURACY.items():
        space = NOTHING if condition == NONE else "content"
        yield ["published", backbone, "Speech Commands v0.01", condition, space, f"{value}"]


def _measured_eer(run: PaperRun) -> Iterator[list[str]]:
    for protocol in run.protocols:
        for condition in run.conditions:
            for space in _spaces(condition, "speaker", "content"):
                figures = [_figure(condition, protocol, stratum, space) for stratum in STRATA]
                if any(figures):
                    shown = NOTHING if condition.name == NONE else space
                    yield ["ours", run.backbone, protocol, condition.name, shown, *map(_over_seeds, figures)]


def _measured_accuracy(run: PaperRun) -> Iterator[list[str]]:
    for protocol in run.protocols:
        for condition in run.conditions:
            for space in _spaces(condition, "content", "speaker"):
                if figure := _figure(condition, protocol, KEYWORD_HEAD, space):
                    shown = NOTHING if condition.name == NONE else space
                    yield ["ours", run.backbone, protocol, condition.name, shown, _over_seeds(figure)]


def _spaces(condition: PaperCondition, matching: str, other: str) -> tuple[str, ...]:
    """Without a network both spaces are one."""
    return (matching,) if condition.name == NONE else (matching, other)


def _figure(condition: PaperCondition, protocol: str, what: str, space: str) -> SweepFigure | None:
    return condition.figures.get(f"{protocol} clean {measure_name(what, space)}")


def _over_seeds(figure: SweepFigure | None) -> str:
    if figure is None:
        return NOTHING
    percent = [100 * value for value in figure.by_seed]
    deviation = f" ± {stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{mean(percent):.1f}{deviation}"
