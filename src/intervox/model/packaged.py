"""The model that comes with the package: subspaces of Whisper tiny.en by the recipe ``default``."""

import hashlib
from importlib.resources import files
from pathlib import Path

from intervox.errors import IntervoxError

DEFAULT = "default"
"""What ``--model`` and ``SubspaceModel.from_pretrained`` call it."""


def default_model_folder() -> Path:
    """Return the folder with its config, weights and card.

    Raises
    ------
    IntervoxError
        A file is missing or is not the one that was packaged.
    """
    folder = Path(str(files("intervox.model") / DEFAULT))
    try:
        for line in (folder / "SHA256SUMS").read_text(encoding="ascii").splitlines():
            digest, name = line.split()
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise IntervoxError(f"{folder / name} is not the packaged file: install intervox again")
    except OSError as error:
        raise IntervoxError(
            f"the packaged model lacks {error.filename}: install intervox again, or give --model"
        ) from error
    return folder
