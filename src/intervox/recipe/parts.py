"""What every part of the recipe's schema is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Range = tuple[float, float]
"""Lower and upper bound of a uniform draw."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A probability or a fraction."""


Weight = Annotated[float, Field(ge=0, le=1e6)]
"""What a term of a sum is multiplied by."""

Layers = Annotated[tuple[Annotated[int, Field(ge=0, lt=1000)], ...], Field(max_length=1000)]
"""Layers or blocks of a backbone, counted from 0."""

Names = Annotated[tuple[str, ...], Field(max_length=1000)]
"""A list that people write."""


class Part(BaseModel):
    """A part of the recipe: fixed once read, and without keys that nothing knows.

    Every number has a bound above and below, so that no slip of a key starts what can't end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
