"""Decoder objects in an Audio column of ``datasets`` from version 4 on, and torchcodec's own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError


def is_decoder(source: object) -> bool:
    """Say whether something is a decoder like torchcodec's ``AudioDecoder``."""
    return hasattr(source, "get_all_samples")


def decoded(source: Any) -> tuple[NDArray[Any], int]:
    """Return a decoder's samples, shape (samples, channels), and their rate.

    Raises
    ------
    IntervoxError
        It can't decode the clip.
    """
    try:
        found = source.get_all_samples()
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise IntervoxError(
            f"the clip of a {type(source).__name__} can't be decoded ({reason}): give its file instead"
        ) from None
    # Of a tensor NumPy may not take gradients or another device.
    data = found.data.detach().cpu() if hasattr(found.data, "detach") else found.data
    return np.asarray(data).T, int(found.sample_rate)
