"""Zero-shot voice cloning: voices are reference clips, spoken for by F5-TTS or any other command line.

The corpus holds what the command makes of a text in a reference's voice, never the reference itself. Two
reference clips of one speaker would be one voice, so there is one for each speaker.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from intervox.audio import Waveform, duration_seconds
from intervox.clips.manifest import read_manifest
from intervox.clips.paths import find_path, is_clutter
from intervox.engines.base import Engine, RenderError, Voice
from intervox.engines.command import CommandLine
from intervox.errors import IntervoxError
from intervox.recipe.engines import F5_TTS, CloneSettings
from intervox.storage import stable_hash

_TEXT = ".normalized.txt"
"""LibriTTS' suffix of the text that is read aloud, beside the clip."""

_GET_F5_TTS = ": pip install f5-tts (code MIT, weights CC BY-NC), or give another `command`"


@dataclass(frozen=True)
class Reference:
    """A clip whose voice is cloned, and what is said in it."""

    path: Path
    speaker: str
    text: str
    seconds: float


class CloneEngine(Engine):
    """The ``clone`` engine."""

    name = "clone"

    def __init__(self, settings: CloneSettings) -> None:
        self._settings = settings
        self._line = CommandLine(settings.label, settings.command, settings.timeout_seconds)
        self.licence = settings.licence
        self._references = _chosen(settings)

    @property
    def version(self) -> str:
        """The recipe's, the command, and the reference clips."""
        stamps = [
            [name, one.text, one.path.stat().st_size, one.path.stat().st_mtime_ns]
            for name, one in self._references.items()
        ]
        return f"{self._settings.version}-{stable_hash([self._settings.command, stamps])}"

    @property
    def paths(self) -> list[Path]:
        """The reference clips."""
        return [one.path for one in self._references.values()]

    def check(self) -> None:
        super().check()
        self._line.check(_GET_F5_TTS if self._line.name == F5_TTS[0] else "")

    def voices(self) -> list[Voice]:
        names = sorted(self._references)
        wanted = self._settings.voices or len(names)
        if wanted > len(names):
            raise IntervoxError(
                f"{self._settings.references} has {len(names)} speakers with a usable reference, {wanted} "
                "were asked for: lower `voices`, or widen min_seconds and max_seconds"
            )
        return [Voice(name, name, self._settings.language) for name in names[:wanted]]

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Clone; whether the same seed gives the same samples again is up to the command."""
        reference = self._references.get(voice)
        if reference is None:
            raise RenderError(f"{self._settings.references} has no reference of {voice!r}")
        return self._line.speak(
            {
                "text": text,
                "voice": voice,
                "language": self._settings.language,
                "seed": str(seed),
                "reference": str(reference.path.resolve()),
                "reference_text": reference.text,
            }
        )


def _chosen(settings: CloneSettings) -> dict[str, Reference]:
    """Keep each speaker's longest clip within the bounds; of equal ones the first by path."""
    root = Path(find_path(str(settings.references)))
    chosen: dict[str, Reference] = {}
    for one in _of_folder(root) if root.is_dir() else _of_manifest(root):
        best = chosen.get(one.speaker)
        if not settings.min_seconds <= one.seconds <= settings.max_seconds:
            continue
        if best is None or (-one.seconds, str(one.path)) < (-best.seconds, str(best.path)):
            chosen[one.speaker] = one
    if not chosen:
        raise IntervoxError(
            f"{root} has no clip of {settings.min_seconds:g} to {settings.max_seconds:g} seconds with its "
            f"text (column text, or *{_TEXT} beside it): add some, or widen min_seconds and max_seconds"
        )
    return chosen


def _of_folder(root: Path) -> Iterator[Reference]:
    """Read a folder of LibriTTS: ``<speaker>/<chapter>/<clip>.wav`` and ``<clip>.normalized.txt``."""
    for path in sorted(root.glob("*/*/*.wav")):
        text = path.with_name(path.stem + _TEXT)
        if text.is_file() and not is_clutter(path.name):
            said = text.read_text(encoding="utf-8").strip()
            yield Reference(path, path.parts[-3], said, duration_seconds(path))


def _of_manifest(path: Path) -> Iterator[Reference]:
    for row in read_manifest(path):
        if not row.text:
            raise IntervoxError(f"{path} gives no text for {row.path}: cloning needs what is said in it")
        if not row.path.is_file():
            raise IntervoxError(f"{path} names {row.path}, which is not a file: correct it")
        yield Reference(row.path, row.speaker, row.text, duration_seconds(row.path))
