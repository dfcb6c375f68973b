"""Any synthesiser with a command line: one process a clip, confined to the one file it writes.

Every clip gets a fresh folder, which is the program's working folder, home and place for temporary
files, and is removed with all that is in it. ``sandbox.py`` says what keeps the program inside. When
it ends or its time is up, its whole process group is killed; a process that left the group lives on,
still confined, until its CPU time is used up.
"""

import io
import math
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

from intervox.audio import Waveform, load_audio
from intervox.engines.base import Engine, RenderError, Voice
from intervox.errors import IntervoxError
from intervox.recipe.corpus import PLACEHOLDERS, CommandSettings

MAX_BYTES = 64 * 2**20
"""Of each file that a program writes."""

MAX_SECONDS = 600

_SANDBOX = Path(__file__).with_name("sandbox.py")
_PLACEHOLDER = re.compile("{(" + "|".join(PLACEHOLDERS) + ")}")
_LAST_WORDS = 200


class CommandEngine(Engine):
    """The ``command`` engine."""

    name = "command"

    def __init__(self, settings: CommandSettings) -> None:
        if os.name != "posix":
            raise IntervoxError("command: programs are confined on Linux and macOS only: run it there")
        found = shutil.which(settings.command[0])
        if found is None:
            raise IntervoxError(
                f"command: the program {settings.command[0]!r} is not installed or not executable"
            )
        self._settings = settings
        self._program = str(Path(found).absolute())
        self.version = settings.version
        self.licence = settings.licence

    def voices(self) -> list[Voice]:
        speakers = self._settings.speakers[: self._settings.voices]
        return [Voice(speaker, speaker, self._settings.language) for speaker in speakers]

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Run the command; whether it gives the same samples again is up to it."""
        if voice not in self._settings.speakers:
            raise IntervoxError(f"command has no voice {voice!r}: add it to `speakers`")
        with tempfile.TemporaryDirectory(prefix="intervox-command-", ignore_cleanup_errors=True) as folder:
            output = Path(folder).resolve() / "speech.wav"
            values = {"text": text, "voice": voice, "seed": str(seed), "output": str(output)}
            values["language"] = self._settings.language
            arguments = [
                _PLACEHOLDER.sub(lambda m: values[m[1]], word) for word in self._settings.command[1:]
            ]
            if any("\0" in argument for argument in arguments):
                raise RenderError(f"command: the text {text[:40]!r} holds a zero byte: remove it")
            self._run(output.parent, arguments)
            return self._read(output)

    def _run(self, folder: Path, arguments: list[str]) -> None:
        """Start the program through the sandbox and see it to its end.

        Raises
        ------
        RenderError
            It failed, or took too long.
        """
        seconds = self._settings.timeout_seconds
        cpu_seconds = math.ceil(seconds) * (os.cpu_count() or 1)
        launcher = (sys.executable, "-I", "-S", str(_SANDBOX))
        limits = (str(folder), str(cpu_seconds), str(MAX_BYTES))
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                (*launcher, *limits, self._program, *arguments),
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise self._failure(f"took over {seconds:g} seconds", "raise timeout_seconds") from None
            finally:
                _kill_group(process)
            if code:
                raise self._failure(f"ended with exit code {code}", _last_words(errors))

    def _read(self, output: Path) -> Waveform:
        """Read the WAV file, and nothing that only looks like one.

        Raises
        ------
        RenderError
            There is no plain WAV file of a sensible size, or no speech in it.
        """
        try:
            with open(os.open(output, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1 or about.st_size > MAX_BYTES:
                    raise OSError("not a plain file, or too large")
                data = file.read(MAX_BYTES)
            audio = sf.info(io.BytesIO(data))
            if audio.format not in ("WAV", "WAVEX") or audio.duration > MAX_SECONDS:
                raise OSError(f"not a WAV file of at most {MAX_SECONDS} seconds")
            return load_audio(data)
        except (OSError, sf.SoundFileError, IntervoxError) as error:
            raise self._failure("left no usable WAV file at {output}", str(error)) from None

    def _failure(self, what: str, detail: str) -> RenderError:
        return RenderError(f"command: {Path(self._program).name} {what}: {detail}")


def _environment(folder: Path) -> dict[str, str]:
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):  # where nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(errors: BinaryIO) -> str:
    end = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, end - _LAST_WORDS))
    lines = errors.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else "it said nothing"
