"""The variants of a sweep: a recipe with some of its training fields changed, checked before any trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from pydantic import ValidationError

from intervox.errors import IntervoxError
from intervox.evaluation.variants import Mask, matched, measured_factors
from intervox.recipe import Recipe

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
        Variant name, such as ``loss.denominator=all, training.steps=0``, to its overrides.

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
    crossed = (dict(zip(fields, values, strict=True)) for values in product(*fields.values()))
    return {", ".join(f"{field}={value}" for field, value in one.items()): one for one in crossed}


def choose_variants(
    recipe: Recipe, cells: pa.Table, further: Mapping[str, Overrides], seeds: int
) -> list[Variant]:
    """Build every variant's recipe and choose its cells: the recipe itself, its own, and further ones.

    Parameters
    ----------
    cells
        The corpus' plan.

    Raises
    ------
    IntervoxError
        There is nothing to compare; a field is unknown, is not one that training reads, or has a bad
        value; a variant keeps no cells, or lacks the speaker or the content subspace.
    """
    asked: dict[str, Overrides] = {RECIPE: {}, **recipe.sweep.variants, **further}
    if len(asked) == 1 and seeds == 1:
        raise IntervoxError(
            "there is nothing to sweep: give --vary FIELD=VALUE,VALUE, list variants under `sweep:` in the "
            "recipe, or ask for several --seeds"
        )
    return [_variant(name, recipe, cells, overrides) for name, overrides in asked.items()]


def _variant(name: str, recipe: Recipe, cells: pa.Table, overrides: Overrides) -> Variant:
    changed = _override(name, recipe, {f: value for f, value in overrides.items() if f != CELLS})
    if not measured_factors(changed):
        raise IntervoxError(
            f"variant {name!r}: a sweep measures a speaker and a content subspace: add the one missing"
        )
    if changed.reads_frames and not recipe.reads_frames:
        raise IntervoxError(
            f"variant {name!r} reads frames, which this run's features do not keep: make an attentive map "
            "the recipe's own, and vary the others"
        )
    mask = _kept(name, cells, overrides.get(CELLS))
    return Variant(name, overrides, matched(changed, cells, mask), mask)


def _override(name: str, recipe: Recipe, overrides: Overrides) -> Recipe:
    """Set the fields, and build the recipe again: every check of its schema is made."""
    fields = recipe.model_dump()
    for field, value in overrides.items():
        *path, last = field.split(".")
        if (path or [last])[0] not in PARTS:
            raise IntervoxError(
                f"variant {name!r}: `{field}` can't be varied, only what training reads: fields under "
                f"{', '.join(PARTS)}, or {CELLS}"
            )
        part: Any = fields
        for key in path:
            part = part.get(key) if isinstance(part, dict) else None
        if not isinstance(part, dict) or last not in part:
            raise IntervoxError(f"variant {name!r}: unknown field `{field}`: correct its spelling")
        part[last] = value
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        reason = problem["msg"].removeprefix("Value error, ")
        raise IntervoxError(f"variant {name!r}: `{'.'.join(map(str, problem['loc']))}`: {reason}") from None


def _kept(name: str, cells: pa.Table, choice: Any) -> Mask:
    """Choose training cells: all, the ``clean`` ones, or those with ``COLUMN=VALUE``."""
    train: Mask = np.asarray(cells["split"].to_pylist()) == "train"
    if choice is None:
        return train
    column, equals, wanted = str("condition=clean" if choice == "clean" else choice).partition("=")
    if not equals or column not in cells.column_names:
        raise IntervoxError(
            f"variant {name!r}: `{CELLS}` is {choice!r}: write clean or COLUMN=VALUE, with a column of "
            + ", ".join(cells.column_names)
        )
    values = np.asarray([str(value) for value in cells[column].to_pylist()])
    mask: Mask = train & (values == wanted)
    if not mask.any():
        found = np.unique(values[train])
        known = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
        raise IntervoxError(f"variant {name!r}: no training cell has {column} {wanted!r}, but {known}")
    return mask
