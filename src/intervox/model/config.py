"""What a model's ``config.json`` may hold: checked before anything is built from it."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intervox.errors import IntervoxError, plain_problems


class _MatchingConfig(BaseModel):
    words: Annotated[list[float], Field(max_length=3)]
    sentences: list[Annotated[list[float], Field(min_length=7, max_length=7)]] = Field(max_length=3)
    local: tuple[float, float]


class _Subspace(BaseModel):
    """What a model needs to know of a subspace to be used; training knows more of it."""

    model_config = ConfigDict(strict=True)

    factor: str
    dim: int = Field(ge=1, le=8192)


class Config(BaseModel):
    """What ``config.json`` says; what else is there is passed by."""

    model_config = ConfigDict(strict=True)

    backbone: str = Field(min_length=1)
    layers: int = Field(ge=1)
    dim: int = Field(ge=1)
    subspaces: dict[str, _Subspace] = Field(min_length=1)
    fingerprint: str = ""
    window_seconds: float = Field(4.0, ge=0.5, le=30)
    calibration: dict[str, Annotated[list[float], Field(min_length=2, max_length=5)]] | None = None
    measured: dict[str, dict[str, tuple[float, float]]] | None = None
    matching: _MatchingConfig | None = None
    references: dict[str, str] | None = None


def read_config(path: Path) -> Config:
    """Read a ``config.json``.

    Raises
    ------
    IntervoxError
        It is not whole, or a field is not of its type; the message names the field.
    """
    try:
        return Config.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _damaged(path, error) from None


def check_trained(path: Path) -> None:
    """Raise an ``IntervoxError`` that names the field unless a configuration is one that PyTorch can load."""
    # The recipe's types take longer to import than a model to open.
    from intervox.recipe.training import SharedSettings, SubspaceSettings

    read_config(path)
    try:
        found = json.loads(path.read_bytes())
        for settings in found["subspaces"].values():
            SubspaceSettings.model_validate(settings)
        SharedSettings.model_validate(found.get("shared") or {})
    except ValidationError as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: ValidationError) -> IntervoxError:
    return IntervoxError(f"{path} is damaged ({plain_problems(error, 'the file')}): refine the model again")
