import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from intervox.audio import SAMPLE_RATE
from intervox.engines.base import RenderError, Voice
from intervox.engines.command import CommandEngine
from intervox.errors import IntervoxError
from intervox.recipe import load_recipe
from intervox.recipe.engines import CommandSettings

SYNTHESISER = """
import os, subprocess, sys, time, wave
what, text, voice, seed, output = sys.argv[1:]

def write(path, seconds=0.5):
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, 22050, 0, "NONE", ""))
        length = int(22050 * min(seconds, 1))
        samples = [int(9000 * ((i * (int(seed) + 3)) % 200 - 100) / 100) for i in range(length)]
        clip = b"".join(s.to_bytes(2, "little", signed=True) for s in samples)
        file.writeframes(clip * max(1, int(seconds)))

match what:
    case "speak":
        assert os.getcwd() == os.path.dirname(output) and sys.stdin.read() == ""
        open("scratch", "w").write(text)
        subprocess.run([sys.executable, "-c", "pass"], check=True, stdout=subprocess.DEVNULL)
        write(output)
    case "sleep":
        time.sleep(60)
    case "fork":
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(2); open({output!r} + 'x', 'w')"])
        if os.fork() == 0:
            time.sleep(60)
        write(output)
    case "garbage":
        open(output, "wb").write(os.urandom(5000))
    case "fifo":
        os.mkfifo(output)
    case "huge":
        open(output, "wb").truncate(65 * 2**20)
    case "long":
        write(output, 700)
    case "fail":
        sys.exit("no such voice: " + voice)
"""


@pytest.fixture
def synthesiser(tmp_path: Path) -> Callable[..., CommandEngine]:
    script = tmp_path / "synthesiser.py"
    script.write_text(SYNTHESISER)

    def make(what: str, seconds: float = 20) -> CommandEngine:
        words = (sys.executable, "-S", str(script), what, "{text}", "{voice}", "{seed}", "{output}")
        return CommandEngine(
            CommandSettings(name="command", command=words, speakers=("ann", "bob"), timeout_seconds=seconds)
        )

    return make


def test_a_command_speaks(synthesiser: Callable[..., CommandEngine]) -> None:
    engine = synthesiser("speak")
    assert engine.voices() == [Voice("ann", "ann", "en"), Voice("bob", "bob", "en")]
    wave = engine.render('it\'s {seed}; $(touch x) `y` "z"', "ann", 1)
    assert len(wave) / SAMPLE_RATE == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(engine.render("a", "ann", 2), engine.render("a", "bob", 2))
    with pytest.raises(IntervoxError, match="command has no voice 'eve'"):
        engine.render("hello", "eve", 1)
    with pytest.raises(RenderError, match="zero byte"):
        engine.render("a\0b", "ann", 1)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("garbage", "no usable WAV"),
        ("fifo", "no usable WAV"),
        ("huge", "no usable WAV .*: not a file of at most 64 MiB"),
        ("long", "not a WAV file of at most 600 seconds"),
        ("fail", "ended with exit code 1: no such voice: ann"),
        ("nothing", "no usable WAV"),
    ],
)
def test_a_command_that_fails(synthesiser: Callable[..., CommandEngine], what: str, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        synthesiser(what).render("hello", "ann", 1)


def started_by_commands() -> list[str]:
    """List the running processes that know a command's folder, as far as this system tells."""
    listed = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            listed.append(path.read_text(errors="replace"))
    return [words for words in listed if "intervox-command-" in words]


def test_a_command_that_hangs_is_killed(synthesiser: Callable[..., CommandEngine]) -> None:
    start = time.monotonic()
    with pytest.raises(RenderError, match="took over 0.5 seconds: raise timeout_seconds"):
        synthesiser("sleep", seconds=0.5).render("hello", "ann", 1)
    synthesiser("fork").render("hello", "ann", 1)
    assert time.monotonic() - start < 20
    deadline = time.monotonic() + 5
    while started := started_by_commands():
        assert time.monotonic() < deadline, started


def test_command_settings_are_checked() -> None:
    def settings(*words: str, **more: Any) -> CommandSettings:
        return CommandSettings(name="command", command=words, **{"speakers": ("ann", "bob"), **more})

    assert len(CommandEngine(settings("true", "{text}", "-o", "{output}")).voices()) == 2
    assert len(CommandEngine(settings("true", "{text}{output}", voices=1)).voices()) == 1
    for words in (("say", "{text}"), ("say", "{output}"), ("say", "{text}", "{output}", "{speed}")):
        with pytest.raises(ValidationError, match="use {text} and {output}"):
            settings(*words)
    with pytest.raises(ValidationError, match="at least as many as `voices`"):
        settings("say", "{text}", "{output}", voices=3)
    with pytest.raises(IntervoxError, match="the program 'no-such-program' is not installed"):
        CommandEngine(settings("no-such-program", "{text}", "{output}"))


@pytest.mark.skipif(shutil.which("text2wave") is None, reason="Debian's festival is not installed")
def test_a_text_is_never_a_part_of_festivals_program(tmp_path: Path) -> None:
    """The default recipe's command, with a text that would end a Scheme string or a shell's word."""
    settings = next(e for e in load_recipe("neural").corpus.engines if e.key == "festival-en")
    assert isinstance(settings, CommandSettings)
    if not Path("/usr/share/festival/voices/english", settings.speakers[0]).is_dir():
        pytest.skip("Debian's festvox-kdlpc16k is not installed")
    engine = CommandEngine(settings)
    trap = tmp_path / "trap"
    for text in (f'a") (system "touch {trap}") ("', f"a'; touch {trap}", f"$(touch {trap}) \\", "-help"):
        assert len(engine.render(text, settings.speakers[0], 0)) > 0.1 * SAMPLE_RATE, text
    assert not trap.exists()
