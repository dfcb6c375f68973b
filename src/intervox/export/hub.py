"""Upload an exported folder to a model hub."""

from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from intervox.errors import IntervoxError
from intervox.progress import quiet

_LOG_IN = "run `hf auth login`, or set HF_TOKEN to a token that may write"


def check_repository(name: str) -> None:
    """Raise an ``IntervoxError`` unless a name can be that of a repository: USER/NAME."""
    try:
        validate_repo_id(name)
        if name.count("/") != 1:
            raise HFValidationError
    except HFValidationError:
        raise IntervoxError(
            f"{name!r} can't be a repository: give USER/NAME, of letters, digits, '-', '_' and '.'"
        ) from None


def push_folder(folder: Path | str, repository: str, private: bool | None = None) -> str:
    """Upload a folder as one commit, into a repository that is made if there is none.

    Graphs that are there and not in the folder are deleted.

    Parameters
    ----------
    repository
        ``USER/NAME``.
    private
        Whether a repository that is made is private; None as its owner has set.

    Returns
    -------
    str
        Address of the repository.

    Raises
    ------
    IntervoxError
        Nobody is logged in, the name is bad, or the hub can't be reached or refuses. The folder
        stays as it is.
    """
    check_repository(repository)
    again = f"{folder} is complete, nothing was uploaded"
    if get_token() is None:
        raise IntervoxError(f"nobody is logged in to the hub: {_LOG_IN} ({again})")
    api = HfApi()
    try:
        with quiet():  # the client tells of every try that fails; we, what came of them
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                delete_patterns="*.onnx",
                commit_message="Upload subspaces and their ONNX graphs",
            )
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise IntervoxError(f"the hub does not know this token: {_LOG_IN} ({again})") from error
        if status == 403:
            raise IntervoxError(
                f"this token may not write to {repository}: {_LOG_IN}, or give another USER/NAME ({again})"
            ) from error
        raise IntervoxError(f"the hub refused {repository} ({_reason(error)}); {again}") from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise IntervoxError(
            f"the hub can't be reached ({_reason(error)}): look at the network and try again ({again})"
        ) from error
    return str(address)


def _reason(error: Exception) -> str:
    """Return the first line of what went wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
