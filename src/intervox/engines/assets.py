"""Kokoro's files in one folder: what is in it, how it is checked, how it is made.

::

    kokoro-v1.0-int8/
      assets.json      where the files came from, size and sha256 of the model
      model.onnx       Kokoro-82M v1.0, int8, Apache-2.0
      vocab.json       symbol to token
      voices/*.bin     54 presets, 510 x 256 float32 each
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from intervox.engines import asset_sources
from intervox.engines.kokoro_voices import PRESETS
from intervox.errors import IntervoxError
from intervox.storage import cache_folder, file_sha256, read_json, write_json

MANIFEST = "assets.json"
MODEL = asset_sources.MODEL
VOCABULARY = asset_sources.VOCABULARY
VOICES = asset_sources.VOICES
STYLE_SHAPE = (510, 256)
"""Of each preset: its style vector for every number of symbols."""

MODELS = {
    "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb": "the packages' export",
    "fbae9257e1e05ffc727e951ef9b9c98418e6d79f1c9b6b13bd59f5c9028a1478": "the hub's export",
}
"""sha256 of the int8 exports that are known to work. They differ in their samples."""

PRESETS_SHA256 = "b89b16e8843463c5a16d45f3904df4c7d0d2a2fdb3997acfb1adc443ec4b4417"
"""Over the 54 preset files, one after the other in the order of their names."""

_MEND = "pip install intervox[kokoro], then run: intervox assets kokoro"


def default_folder() -> Path:
    """Return where the engine looks when the recipe names no folder."""
    return cache_folder() / "kokoro-v1.0-int8"


def check_assets(folder: Path) -> dict[str, Any]:
    """Return the folder's manifest, having compared what costs nothing to compare: the sizes.

    Raises
    ------
    IntervoxError
        The folder is missing or incomplete.
    """
    if not (folder / MANIFEST).is_file():
        raise IntervoxError(f"Kokoro's model is not in {folder}: {_MEND}")
    about = read_json(folder / MANIFEST)
    voice_bytes = 4 * STYLE_SHAPE[0] * STYLE_SHAPE[1]
    expected = {MODEL: about.get("model_bytes"), VOCABULARY: about.get("vocabulary_bytes")}
    expected |= {f"{VOICES}/{preset}.bin": voice_bytes for preset in PRESETS}
    for name, size in expected.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise IntervoxError(
                f"{path} is missing or cut short: delete {folder} and run: intervox assets kokoro"
            )
    return about


def make_assets(folder: Path, source: str, say: Callable[[str], None]) -> None:
    """Make the folder, or find it whole; a failure or a kill leaves nothing in its place.

    Parameters
    ----------
    folder
        Where the files go.
    source
        ``packages``, ``hub``, the path of a folder that has the files, or ``auto``: the packages,
        which are the same on every machine, and the hub if they can't be had.
    say
        Is given one line a step.

    Raises
    ------
    IntervoxError
        No source gives the files, they are not the known ones, or other files are in the way.
    """
    if (folder / MANIFEST).exists():
        check_assets(folder)
        verify(folder)
        say(f"Kokoro is already in {folder}, whole: nothing to do")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise IntervoxError(f"{folder} holds other files: choose another --folder or empty it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".assembling-") as temporary:
        made = Path(temporary) / "made"
        used = _fill(made, source, say)
        say("checking the sha256 of the model and of the 54 presets")
        model_sha256 = verify(made)
        write_json(made / MANIFEST, _manifest(made, used, model_sha256))
        made.rename(folder)
    say(f"Kokoro-82M v1.0 int8 (Apache-2.0) is in {folder}")


def verify(folder: Path) -> str:
    """Compare model and presets with the known ones; return the model's sha256.

    Raises
    ------
    IntervoxError
        A file is not the expected one.
    """
    model_sha256 = file_sha256(folder / MODEL)
    presets = hashlib.sha256()
    for preset in PRESETS:
        presets.update((folder / VOICES / f"{preset}.bin").read_bytes())
    for what, known in (
        ("the model", model_sha256 in MODELS),
        ("a preset", presets.hexdigest() == PRESETS_SHA256),
    ):
        if not known:
            raise IntervoxError(
                f"{what} in {folder} is not the expected file (sha256 differs): delete what was "
                "downloaded and run again, or choose another --from"
            )
    return model_sha256


def _fill(made: Path, source: str, say: Callable[[str], None]) -> str:
    """Get the files from the first source that has them; return its name."""
    sources = asset_sources.SOURCES
    if source in sources:
        sources[source](made, say)
        return source
    if source != "auto":
        asset_sources.from_folder(Path(source), made, say)
        return "folder"
    say(f"sources, in this order: {', '.join(sources)}")
    refusals = []
    for name, get in sources.items():
        try:
            get(made, say)
            return name
        except IntervoxError as error:
            say(f"not from the {name}: {error}")
            refusals.append(f"{name}: {error}")
    raise IntervoxError(f"Kokoro can't be had here ({'; '.join(refusals)}): give --from a folder that has it")


def _manifest(made: Path, source: str, model_sha256: str) -> dict[str, Any]:
    vocabulary = json.loads((made / VOCABULARY).read_text())["vocab"]
    return {
        "name": "Kokoro-82M v1.0 int8",
        "licence": "Apache-2.0",
        "source": source,
        "model": MODELS[model_sha256],
        "model_sha256": model_sha256,
        "model_bytes": (made / MODEL).stat().st_size,
        "vocabulary_bytes": (made / VOCABULARY).stat().st_size,
        "symbols": len(vocabulary),
    }
