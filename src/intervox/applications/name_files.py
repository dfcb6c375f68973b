"""Files of enrolled names: vectors and what belongs to them, without sound."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from intervox.applications.normalise import LEAST
from intervox.errors import IntervoxError
from intervox.storage import atomic_path

_METADATA = "intervox"

FURTHER = ("cohort", "rivals")
"""Arrays (any, dim) beside the names: what scores are normalised by, and what sounds like a keyword."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class About:
    """The metadata of a file of names; its one tensor has a row for each, in the order of ``counts``."""

    kind: str
    model: str
    key: str
    parameters: dict[str, Any]
    counts: dict[str, int]
    seconds: dict[str, float]


def write(path: Path, about: About, sums: Sequence[Vectors], further: Mapping[str, Vectors]) -> None:
    """Write names, the sum of each one's vectors, and further vectors by what they are (``FURTHER``)."""
    # A threshold found with NumPy is a scalar of its own.
    text = json.dumps(asdict(about), default=lambda value: value.item())
    # One array for all: a name may be anything, a tensor's name may not.
    arrays = dict(further) | ({"sums": np.stack(sums)} if sums else {})
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, {_METADATA: text})


def read(path: Path, kind: str) -> tuple[About, Vectors | None, dict[str, Vectors]]:
    """Read what ``write`` wrote of a kind of names: about them, their sums (names, dim) if any, the further.

    Raises
    ------
    IntervoxError
        The file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise IntervoxError(f"{path} is not a file: make it with `intervox enrol` or save")
    try:
        path.open("rb").close()  # with an error that names the file
        with safe_open(path, framework="numpy") as file:
            about = About(**json.loads(file.metadata()[_METADATA]))
            sums = file.get_tensor("sums") if about.counts else None
            there = set(file.keys())
            further = {name: file.get_tensor(name) for name in FURTHER if name in there}
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path) from error
    if about.kind != kind:
        raise IntervoxError(f"{path} is the file of a {about.kind}, not of a {kind}: give the other one")
    arrays = [*further.values(), *([] if sums is None else [sums])]
    if not all(map(_are_vectors, arrays)) or len(further.get("cohort", range(LEAST))) < LEAST:
        raise damaged(path)
    return about, sums, further


def damaged(path: Path) -> IntervoxError:
    """Say that a file does not hold what it should."""
    return IntervoxError(f"{path} is not a file of enrolled names: make it with `intervox enrol`")


def _are_vectors(array: Vectors) -> bool:
    return array.ndim == 2 and len(array) > 0 and array.dtype == np.float32 and bool(np.isfinite(array).all())
