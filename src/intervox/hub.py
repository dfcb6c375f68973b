"""The Hugging Face hub: which names may be on it, and whether it answers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)
_PATIENCE = 3.0
"""Seconds in which the hub has to answer."""


def is_hub_id(name: str) -> bool:
    """Whether a name that is not a folder here may be one on the hub, USER/NAME; a path never is."""
    path = Path(name)
    return bool(_HUB_ID.fullmatch(name)) and not path.exists() and not path.parent.exists()


def hub_answers(name: str, file: str, options: Mapping[str, Any] | None = None) -> bool:
    """Whether a file of a repository is cached or the hub can be asked for it.

    The hub's own client would try for half a minute, in silence.

    Parameters
    ----------
    options
        Of ``huggingface_hub.hf_hub_download``.
    """
    from huggingface_hub import try_to_load_from_cache

    given = options or {}
    where = {key: given[key] for key in ("cache_dir", "revision") if key in given}
    cached = isinstance(try_to_load_from_cache(name, file, **where), str)
    return bool(given.get("local_files_only")) or cached or hub_is_reachable()


def hub_is_reachable() -> bool:
    """Whether the hub answers in time."""
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except (errors.HTTPError, OSError):  # type: ignore[attr-defined]
        return False
    return True
