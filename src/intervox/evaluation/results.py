"""What an evaluation and the studies leave behind: ``metrics.json``, ``sweep.json`` and others, typed.

A mapping by name (protocol, space, condition, stratum, ...) is a ``dict``; what it leads to is one of the
``findings``. ``docs/formats.md`` has all of them field by field.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import Field, JsonValue, ValidationError, model_serializer, model_validator

from intervox.errors import IntervoxError, plain_problems
from intervox.evaluation.findings import (
    Abx,
    Against,
    Backbone,
    Blocks,
    Calibration,
    ErrorRates,
    Gap,
    Geometry,
    Keywords,
    ProbedFactor,
    ProtocolAbout,
    Rate,
    RawRunning,
    Reading,
    Result,
    Running,
)
from intervox.metrics.bootstrap import Interval
from intervox.storage import read_json, write_json

METRICS = "metrics.json"
INGREDIENTS = "ingredients.json"
SWEEP = "sweep.json"
PAPER = "paper.json"
LIKE_FOR_LIKE = "like_for_like.json"

RAW = "raw"
"""The space of the backbone's own layers."""

T = TypeVar("T")
R = TypeVar("R")


class RawLayers(Result, Generic[T]):
    """The backbone's layers by themselves."""

    mean: dict[str, T]
    """`[condition]`: the embedding averaged over layers."""
    best_layer: dict[str, str]
    """`[condition]`: number of the best layer, chosen on the test itself."""
    layers: dict[str, dict[str, T]]
    """`[layer][condition]`, layers from `"0"`."""


class Spaces(Result, Generic[T, R]):
    """What was found in each space: one mapping in the file, where `raw` lies beside the own spaces."""

    own: dict[str, T] = Field(default_factory=dict)
    """`[space]`: a subspace, or an embedding under its name."""
    raw: R | None = None
    """The backbone's layers."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, dict) and "own" not in value:
            return {"own": {k: v for k, v in value.items() if k != RAW}, RAW: value.get(RAW)}
        return value

    @model_serializer(mode="wrap")
    def _without_gaps(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = dump(self)
        own: dict[str, Any] = found["own"]
        return own | ({RAW: found[RAW]} if found[RAW] is not None else {})


Strata = dict[str, ErrorRates]
"""By stratum."""

Verification = dict[str, Strata]
"""By condition, then stratum."""

VerificationSpaces = Spaces[Verification, RawLayers[Strata]]
KeywordSpaces = Spaces[dict[str, Keywords], RawLayers[Keywords]]
RunningSpaces = Spaces[Running, RawRunning]


class Separation(Result):
    """What each space knows of each factor."""

    speaker_eer_from: dict[str, float] = Field(default_factory=dict)
    """`[content subspace]`: EER of its different-text trials."""
    same_text_cost_of: dict[str, float] = Field(default_factory=dict)
    """`[speaker subspace]`: EER against same-text impostors over that against different-text ones."""
    keyword_probe_from: dict[str, float] = Field(default_factory=dict)
    """`[speaker subspace]`: the probe of `keywords`."""
    keyword_chance: float | None = None
    """The chance of `keywords`."""
    matrix: dict[str, dict[str, ProbedFactor]] = Field(default_factory=dict)
    """`[factor][space]`; spaces: the subspaces, `raw`, and `residual` where all maps are linear."""
    rejection: dict[str, dict[str, Reading]] = Field(default_factory=dict)
    """`[factor][subspace]`: on all layers without the subspace; linear maps only."""
    projection: dict[str, dict[str, Reading]] = Field(default_factory=dict)
    """`[factor][subspace]`: on the subspace's directions alone; linear maps only."""
    geometry: dict[str, Geometry] = Field(default_factory=dict)
    """By `<first>-<second>`."""
    abx: dict[str, Abx] = Field(default_factory=dict)
    """By subspace, and the best `raw.<layer>`; absent where speakers share no texts."""
    blocks: Blocks | None = None
    """Summary of the matrix; absent with fewer than two subspaces or factors."""


class Baseline(Result):
    """A baseline or peer, beside the subspaces that it is compared with."""

    about: str
    """One clause that says what it is."""
    verification: dict[str, dict[str, Verification]] = Field(default_factory=dict)
    """`[protocol][space][condition][stratum]`"""
    gaps: dict[str, dict[str, dict[str, Gap]]] = Field(default_factory=dict)
    """`[protocol][space][gap]`"""
    severity: dict[str, dict[str, dict[str, dict[str, Rate]]]] = Field(default_factory=dict)
    """`[protocol][space][disturbance][severity]`"""
    calibration: dict[str, dict[str, Calibration]] = Field(default_factory=dict)
    """`[protocol][space]`"""
    keywords: dict[str, dict[str, dict[str, Keywords]]] = Field(default_factory=dict)
    """`[protocol][space][condition]`"""
    running: dict[str, dict[str, Running]] = Field(default_factory=dict)
    """`[protocol][space]`"""
    against: dict[str, Against] = Field(default_factory=dict)
    """`[protocol]`"""


class Document(Result):
    """What one file holds."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that ``write`` wrote.

        Raises
        ------
        IntervoxError
            It is missing, damaged, of another version or another file altogether.
        """
        content = read_json(path)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise IntervoxError(
                f"{path} does not hold results of this version of Intervox ({plain_problems(error)}): "
                "run the command that writes it again"
            ) from None

    def dump(self) -> dict[str, Any]:
        """Return the content of the file, as JSON has it."""
        return self.model_dump(mode="json", by_alias=True)

    def write(self, path: Path) -> None:
        """Write the file at once or not at all."""
        write_json(path, self.dump())


class Metrics(Document):
    """`metrics.json`: all that one evaluation measured."""

    version: Literal[3] = Field(3, alias="schema")
    """Version of this structure."""
    recipe: str
    """Name of the recipe, or of the embedding."""
    seed: int
    """Of the recipe; 0 for embeddings that are not ours."""
    backbone: Backbone | None = None
    """Absent for embeddings that are not ours."""
    protocols: dict[str, ProtocolAbout]
    """`[protocol]`"""
    left_out: list[str] = Field(default_factory=list)
    """What was not measured, and why: a sentence each."""
    spaces: dict[str, str]
    """Space to the factor that it was made for; empty for an embedding made for none."""
    verification: dict[str, VerificationSpaces]
    """`[protocol][space][condition][stratum]`"""
    gaps: dict[str, dict[str, dict[str, Gap]]] = Field(default_factory=dict)
    """`[protocol][space][gap]`"""
    severity: dict[str, dict[str, dict[str, dict[str, Rate]]]] = Field(default_factory=dict)
    """`[protocol][space][disturbance][severity]`, all of the same few clips; not for `synthetic`."""
    calibration: dict[str, dict[str, Calibration]] = Field(default_factory=dict)
    """`[protocol][space]`; not for `synthetic`, nor where there is no `synthetic`."""
    keywords: dict[str, KeywordSpaces] = Field(default_factory=dict)
    """`[protocol][space][condition]`; absent where contents are said too seldom or by one speaker."""
    running: dict[str, RunningSpaces] = Field(default_factory=dict)
    """`[protocol][space]`; not for `synthetic`, nor where `keywords` is absent."""
    scoring: dict[str, dict[str, dict[str, dict[str, ErrorRates]]]] = Field(default_factory=dict)
    """`[protocol][space][condition][back-end]`, on the first speaker subspace; `cllr` is cross-fitted."""
    separation: dict[str, Separation] = Field(default_factory=dict)
    """`[protocol]`"""
    baselines: dict[str, Baseline] = Field(default_factory=dict)
    """`[baseline or peer]`"""


class IngredientFigure(Result):
    """One measure of a part of the corpus."""

    value: float
    """An EER, or an accuracy."""
    interval: Interval | None = None
    """Over resampled speakers."""
    difference: Interval | None = None
    """Of the paired difference from the group's first variant; absent there."""


class Ingredient(Result):
    """The same training on a part of the corpus."""

    group: str
    """What the variants of the group differ in."""
    name: str
    """What the part is made of."""
    cells: int
    """Training cells."""
    texts: int
    """Different texts."""
    voices: int
    """Different speakers."""
    figures: dict[str, IngredientFigure]
    """By `<protocol> <condition> <measure>`: `different_text` and `same_text_impostors` are EERs of the
    speaker subspace, `one_shot` the keyword accuracy of the content subspace."""


class Ingredients(Document):
    """`ingredients.json`: what each ingredient of a corpus buys."""

    recipe: str
    """Name of the recipe."""
    seed: int
    """Of the recipe."""
    variants: list[Ingredient]
    """Group by group; the first of a group is what the others are compared with."""


class Difference(Result):
    """A paired difference."""

    value: float
    """The variant's figure less that of the recipe."""
    interval: Interval | None = None
    """Over resampled speakers and seeds."""


class SweepFigure(Result):
    """One measure of a variant, averaged over its seeds."""

    value: float
    """An EER, or an accuracy."""
    interval: Interval | None = None
    """Over resampled speakers and seeds."""
    by_seed: list[float]
    """The value of each training."""
    difference: Difference
    """From the recipe itself."""


class SweepVariant(Result):
    """One variant of the recipe."""

    name: str
    """As in the recipe, or its overrides."""
    overrides: dict[str, JsonValue]
    """Field of the recipe to its value."""
    cells: int
    """Training cells."""
    blocks_per_step: int
    """As trained."""
    seeds: list[int]
    """Of each training."""
    steps: list[int]
    """Of each training."""
    seconds: list[float]
    """That each training took."""
    figures: dict[str, SweepFigure]
    """By `<protocol> <condition> <measure>`"""


class SweepBaseline(Result):
    """The raw layers."""

    name: str
    """What they are."""
    layers: dict[str, int] | None = None
    """Factor to its layer; absent for the mean over layers."""
    figures: dict[str, SweepFigure]
    """By `<protocol> <condition> <measure>`"""


class Selected(Result):
    """The variant with the lowest mean error on held-out cells."""

    variant: str
    """Its name."""
    score: float
    """That mean."""
    by: list[str]
    """The figures that it is the mean of."""


class Sweep(Document):
    """`sweep.json`: variants of a recipe, compared."""

    version: Literal[1] = Field(1, alias="schema")
    """Version of this structure."""
    recipe: str
    """Name of the recipe."""
    seeds: int
    """Trainings of each variant."""
    protocols: dict[str, ProtocolAbout]
    """`[protocol]`"""
    variants: list[SweepVariant]
    """The recipe itself first."""
    baselines: list[SweepBaseline]
    """The raw layers."""
    selected: Selected | None = None
    """Absent where the held-out cells don't measure both factors."""


class PaperCondition(Result):
    """One condition of the paper: none, content only, speaker only or joint."""

    name: str
    """Of the condition; `none` is the backbone itself."""
    seeds: list[int]
    """Of each training; empty where nothing is trained."""
    seconds: list[float]
    """That each training took."""
    figures: dict[str, SweepFigure]
    """By `<protocol> clean <measure>-from-<space>`: `paper` is the EER on the official list or the usual
    trials, `paper_same_gender` and `paper_different_gender` on those of its impostors, `keyword_head` the
    accuracy of a linear head; differences are from `joint`."""


class PaperRun(Document):
    """`paper.json`: the paper's evaluation on one backbone."""

    version: Literal[1] = Field(1, alias="schema")
    """Version of this structure."""
    recipe: str
    """Name of the recipe."""
    backbone: str
    """As the recipe names it."""
    protocols: dict[str, ProtocolAbout]
    """`[protocol]`"""
    lists: dict[str, str]
    """`[protocol]`: the official list that its trials are; absent where they are drawn."""
    conditions: list[PaperCondition]
    """In the order of the paper."""


class ComparedSystem(Result):
    """One way to the two subspaces, or to one of them."""

    name: str
    """In words."""
    about: str
    """What it is made of."""
    layers: dict[str, list[int]] = Field(default_factory=dict)
    """`[factor]`: of the backbone; absent for a peer."""
    seeds: list[int]
    """Of each training; empty where nothing is trained."""
    seconds: list[float]
    """That each training took."""
    figures: dict[str, SweepFigure]
    """By `<protocol> <condition> <measure>`; differences are from the reference."""


class LikeForLike(Document):
    """`like_for_like.json`: ways to subspaces, on one corpus and backbone."""

    version: Literal[1] = Field(1, alias="schema")
    """Version of this structure."""
    recipe: str
    """Name of the recipe whose corpus it is."""
    backbone: str
    """As the recipe names it."""
    reference: str
    """Name of the system that the others are compared with."""
    protocols: dict[str, ProtocolAbout]
    """`[protocol]`"""
    systems: list[ComparedSystem]
    """From the raw layers on."""
