"""Variants of a recipe to train on one corpus: what may differ, on which cells, on which features."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from intervox.errors import IntervoxError, plain_problems
from intervox.evaluation.test_sets import EVALUATION_SEED
from intervox.features.store import Features
from intervox.recipe import Recipe, read_yaml
from intervox.recipe.training import MOST_VARIANTS
from intervox.seeds import rng
from intervox.training.cells import validation_cells
from intervox.training.refine import check_settings

Mask = NDArray[np.bool_]

RECIPE = "recipe"
"""The name of the variant that changes nothing."""

CELLS = "cells"
"""The field that is no field of the recipe: which of the training cells are kept."""

VARIED = ("subspaces", "shared", "loss", "training", "encoder", "seed", "backbone")
"""What training reads of a recipe beside the corpus, which all variants share."""

FeaturesOf = Callable[[str, bool], Features]
"""From a backbone, and whether its frames are read, to its features of the corpus that all variants share."""

Overrides = Mapping[str, Any]


def train_on(cells: pa.Table, mask: Mask) -> pa.Table:
    """Take the cells outside the mask out of training.

    Those of other splits stay what they are: training may be validated on them.
    """
    split = np.asarray(cells["split"].to_pylist())
    kept = np.where((split == "train") & ~mask, "unused", split)
    return cells.set_column(cells.column_names.index("split"), "split", pa.array(kept, pa.string()))


def train_mask(cells: pa.Table) -> Mask:
    """Return which cells of a plan are trained on, shape (cells,)."""
    train: Mask = np.asarray(cells["split"].to_pylist()) == "train"
    return train


def matched(recipe: Recipe, cells: pa.Table, mask: Mask) -> Recipe:
    """Give smaller blocks more of them a step: every variant sees as many cells a step.

    Parameters
    ----------
    mask
        Shape (cells,): the training cells that are kept.
    """
    block = np.asarray(cells["block"].to_pylist())
    train = np.asarray(cells["split"].to_pylist()) == "train"
    per_block = train.sum() / len(np.unique(block[train]))
    kept = mask.sum() / len(np.unique(block[mask]))
    blocks = max(1, round(recipe.training.blocks_per_step * float(per_block / kept)))
    training = recipe.training.model_copy(update={"blocks_per_step": blocks})
    return recipe.model_copy(update={"training": training})


def measured_factors(recipe: Recipe) -> bool:
    """Whether a recipe has a subspace for both factors that are measured."""
    return {"speaker", "content"} <= {settings.factor for settings in recipe.subspaces.values()}


@dataclass(frozen=True)
class Variant:
    """A training to compare.

    Attributes
    ----------
    name, overrides
        As in the recipe's ``sweep.variants``.
    recipe
        With the overrides in it, and as many cells a step as the recipe itself.
    mask
        Shape (cells,): the training cells that it keeps.
    features
        Of its backbone.
    """

    name: str
    overrides: Overrides
    recipe: Recipe
    mask: Mask
    features: Features


def parse_vary(options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``FIELD=V1,V2,...`` options as the full crossing of their values.

    Values are YAML scalars, or lists in brackets.

    Returns
    -------
    dict
        Variant name, such as ``denominator=all, steps=0``, to its overrides.

    Raises
    ------
    IntervoxError
        An option has another form, or a field comes twice.
    """
    if not options:
        return {}
    fields: dict[str, list[Any]] = {}
    for option in options:
        field, _, text = option.partition("=")
        try:
            values = read_yaml(f"[{text}]")
        except yaml.YAMLError:
            values = None
        if not field or not values:
            raise IntervoxError(
                f"--vary {option}: write FIELD=VALUE,VALUE,... such as loss.denominator=all,negatives"
            )
        if field in fields:
            raise IntervoxError(f"--vary {field} is given twice: list all its values in one")
        fields[field] = values
    if (count := prod(map(len, fields.values()))) > MOST_VARIANTS:
        raise IntervoxError(
            f"--vary makes {count:,} variants, more than {MOST_VARIANTS:,}: give fewer values"
        )
    # Leave out the leading parts that are not needed to tell the fields apart.
    last = {field: field.rsplit(".", 1)[-1] for field in fields}
    short = {field: name if [*last.values()].count(name) == 1 else field for field, name in last.items()}
    crossed = [dict(zip(fields, values, strict=True)) for values in product(*fields.values())]
    return {", ".join(f"{short[field]}={value}" for field, value in one.items()): one for one in crossed}


def choose_variants(
    recipe: Recipe,
    cells: pa.Table,
    features_of: FeaturesOf,
    further: Mapping[str, Overrides],
    seeds: int,
    fits: Callable[[Recipe], None] = lambda recipe: None,
) -> list[Variant]:
    """Build every variant's recipe and choose its cells: the recipe itself, its own, and further ones.

    Parameters
    ----------
    cells
        The corpus' plan.
    features_of
        Asked once for each backbone, when all fields are known to be right: it may take long.
    further
        Variants beside the recipe's own.
    fits
        Refuses a recipe whose training does not fit its backbone.

    Raises
    ------
    IntervoxError
        There is nothing to compare; a field is unknown, is not one that training reads, or has a value
        that the recipe, the corpus or the backbone does not allow; a variant keeps no cells, or lacks
        the speaker or the content subspace.
    """
    asked: dict[str, Overrides] = {RECIPE: {}, **recipe.sweep.variants, **further}
    if len(asked) == 1 and seeds == 1:
        raise IntervoxError(
            "there is nothing to sweep: give --vary FIELD=VALUE,VALUE, list variants under `sweep:` in the "
            "recipe, or ask for several --seeds"
        )
    chosen = []
    for name, overrides in asked.items():
        with _named(name):
            fields = {field: value for field, value in overrides.items() if field != CELLS}
            changed = _override(recipe, fields)
            fits(changed)
            chosen.append((name, changed, _kept(cells, overrides.get(CELLS))))
    trained_on = {(changed.backbone, changed.training.depth) for _, changed, _ in chosen}
    backbones = {changed.backbone for _, changed, _ in chosen}
    found = {name: features_of(name, (name, "frames") in trained_on) for name in sorted(backbones)}
    variants = []
    for name, changed, mask in chosen:
        features = found[changed.backbone]
        with _named(name):
            _check(changed, cells, features)
        variants.append(Variant(name, asked[name], matched(changed, cells, mask), mask, features))
    return variants


@contextmanager
def _named(variant: str) -> Iterator[None]:
    """Say which variant is wrong."""
    try:
        yield
    except IntervoxError as error:
        raise IntervoxError(f"variant {variant!r}: {error}") from None


def _override(recipe: Recipe, overrides: Overrides) -> Recipe:
    """Set the fields, and build the recipe again: every check of its schema is made."""
    fields = recipe.model_dump()
    for field, value in overrides.items():
        *path, last = field.split(".")
        if (path or [last])[0] not in VARIED:
            raise IntervoxError(
                f"`{field}` can't be varied, only what training reads: {', '.join(VARIED)}, what is under "
                f"these, or {CELLS}"
            )
        part: Any = fields
        for key in path:
            part = part.get(key) if isinstance(part, dict) else None
        if not isinstance(part, dict) or last not in part:
            known = f": `{'.'.join(path)}` has {', '.join(part)}" if isinstance(part, dict) else ""
            raise IntervoxError(f"unknown field `{field}`: correct its spelling{known}")
        part[last] = value
    try:
        changed = Recipe.model_validate(fields)
    except ValidationError as error:
        raise IntervoxError(plain_problems(error)) from None
    if not measured_factors(changed):
        raise IntervoxError("a sweep measures a speaker and a content subspace: add the one missing")
    return changed


def _check(changed: Recipe, cells: pa.Table, features: Features) -> None:
    """Find what would stop a training, or the measuring, only after others had run."""
    check_settings(changed, features.layers, features.dim, cells.column_names)
    if changed.training.validate_every:
        validation_cells(cells, features, set())


def _kept(cells: pa.Table, choice: Any) -> Mask:
    """Choose training cells: all, a share of them at random, the ``clean`` ones, or ``COLUMN=VALUE``."""
    train = train_mask(cells)
    if choice is None:
        return train
    if isinstance(choice, float) and 0 < choice < 1:
        indices = np.flatnonzero(train)
        kept: Mask = np.zeros(len(train), bool)
        kept[rng(EVALUATION_SEED, CELLS).permutation(indices)[: max(1, round(choice * len(indices)))]] = True
        return kept
    column, equals, wanted = str("condition=clean" if choice == "clean" else choice).partition("=")
    if not equals or column not in cells.column_names:
        raise IntervoxError(
            f"`{CELLS}` is {choice!r}: write a share between 0 and 1, clean, or COLUMN=VALUE, with a column "
            f"of {', '.join(cells.column_names)}"
        )
    values = np.asarray([str(value) for value in cells[column].to_pylist()])
    mask: Mask = train & (values == wanted)
    if not mask.any():
        found = np.unique(values[train])
        known = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
        raise IntervoxError(f"no training cell has {column} {wanted!r}, but {known}")
    return mask
