"""Any synthesiser with a command line: one process per clip, which writes one WAV file.

A recipe's command is trusted: it runs as the user. Every clip gets a fresh folder as its working folder,
which is removed with all that is in it. When the command ends or its time is up, its process group is
killed; what it wrote is read only if it is a sound of sensible size.
"""

import io
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

from intervox.audio import Waveform, load_audio
from intervox.engines.base import Engine, RenderError, Voice
from intervox.errors import IntervoxError
from intervox.recipe.engines import CommandSettings

MAX_BYTES = 64 * 2**20
MAX_SECONDS = 600
"""Of the file that a command writes."""

_PLACEHOLDER = re.compile(r"{(\w+)}")
_LAST_WORDS = 200


class CommandLine:
    """A program that writes one WAV file each time it is run.

    Parameters
    ----------
    engine
        What messages call it.
    command
        The program and its arguments, with names of values in braces.
    seconds
        After which it is killed.

    Raises
    ------
    IntervoxError
        The system is no POSIX one.
    """

    def __init__(self, engine: str, command: Sequence[str], seconds: float) -> None:
        if os.name != "posix":
            raise IntervoxError(f"{engine}: process groups are killed on Linux and macOS only: run it there")
        self._engine, self._words, self._seconds = engine, command[1:], seconds
        self.name = command[0]
        found = shutil.which(command[0])
        self._program = str(Path(found).absolute()) if found else None

    def check(self, remedy: str = "") -> None:
        """Refuse a program that is not there, and say how to get it."""
        if self._program is None:
            raise IntervoxError(
                f"{self._engine}: the program {self.name!r} is not installed or not executable{remedy}"
            )

    def speak(self, values: Mapping[str, str]) -> Waveform:
        """Run the program in a fresh folder and read what it wrote.

        Parameters
        ----------
        values
            What the names in braces stand for; ``output`` is added.

        Raises
        ------
        RenderError
            It failed, took too long, or left no sound of sensible size.
        """
        with tempfile.TemporaryDirectory(prefix="intervox-command-", ignore_cleanup_errors=True) as folder:
            output = Path(folder).resolve() / "speech.wav"
            known = {**values, "output": str(output)}
            arguments = [_PLACEHOLDER.sub(lambda m: known.get(m[1], m[0]), word) for word in self._words]
            if any("\0" in argument for argument in arguments):
                raise RenderError(
                    f"{self._engine}: the text {values['text'][:40]!r} holds a zero byte: remove it"
                )
            self._run(output.parent, arguments)
            return self._read(output)

    def _run(self, folder: Path, arguments: list[str]) -> None:
        """Start the program in its folder and see it to its end."""
        self.check()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                (str(self._program), *arguments),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait(self._seconds)
            except subprocess.TimeoutExpired:
                raise self._failure(f"took over {self._seconds:g} seconds", "raise timeout_seconds") from None
            finally:
                _kill_group(process)
            if code:
                raise self._failure(f"ended with exit code {code}", _last_words(errors))

    def _read(self, output: Path) -> Waveform:
        try:
            if not output.is_file() or output.stat().st_size > MAX_BYTES:
                raise OSError(f"not a file of at most {MAX_BYTES >> 20} MiB")
            data = output.read_bytes()
            audio = sf.info(io.BytesIO(data))
            if audio.format not in ("WAV", "WAVEX") or audio.duration > MAX_SECONDS:
                raise OSError(f"not a WAV file of at most {MAX_SECONDS} seconds")
            return load_audio(data, strict=True)
        except (OSError, sf.SoundFileError, IntervoxError) as error:
            raise self._failure("left no usable WAV file at {output}", str(error)) from None

    def _failure(self, what: str, detail: str) -> RenderError:
        return RenderError(f"{self._engine}: {Path(self.name).name} {what}: {detail}")


class CommandEngine(Engine):
    """The ``command`` engine."""

    name = "command"

    def __init__(self, settings: CommandSettings) -> None:
        self._line = CommandLine(self.name, settings.command, settings.timeout_seconds)
        self._line.check()
        self._settings = settings
        self._version = settings.version
        self.licence = settings.licence

    @property
    def version(self) -> str:
        return self._version

    def voices(self) -> list[Voice]:
        speakers = self._settings.speakers[: self._settings.voices]
        return [Voice(speaker, speaker, self._settings.language) for speaker in speakers]

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Run the command; whether it gives the same samples again is up to it."""
        if voice not in self._settings.speakers:
            raise IntervoxError(f"command has no voice {voice!r}: add it to `speakers`")
        language = self._settings.language
        return self._line.speak({"text": text, "voice": voice, "language": language, "seed": str(seed)})


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
