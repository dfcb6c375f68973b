"""What every part of the recipe's schema is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Range = tuple[float, float]
"""Lower and upper bound of a uniform draw."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A probability or a fraction."""


class Part(BaseModel):
    """A part of the recipe: fixed once read, and without keys that nothing knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)
