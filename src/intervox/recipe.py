"""The recipe: one YAML file that says everything a run does.

Every field has a default, a range and a reason; an unknown key is an error, not a silent no-op.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from intervox.errors import IntervoxError

Range = tuple[float, float]
"""Lower and upper bound of a uniform draw."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A probability or a fraction."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(_Part):
    """One engine and how many of its voices take part."""

    name: str = "espeak"
    voices: int = Field(320, ge=1)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        from intervox.engines.base import ENGINES

        if name not in ENGINES:
            raise ValueError(f"unknown engine {name!r}: choose from {', '.join(sorted(ENGINES))}")
        return name


class TextSettings(_Part):
    """The content inventory: generated, or the user's own file with one text a line."""

    count: int = Field(1600, ge=2)
    file: Path | None = None


class BlockSettings(_Part):
    """A split's blocks: each crosses ``speakers`` with ``contents`` completely."""

    blocks: int = Field(ge=0)
    speakers: int = Field(8, ge=2)
    contents: int = Field(8, ge=2)


_BOUNDS = {
    "padding_seconds": (0.0, 10.0),
    "snr_db": (-30.0, 100.0),
    "low_hz": (10.0, 7900.0),
    "high_hz": (10.0, 7900.0),
    "tilt_db_per_octave": (-20.0, 20.0),
    "clipped_share": (0.0, 0.5),
    "level_dbfs": (-90.0, 0.0),
}
"""What the ranges of ``ConditionSettings`` may hold."""


class ConditionSettings(_Part):
    """How often each disturbance is drawn, and from which range (uniformly).

    ``clean`` is the share of cells that nothing is done to.
    """

    clean: Share = 0.1
    padding: Share = 0.5
    padding_seconds: Range = (0.0, 0.35)
    room: Share = 0.04
    rooms: int = Field(48, ge=1)
    noise: Share = 0.8
    snr_db: Range = (8.0, 40.0)
    band: Share = 0.04
    low_hz: Range = (40.0, 350.0)
    high_hz: Range = (3000.0, 7600.0)
    tilt: Share = 0.03
    tilt_db_per_octave: Range = (-4.0, 4.0)
    clipping: Share = 0.03
    clipped_share: Range = (0.001, 0.03)
    codec: Share = 0.03
    level: Share = 1.0
    level_dbfs: Range = (-32.0, -1.0)

    @field_validator("*")
    @classmethod
    def _within_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, tuple):
            return value
        lowest, highest = _BOUNDS[str(info.field_name)]
        if not lowest <= value[0] <= value[1] <= highest:
            raise ValueError(f"give two numbers from {lowest:g} to {highest:g}, the lower bound first")
        return value

    @model_validator(mode="after")
    def _band_is_open(self) -> "ConditionSettings":
        if self.low_hz[1] >= self.high_hz[0]:
            raise ValueError("low_hz must end below where high_hz begins")
        return self


class CorpusRecipe(_Part):
    """What is synthesised."""

    engines: tuple[EngineSettings, ...] = (EngineSettings(),)
    texts: TextSettings = TextSettings()
    train: BlockSettings = BlockSettings(blocks=60)
    test: BlockSettings = BlockSettings(blocks=10)
    held_out: Share = 0.15
    copies: int = Field(2, ge=1)
    conditions: ConditionSettings = ConditionSettings()
    shard_size: int = Field(256, ge=1)
    max_failures: Share = 0.01

    @model_validator(mode="after")
    def _usable(self) -> "CorpusRecipe":
        names = [engine.name for engine in self.engines]
        if not names or len(set(names)) < len(names):
            raise ValueError("engines: name at least one, and each once")
        if not self.train.blocks:
            raise ValueError("train.blocks: at least 1")
        return self


class FeatureSettings(_Part):
    """How the backbone is run.

    ``batch_seconds`` bounds its memory. ``window_seconds`` is the longest stretch that it sees at
    once; a longer clip is the mean of its windows. Layer means depend on the length seen (the mean
    of the positions does), so windows keep long clips within the lengths that training covers.
    """

    batch_seconds: float = Field(20.0, gt=0)
    window_seconds: float = Field(4.0, ge=0.5, le=30)
    max_failures: Share = 0.01


class SubspaceSettings(_Part):
    """One named projection.

    ``layers`` lists the hidden states that it may use (all by default). ``combine: sum`` is the
    paper's weighted sum of layers before one map, ``concat`` gives each layer its own map.
    ``shrinkage`` regularises the closed form (LDA) that is the baseline and the start of training;
    the start scales each direction by its reliability to the power of ``reliability``.
    """

    factor: str
    dim: int = Field(128, ge=1)
    layers: tuple[int, ...] | None = None
    combine: Literal["sum", "concat"] = "concat"
    map: Literal["linear", "mlp"] = "linear"
    temperature: float = Field(0.2, gt=0)
    weight: float = Field(1.0, ge=0)
    shrinkage: Share = 0.1
    reliability: float = Field(0.25, ge=0)


class LossSettings(_Part):
    """The multi-part loss beside its parts' own settings."""

    denominator: Literal["all", "negatives"] = "negatives"
    cross_covariance: float = Field(1.0, ge=0)


class TrainingSettings(_Part):
    """Optimisation; a step sees ``blocks_per_step`` whole blocks."""

    steps: int = Field(400, ge=0)
    blocks_per_step: int = Field(8, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(20, ge=0)
    initialisation: Literal["lda", "random"] = "lda"
    checkpoint_every: int = Field(100, ge=1)


class EvaluationSettings(_Part):
    """Protocols, baselines and the sizes of what is drawn."""

    protocols: tuple[str, ...] = ("auto",)
    baselines: tuple[Literal["lda"], ...] = ("lda",)
    max_trials: int = Field(50_000, ge=1000)
    bootstrap: int = Field(200, ge=0)
    episodes: int = Field(100, ge=1)
    max_clips: int | None = Field(None, ge=1)


_RESERVED = {"raw", "forward", "train", "eval", "type", "float", "half", "double", "apply", *dir(dict)}
"""Names that metrics or modules use for something else."""


class Recipe(_Part):
    """A whole run."""

    name: str = Field("custom", pattern=r"^\w[\w.-]*$")
    seed: int = Field(0, ge=0, lt=2**31)
    backbone: str = "bundled:whisper-tiny.en"
    corpus: CorpusRecipe = CorpusRecipe()
    features: FeatureSettings = FeatureSettings()
    subspaces: dict[str, SubspaceSettings] = {
        "speaker": SubspaceSettings(factor="speaker"),
        "content": SubspaceSettings(factor="content"),
    }
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _usable_subspaces(self) -> "Recipe":
        if not self.subspaces:
            raise ValueError("subspaces: name at least one")
        for name, settings in self.subspaces.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _RESERVED:
                raise ValueError(f"subspaces: {name!r} can't be a name; use lower-case letters, not raw")
            if settings.map == "mlp" and self.training.initialisation == "lda":
                raise ValueError("an mlp map can't start from lda: set training.initialisation: random")
            layers = settings.layers
            if layers is not None and (not layers or len(set(layers)) < len(layers) or min(layers) < 0):
                raise ValueError(f"subspaces.{name}.layers: list each layer once, counted from 0")
        return self


def load_recipe(source: str | Path) -> Recipe:
    """Read a recipe by the name of a built-in one or by path.

    Raises
    ------
    IntervoxError
        No such recipe, not YAML, or a field is unknown or has a wrong value; the message names it.
    """
    path = Path(source)
    builtin = files("intervox.recipes").joinpath(f"{source}.yaml")
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
        return Recipe.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise IntervoxError(f"{source} is not valid YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        raise IntervoxError(f"recipe {source}: {_explain(error)}") from None


def names() -> str:
    """List the built-in recipes, comma-separated."""
    folder = files("intervox.recipes").iterdir()
    return ", ".join(sorted(f.name.removesuffix(".yaml") for f in folder if f.name.endswith(".yaml")))


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as YAML with every default spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _explain(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "top level"
        if problem["type"] == "extra_forbidden":
            problems.append(f"unknown key `{where}`: remove it or correct its spelling")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            problems.append(f"`{where}` is {problem['input']!r}: {message}")
    return "; ".join(problems)
