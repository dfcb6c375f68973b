"""What the recipe says of learning: subspaces, the loss, the training loop, and the encoder beneath."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from intervox.recipe.parts import Layers, Names, Part, Share, Weight

Map = Literal["linear", "mlp", "shared", "attentive"]
Depth = Literal["map", "frames", "blocks"]

MOST_STEPS = 10_000_000
MOST_VARIANTS = 1000
MOST_SEEDS = 1000


class SubspaceSettings(Part):
    """One named projection.

    ``layers`` lists the hidden states that it may use (all by default). ``combine: sum`` weighs the
    layers and adds them up before one map, ``concat`` gives each layer its own map.
    ``map`` is ``linear``, ``mlp`` (one hidden layer of ``width``) or ``shared`` (its part of the output
    of one network, see ``SharedSettings``) on time-means, or ``attentive`` (weighted mean and deviation
    over frames, the weights learned by ``width`` tanh units, then linear). ``shrinkage`` regularises the
    closed form (LDA) that is the baseline and the start of training; the start scales each direction by its
    reliability to the power of ``reliability``. ``temperature`` divides the cosine. ``erase`` names factors
    whose class means are projected out of the inputs in closed form before anything is learned, as many
    directions of them as ``erased_directions``.
    """

    factor: str
    dim: int = Field(128, ge=1, le=8192)
    layers: Layers | None = None
    combine: Literal["sum", "concat"] = "concat"
    map: Map = "linear"
    width: int = Field(128, ge=1, le=8192)
    temperature: float = Field(0.2, gt=0, le=100)
    weight: Weight = 1.0
    shrinkage: Share = 0.1
    reliability: float = Field(0.25, ge=0, le=100)
    erase: Names = ()
    erased_directions: int = Field(16, ge=1, le=8192)


class SharedSettings(Part):
    """The network of all subspaces with ``map: shared``.

    It has ``hidden`` layers of ``width`` ReLU units, then one matrix whose output is cut into the subspaces,
    ``dim`` numbers each. The paper has two hidden layers as wide as its backbone, and cuts in half.
    """

    width: int = Field(768, ge=1, le=8192)
    hidden: int = Field(2, ge=1, le=16)


class LossSettings(Part):
    """The multi-part loss beside its parts' own settings; a weight of 0 leaves a part out.

    ``within`` names a column of the plan, such as ``engine``: negatives are then only cells with
    the anchor's value of it. ``hard_negatives`` is added to the logits of negatives that share
    another subspace's factor with the anchor. ``cross_covariance`` weighs the linear dependence of
    each two spaces, ``orthogonality`` the paper's measure of it, ``adversary`` linear heads that read
    another factor. ``chunk`` anchors are compared at a time, which bounds memory and changes nothing else.
    """

    denominator: Literal["all", "negatives"] = "negatives"
    within: str | None = None
    hard_negatives: Weight = 0.0
    cross_covariance: Weight = 0.0
    orthogonality: Weight = 0.0
    adversary: Weight = 0.0
    chunk: int = Field(2048, ge=1, le=1_000_000)


class TrainingSettings(Part):
    """Optimisation by AdamW for ``steps``, or for the steps that make ``epochs``.

    ``depth`` is how far it reaches: ``map`` trains the maps on the means of a frozen backbone, ``frames``
    maps that pool its frames (``map: attentive``), ``blocks`` the backbone's own weights as well, from
    the audio, as ``encoder`` says. With ``schedule: cosine`` the learning rate rises over ``warmup_steps``
    and falls to zero by half a cosine; ``one_cycle`` is the paper's (``training.schedule``). With ``batches:
    crossed`` a step sees ``blocks_per_step`` whole blocks; with ``shuffled``, ``cells_per_step`` cells of any
    block, and ``epochs`` is how often it sees each. ``observational`` is the control without intervention: as
    many labels of each factor a step, but of cells that nobody crossed. With ``standardise: false`` the maps
    read the hidden states as they are. Every ``validate_every`` steps (0: never) the cells of the
    validation split, of engines that training never hears, are measured, and the best weights are
    kept. ``crop_seconds`` is the longest stretch of a clip that a step sees at depth ``frames`` or
    ``blocks``.
    """

    depth: Depth = "map"
    steps: int = Field(400, ge=0, le=MOST_STEPS)
    epochs: int | None = Field(None, ge=1, le=1_000_000)
    blocks_per_step: int = Field(8, ge=1, le=10_000)
    cells_per_step: int = Field(512, ge=2, le=1_000_000)
    batches: Literal["crossed", "shuffled", "observational"] = "crossed"
    schedule: Literal["cosine", "one_cycle"] = "cosine"
    learning_rate: float = Field(1e-4, gt=0, le=100)
    weight_decay: float = Field(0.0, ge=0, le=100)
    warmup_steps: int = Field(20, ge=0, le=MOST_STEPS)
    clip_gradient: float = Field(0.0, ge=0, le=1e6)
    standardise: bool = True
    initialisation: Literal["lda", "random"] = "lda"
    checkpoint_every: int = Field(100, ge=1, le=MOST_STEPS)
    validate_every: int = Field(0, ge=0, le=MOST_STEPS)
    crop_seconds: float = Field(2.0, gt=0, le=600)
    tensorboard: bool = False

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingSettings":
        if self.epochs is not None and self.batches != "shuffled":
            raise ValueError("epochs counts passes over shuffled cells: set batches: shuffled, or give steps")
        if self.epochs is not None and self.steps != type(self).model_fields["steps"].default:
            raise ValueError("give steps or epochs, not both")
        return self

    def over(self, cells: int) -> "TrainingSettings":
        """Say in ``steps`` how long training on so many cells takes."""
        if self.epochs is None:
            return self
        steps = math.ceil(self.epochs * cells / min(self.cells_per_step, cells))
        return self.model_copy(update={"steps": steps, "epochs": None})


class EncoderSettings(Part):
    """What of the backbone is trained at depth ``blocks``, and how.

    ``method: full`` trains the weights themselves of ``blocks`` (transformer blocks counted from 0; by
    default all below the highest layer that a subspace uses) and, with ``front_end``, of the layers before
    them. ``method: lora`` trains low-rank products of ``rank`` and ``alpha`` beside the blocks' linear
    modules ``targets`` (Hu et al. 2021). The maps are first trained for ``map_steps`` steps on the frozen
    backbone, unless one of them pools frames: a step is cheap there. ``learning_rate`` follows
    the schedule of ``training``. In each step a share ``warp`` of the speakers is heard as somebody
    else: played by a factor from ``warp_range`` faster, which moves pitch, formants and rate together. A
    share ``fresh_conditions`` of the disturbed cells is made anew in each step, from the dry copy under
    a condition of the corpus' bank. A step of more than ``graph_seconds`` of audio computes its
    activations twice instead of keeping them.
    """

    method: Literal["full", "lora"] = "full"
    blocks: Layers | None = None
    front_end: bool = True
    map_steps: int = Field(400, ge=0, le=MOST_STEPS)
    learning_rate: float = Field(1e-4, gt=0, le=100)
    rank: int = Field(8, ge=1, le=1024)
    alpha: float = Field(16.0, gt=0, le=1e6)
    targets: Names = ("q_proj", "v_proj")
    warp: Share = 0.0
    warp_range: tuple[Annotated[float, Field(ge=0.5, le=2)], Annotated[float, Field(ge=0.5, le=2)]] = (
        0.86,
        1.16,
    )
    fresh_conditions: Share = 0.0
    graph_seconds: float = Field(400.0, gt=0, le=1e6)

    @model_validator(mode="after")
    def _usable(self) -> "EncoderSettings":
        if self.warp_range[0] > self.warp_range[1]:
            raise ValueError("warp_range: give the lower bound first")
        if self.method == "lora" and not self.targets:
            raise ValueError("targets: name at least one of the blocks' linear modules")
        return self


class SweepSettings(Part):
    """Trainings to compare on one corpus: variant name to recipe fields and their values.

    ``{"observational": {"training.batches": "observational"}}``. The recipe itself is the variant
    ``recipe`` and what the others are compared with; each is trained with ``seeds`` seeds.
    """

    variants: dict[
        str,
        Annotated[dict[str, bool | int | float | str | list[int] | list[str] | None], Field(max_length=100)],
    ] = Field({}, max_length=MOST_VARIANTS)
    seeds: int = Field(1, ge=1, le=MOST_SEEDS)

    @model_validator(mode="after")
    def _names(self) -> "SweepSettings":
        if "recipe" in self.variants:
            raise ValueError("a variant can't be called 'recipe': that is the recipe itself")
        return self
