"""What a model's ``config.json`` may hold: checked before anything is built from it."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intervox.errors import IntervoxError, plain_problems
from intervox.recipe.training import SubspaceSettings


class _MatchingConfig(BaseModel):
    words: Annotated[list[float], Field(max_length=3)]
    sentences: list[Annotated[list[float], Field(min_length=7, max_length=7)]] = Field(max_length=3)
    local: tuple[float, float]


class _Config(BaseModel):
    """What ``config.json`` says, as ``SubspaceModel`` takes it; what else is there is passed by."""

    model_config = ConfigDict(strict=True)

    backbone: str = Field(min_length=1)
    layers: int = Field(ge=1)
    dim: int = Field(ge=1)
    subspaces: dict[str, SubspaceSettings] = Field(min_length=1)
    fingerprint: str = ""
    window_seconds: float = Field(4.0, ge=0.5, le=30)
    calibration: dict[str, Annotated[list[float], Field(min_length=2, max_length=5)]] | None = None
    measured: dict[str, dict[str, tuple[float, float]]] | None = None
    matching: _MatchingConfig | None = None
    references: dict[str, str] | None = None


def check_config(path: Path) -> None:
    """Raise an ``IntervoxError`` that names the field unless a ``config.json`` is whole and of its types."""
    try:
        _Config.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problems = plain_problems(error, "the file")
        raise IntervoxError(f"{path} is damaged ({problems}): refine the model again") from None
