"""The variants of a sweep: a recipe with some of its training fields changed, checked before any trains."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from pydantic import ValidationError

from intervox.errors import IntervoxError
from intervox.evaluation.studies.variants import Mask, matched, measured_factors
from intervox.features.store import Features
from intervox.recipe import Recipe
from intervox.training.cells import validation_cells
from intervox.training.refine import check_settings

RECIPE = "recipe"
"""The name of the variant that changes nothing."""

CELLS = "cells"
"""The field that is no field of the recipe: which of the training cells are kept."""

PARTS = ("subspaces", "loss", "training", "seed")
"""What training reads of a recipe beside the features, which all variants share."""

Overrides = Mapping[str, Any]


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
    """

    name: str
    overrides: Overrides
    recipe: Recipe
    mask: Mask


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
            values = yaml.safe_load(f"[{text}]")
        except yaml.YAMLError:
            values = None
        if not field or not values:
            raise IntervoxError(
                f"--vary {option}: write FIELD=VALUE,VALUE,... such as loss.denominator=all,negatives"
            )
        if field in fields:
            raise IntervoxError(f"--vary {field} is given twice: list all its values in one")
        fields[field] = values
    short = _shortened(fields)
    crossed = [dict(zip(fields, values, strict=True)) for values in product(*fields.values())]
    return {", ".join(f"{short[field]}={value}" for field, value in one.items()): one for one in crossed}


def _shortened(fields: Collection[str]) -> dict[str, str]:
    """Leave out the leading parts that are not needed to tell the fields apart."""
    lasts = [field.rsplit(".", 1)[-1] for field in fields]
    return {
        field: last if lasts.count(last) == 1 else field for field, last in zip(fields, lasts, strict=True)
    }


def choose_variants(
    recipe: Recipe, cells: pa.Table, features: Features, further: Mapping[str, Overrides], seeds: int
) -> list[Variant]:
    """Build every variant's recipe and choose its cells: the recipe itself, its own, and further ones.

    Parameters
    ----------
    cells, features
        The corpus' plan and its features.
    further
        Variants beside the recipe's own.

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
    return [_variant(name, recipe, cells, features, overrides) for name, overrides in asked.items()]


def _variant(name: str, recipe: Recipe, cells: pa.Table, features: Features, overrides: Overrides) -> Variant:
    try:
        changed = _override(recipe, {field: value for field, value in overrides.items() if field != CELLS})
        _check(changed, recipe, cells, features)
        mask = _kept(cells, overrides.get(CELLS))
    except IntervoxError as error:
        raise IntervoxError(f"variant {name!r}: {error}") from None
    return Variant(name, overrides, matched(changed, cells, mask), mask)


def _override(recipe: Recipe, overrides: Overrides) -> Recipe:
    """Set the fields, and build the recipe again: every check of its schema is made."""
    fields = recipe.model_dump()
    for field, value in overrides.items():
        *path, last = field.split(".")
        if (path or [last])[0] not in PARTS:
            raise IntervoxError(
                f"`{field}` can't be varied, only what training reads: fields under {', '.join(PARTS)}, or "
                f"{CELLS}"
            )
        part: Any = fields
        for key in path:
            part = part.get(key) if isinstance(part, dict) else None
        if not isinstance(part, dict) or last not in part:
            known = f": `{'.'.join(path)}` has {', '.join(part)}" if isinstance(part, dict) else ""
            raise IntervoxError(f"unknown field `{field}`: correct its spelling{known}")
        part[last] = value
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        where = f"`{'.'.join(map(str, problem['loc']))}`: " if problem["loc"] else ""
        raise IntervoxError(where + problem["msg"].removeprefix("Value error, ")) from None


def _check(changed: Recipe, recipe: Recipe, cells: pa.Table, features: Features) -> None:
    """Find what would stop a training, or the measuring, only after others had run."""
    if not measured_factors(changed):
        raise IntervoxError("a sweep measures a speaker and a content subspace: add the one missing")
    if changed.reads_frames and not recipe.reads_frames:
        raise IntervoxError(
            "an attentive map reads frames, which this run's features do not keep: make it the recipe's own "
            "map, and vary the others"
        )
    check_settings(changed, features.layers, features.dim, cells.column_names)
    if changed.training.validate_every:
        validation_cells(cells, features, set())


def _kept(cells: pa.Table, choice: Any) -> Mask:
    """Choose training cells: all, the ``clean`` ones, or those with ``COLUMN=VALUE``."""
    train: Mask = np.asarray(cells["split"].to_pylist()) == "train"
    if choice is None:
        return train
    column, equals, wanted = str("condition=clean" if choice == "clean" else choice).partition("=")
    if not equals or column not in cells.column_names:
        raise IntervoxError(
            f"`{CELLS}` is {choice!r}: write clean or COLUMN=VALUE, with a column of "
            + ", ".join(cells.column_names)
        )
    values = np.asarray([str(value) for value in cells[column].to_pylist()])
    mask: Mask = train & (values == wanted)
    if not mask.any():
        found = np.unique(values[train])
        known = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
        raise IntervoxError(f"no training cell has {column} {wanted!r}, but {known}")
    return mask
