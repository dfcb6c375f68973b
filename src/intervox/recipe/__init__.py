"""The recipe: one YAML file that says everything a run does.

Every field has a default, a range and a reason; an unknown key is an error, not a silent no-op.
"""

import re
from collections.abc import Collection, Hashable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator
from yaml.error import MarkedYAMLError

from intervox.errors import IntervoxError, plain_problems
from intervox.recipe.corpus import CorpusRecipe
from intervox.recipe.parts import Names, Part, Share
from intervox.recipe.training import (
    EncoderSettings,
    LossSettings,
    SharedSettings,
    SubspaceSettings,
    SweepSettings,
    TrainingSettings,
)


class FeatureSettings(Part):
    """How the backbone is run.

    ``batch_seconds`` bounds its memory. ``window_seconds`` is the longest stretch that it sees at
    once; a longer clip is the mean of its windows. Layer means depend on the length seen (the mean
    of the positions does), so windows keep long clips within the lengths that training covers.
    """

    batch_seconds: float = Field(20.0, gt=0, le=3600)
    window_seconds: float = Field(4.0, ge=0.5, le=30)
    max_failures: Share = 0.01


Disturbance = Literal["noise", "room", "band", "clipping", "codec", "packet_loss"]
Backend = Literal["cosine", "centred", "as_norm", "plda"]
Study = Literal["paper", "like_for_like"]
BaselineName = Literal["random", "pca", "whitening", "lda", "leace", "collapse", "svd", "observational"]


class SeveritySettings(Part):
    """Curves of error against severity, on at most ``clips`` clips of each human corpus."""

    disturbances: tuple[Disturbance, ...] = Field(("noise", "room", "band"), max_length=6)
    levels: tuple[Annotated[float, Field(ge=0.01, le=1)], ...] = Field((0.25, 0.5, 0.75), max_length=100)
    clips: int = Field(150, ge=10, le=1_000_000)


class EvaluationSettings(Part):
    """What is measured, on what, against what.

    ``protocols`` are names of evaluation sets, or ``auto`` for each that is found. ``baselines`` and
    ``peers`` are measured beside the subspaces (the extras ``baselines``, for LEACE, and ``peers``
    bring what they need); ``scoring`` lists the back-ends that the speaker
    subspace is scored with. ``max_trials`` bounds the targets and the impostors of a stratum,
    ``bootstrap`` is the number of resamples behind every interval, ``episodes`` that of draws of
    enrolled examples, ``seeds`` that of trainings of each probe. With ``separation: false`` the
    probes, ABX and their kin are left out, with ``recordings: false`` the report has no audio.
    ``studies`` follow the evaluation in ``intervox run``: ``paper`` (docs/how-to/paper.md) and
    ``like_for_like`` (docs/like-for-like.md).
    """

    protocols: Names = ("auto",)
    baselines: tuple[BaselineName, ...] = Field(
        ("random", "pca", "whitening", "lda", "collapse", "svd", "observational"), max_length=8
    )
    peers: tuple[Literal["resemblyzer"], ...] = Field((), max_length=1)
    scoring: tuple[Backend, ...] = Field(get_args(Backend), max_length=4)
    severities: SeveritySettings = SeveritySettings()
    separation: bool = True
    running_minutes: float = Field(10.0, ge=0, le=1440)
    max_trials: int = Field(50_000, ge=1000, le=10_000_000)
    bootstrap: int = Field(200, ge=0, le=10_000)
    episodes: int = Field(100, ge=1, le=10_000)
    seeds: int = Field(3, ge=1, le=1000)
    max_clips: int | None = Field(None, ge=1, le=10_000_000)
    recordings: bool = True
    studies: tuple[Study, ...] = Field((), max_length=2)


_RESERVED = {
    "raw", "own", "residual", "forward", "train", "eval", "type", "float", "half", "double", "apply",
    *dir(dict),
    "enrol", "test", "enrol_speaker", "test_speaker", "enrol_content", "test_content", "target", "all",
    "different_text", "same_text_impostors", "same_session", "cross_session", "short", "medium", "long",
    "step", "total", "mean", *LossSettings.model_fields,
}  # fmt: skip
"""Names that metrics, trial files, the training log or modules use for something else."""


class Recipe(Part):
    """A whole run."""

    name: str = Field("custom", pattern=r"^\w[\w.-]*$")
    seed: int = Field(0, ge=0, lt=2**31)
    backbone: str = Field("bundled:whisper-tiny.en", min_length=1)
    corpus: CorpusRecipe = CorpusRecipe()
    features: FeatureSettings = FeatureSettings()
    subspaces: dict[str, SubspaceSettings] = Field(
        {"speaker": SubspaceSettings(factor="speaker"), "content": SubspaceSettings(factor="content")},
        max_length=100,
    )
    shared: SharedSettings = SharedSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    encoder: EncoderSettings = EncoderSettings()
    sweep: SweepSettings = SweepSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _usable_subspaces(self) -> "Recipe":
        if not self.subspaces:
            raise ValueError("subspaces: name at least one")
        for name, settings in self.subspaces.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _RESERVED:
                raise ValueError(
                    f"subspaces: {name!r} can't be a name; use lower-case letters, no reserved word"
                )
            if settings.map in ("mlp", "shared") and self.training.initialisation == "lda":
                raise ValueError(
                    f"subspaces.{name}.map: {settings.map} can't start from lda: set "
                    "training.initialisation: random"
                )
            if settings.map == "attentive" and self.training.depth == "map":
                raise ValueError(
                    f"subspaces.{name}.map: attentive reads frames: set training.depth: frames, or blocks"
                )
            if settings.factor in settings.erase:
                raise ValueError(f"subspaces.{name}.erase: a subspace can't lose its own factor")
            layers = settings.layers
            if layers is not None and (not layers or len(set(layers)) < len(layers) or min(layers) < 0):
                raise ValueError(f"subspaces.{name}.layers: list each layer once, counted from 0")
        if self.training.depth == "frames" and not self.reads_frames:
            raise ValueError("training.depth: frames needs a subspace with map: attentive")
        return self

    @property
    def reads_frames(self) -> bool:
        """Whether a subspace looks at every frame, so that features must keep them."""
        return any(settings.map == "attentive" for settings in self.subspaces.values())


_MOST_CHARACTERS = 1_000_000
_MOST_VALUES = 5_000
_MOST_DEEP = 16
"""Of a recipe: its schema has six levels."""

BUILT_IN = files("intervox.recipe").joinpath("builtin")
"""Folder of the recipes in the package."""


def load_recipe(source: str | Path) -> Recipe:
    """Read a recipe by the name of a built-in one or by path.

    Raises
    ------
    IntervoxError
        No such recipe, not YAML, or a field is unknown or has a wrong value; the message names it.
    """
    path = Path(source)
    builtin = BUILT_IN.joinpath(f"{source}.yaml")
    if path.suffix in (".yaml", ".yml"):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise IntervoxError(
                f"{path} can't be read ({reason}): give the path of a recipe or one of {names()}"
            ) from None
    elif builtin.is_file():
        text = builtin.read_text(encoding="utf-8")
    else:
        raise IntervoxError(f"there is no recipe {str(source)!r}: give a .yaml file or one of {names()}")
    try:
        fields = read_yaml(text)
        if not fields:
            raise IntervoxError(f"recipe {source} is empty: set a field, or run one of {names()}")
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise IntervoxError(f"recipe {source}: {plain_problems(error, 'the recipe')}") from None
    except yaml.YAMLError as error:
        raise IntervoxError(f"{source} is not valid YAML: {yaml_fault(error)}") from None


def _refused(what: str, mark: Any) -> MarkedYAMLError:
    return MarkedYAMLError(problem=what, problem_mark=mark)


class _PlainLoader(yaml.SafeLoader):
    """YAML as a recipe needs it: no key twice, no aliases, nothing too deep or too long.

    A few aliases can stand for billions of values, and a thousand brackets exhaust Python's stack.
    """

    _depth = _count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._count += 1
        if isinstance(event, yaml.AliasEvent):
            raise _refused("an alias (*): write the values out", event.start_mark)
        if self._depth == _MOST_DEEP or self._count > _MOST_VALUES:
            most = f"more than {_MOST_VALUES:,} values or {_MOST_DEEP} levels: leave some out"
            raise _refused(most, event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise _refused(f"the key {name!r} comes twice: keep one", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # a number of thousands of digits, a date that is none
            raise _refused(f"{node.value!r:.40}: {error}", node.start_mark) from None


def read_yaml(text: str) -> Any:
    """Read YAML that people write.

    Raises
    ------
    YAMLError
        It is not YAML, or uses what recipes do without: aliases, a key twice, boundless depth or length.
    """
    if len(text) > _MOST_CHARACTERS:
        raise yaml.YAMLError(f"more than {_MOST_CHARACTERS:,} characters: leave some out")
    return yaml.load(text, _PlainLoader)


def yaml_fault(error: yaml.YAMLError) -> str:
    """Say in one line what is wrong, and where."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return str(error).splitlines()[0]
    return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"


def names() -> str:
    """List the built-in recipes, comma-separated."""
    folder = BUILT_IN.iterdir()
    return ", ".join(sorted(f.name.removesuffix(".yaml") for f in folder if f.name.endswith(".yaml")))


def dump_recipe(recipe: Recipe, but: Collection[str] = ()) -> str:
    """Write a recipe as YAML with every default spelled out, without the parts that are named."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude=set(but)), sort_keys=False)
