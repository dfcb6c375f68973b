"""Wrong words on the real command line: one plain sentence each, exit code 2, and nothing written."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intervox.cli import app as cli
from intervox.errors import install_command
from intervox.model.files import default_model_folder
from intervox.recipe import names
from tests.cli.test_bad_input import is_one_sentence, run_main
from tests.conftest import ROOT, Speech

PYDANTIC = re.compile(r"should (be|match|have)|Field required|Extra inputs|validation error|type=")

MANIFESTS = {
    "nul": "path,speaker,content\na.wav,al\0ice,x\n",
    "two": "path,speaker,content\na.wav,alice,x\na.wav,bob,x\n",
    "ragged": "path,speaker,content\na.wav,alice,x,y,z\n",
    "columns": "path,path,speaker,content\na.wav,a.wav,alice,x\n",
    "empty": "",
}
CONFIGS = {
    "number": ('"backbone": ".*?"', '"backbone": 5'),
    "layers": (r'"layers": \d+(?=,\s*"m|,\s*"ref|,\s*"sub|,\s*"win)', '"layers": "six"'),
    "window": (r'"window_seconds": [\d.]+', '"window_seconds": null'),
}
RECIPES = {
    "text": "just words",
    "list": "[1, 2]",
    "name": 'name: "../x"',
    "backbone": "backbone: 5",
    "seed": "seed: -1",
    "steps": "training: {steps: many}",
    "map": "subspaces: {speaker: {factor: speaker, map: cube}}",
    "layers": "subspaces: {speaker: {factor: speaker, layers: 3}}",
    "key": "corpus: {blokcs: 3}",
    "engine": "corpus: {engines: [{name: festival}]}",
    "unnamed": "corpus: {engines: [{voices: 3}]}",
    "section": "training: 7",
    "empty": "subspaces: {}",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, speech: Speech) -> Path:
    """Return a folder of things that are not what a command wants."""
    desk = tmp_path_factory.mktemp("desk")
    for name, seed in (("a", 0), ("b", 1), ("naïve ☃", 2)):
        sf.write(desk / f"{name}.wav", speech(1.0, seed), 16_000)
    for folder in ("empty", "run", "data"):
        (desk / folder).mkdir()
    (desk / "zero.wav").touch()
    (desk / "notes.md").write_text("no markers")
    (desk / "picture.md").write_bytes(b"\x00\xff\xfe\x80")
    (desk / "junk.npz").write_bytes(b"PK\x03\x04 and no more")
    (desk / "junk.safetensors").write_bytes(b"\xff" * 64)
    np.savez(desk / "nan.npz", embedding=np.full((2, 3), np.nan), speaker=["a", "b"], content=["x", "y"])
    for name, text in MANIFESTS.items():
        (desk / f"{name}.csv").write_text(text)
        recipe = f"corpus: {{engines: [{{name: recordings, manifest: {name}.csv}}]}}"
        (desk / f"manifest-{name}.yaml").write_text(recipe)
    for name, text in RECIPES.items():
        (desk / f"{name}.yaml").write_text(text)
    for name, (pattern, replacement) in CONFIGS.items():
        config = shutil.copytree(default_model_folder(), desk / f"model-{name}") / "config.json"
        text, count = re.subn(pattern, replacement, config.read_text())
        assert count == 1, name
        config.write_text(text)
    return desk


CASES: dict[str, str] = {
    # What Typer itself refuses.
    "nope": "no such command 'nope'",
    "corpus nope": "no such command 'nope'",
    "embed --nope a.wav": "no such option: --nope",
    "embed a.wav --space": "requires an argument",
    "identify": "missing argument 'people'",
    "trials run": "missing option '--protocol'",
    "run mini again": "unexpected extra argument",
    "run mini --workers 0": "--workers is '0': it must be at least 1",
    "run mini --workers two": "--workers is 'two': it must be a whole number",
    "spot a.wav --examples empty --threshold 3": "--threshold is '3': it must be at most 1",
    "spot a.wav --examples empty --threshold high": "--threshold is 'high': it must be a number",
    "verify a.wav b.wav --false-accept-rate x": "must be a number",
    "demo --port 70000": "--port is '70000': it must be at most 65535",
    "demo --minutes 0": "must be at least 0.1",
    "trials run --protocol x --csv empty": "--csv: file 'empty' is a directory",
    "export --out a.wav": "--out: dir 'a.wav' is a file",
    # Empty words.
    "verify a.wav ''": "a word of the command is empty",
    "embed '' a.wav": "a word of the command is empty",
    "run mini --folder ''": "a word of the command is empty",
    "run mini --folder=": "a word of the command is empty",
    "embed a.wav -m ''": "a word of the command is empty",
    "spot a.wav --examples yes=": "the path of a clip is empty",
    # Clips.
    "embed nope.wav": "nope.wav is not a file",
    "embed 'naïve ☂.wav'": "naïve ☂.wav is not a file",
    "embed empty": "empty is a folder",
    "embed 'x*.wav'": "no file matches 'x*.wav'",
    "embed zero.wav": "zero.wav can't be read as audio",
    "embed notes.md": "notes.md can't be read as audio",
    "verify a.wav empty": "empty is a folder",
    "verify a.wav": "there is nothing to listen to: name recordings, or --microphone",
    "verify '*.wav' b.wav": "matches 4 files",
    "verify a.wav b.wav --speaker alice": "--speaker goes with a file of `intervox enrol`",
    "verify junk.safetensors b.wav": "is not a file of enrolled names",
    "embed": "no clips are given",
    "embed a.wav --list -": "choose one",
    "embed --list nope.txt": "nope.txt is missing",
    "embed --list empty": "empty is a folder",
    "embed --list picture.md": "is not text",
    # Models.
    "embed a.wav -m nope": "nope holds no refined model",
    "embed a.wav -m a.wav": "a.wav is a file",
    "embed a.wav -m a.wav/b": "holds no refined model",
    "embed a.wav -m empty": "empty holds no refined model",
    "embed a.wav -m empty/nope": "holds no refined model",
    "embed a.wav -m ../nope": "holds no refined model",
    "embed a.wav -m model-number": "`backbone` is 5: it must be text",
    "embed a.wav -m model-layers": "`layers` is 'six': it must be a whole number",
    "embed a.wav -m model-window": "`window_seconds` is None: it must be a number",
    "export -m nope": "nope holds no refined model",
    "demo -m nope": "nope holds no refined model",
    # Outputs.
    "embed a.wav --out v.wav": "of no known format",
    "embed a.wav --out empty": "of no known format",
    "embed a.wav --out a.wav/v.npz": "a.wav",
    "embed a.wav --space speaker --space content --out v.npy": "holds one space",
    "embed a.wav --frames --out v.npz": "holds no frames",
    "embed a.wav --space mood": "there is no subspace 'mood'",
    "enrol alice a.wav --into people": "let it end in .safetensors",
    "enrol unknown a.wav --into people.safetensors": "can't be a name",
    "enrol alice a.wav --into junk.safetensors": "is not a file of enrolled names",
    "enrol alice a.wav --into /proc/people.safetensors": "error: /proc/people.safetensors: ",
    # Rates.
    "verify a.wav b.wav --false-accept-rate 0": "the rate is 0.0",
    "verify a.wav b.wav --false-accept-rate nan": "--false-accept-rate is 'nan'",
    "verify a.wav b.wav --false-accept-rate 1e-300": "at least 3e+300 are needed",
    # Keywords.
    "spot a.wav": "say what to listen for",
    "spot --examples empty": "there is nothing to listen to",
    "spot a.wav --examples empty": "empty holds no audio files",
    "spot a.wav --examples nope": "nope is not a folder of examples",
    "spot a.wav --keywords nope.safetensors": "is not a file",
    "spot a.wav --examples x=a.wav --raw": "--raw says what comes through a pipe",
    "spot a.wav --examples x=a.wav --engine kokoro": "--engine and --language are of --text",
    "spot a.wav --text '!!!'": "nothing can be said of '!!!'",
    "spot a.wav --examples x=a.wav --threshold 0 --false-alarms-per-hour 1 --background a.wav": "give one",
    "spot a.wav --examples x=a.wav --microphone": "both given",
    # Runs and their results.
    "run nope": "there is no recipe 'nope'",
    "run nope.yaml": "nope.yaml can't be read",
    "run empty": "there is no recipe 'empty'",
    "synth mini --engine-pool nope": "unknown engine pool 'nope'",
    "tables nope": "nope/metrics.json does not exist",
    "tables run --of figures": "there is no set of tables 'figures'",
    "tables run --format word": "there is no format 'word'",
    "tables run --format csv --into notes.md": "--into writes Markdown",
    "trials nope --protocol x": "nope has no trials of x, clean",
    "compare run": "name two runs or more",
    "compare run empty": "run/metrics.json does not exist",
    "evaluate mini --protocol x": "--protocol goes with --embeddings",
    "evaluate --embeddings nope.npz": "nope.npz is missing",
    "evaluate --embeddings empty": "empty is not a readable .npz",
    "evaluate --embeddings junk.npz": "junk.npz is not a readable .npz",
    "evaluate --embeddings nan.npz": "nan.npz",
    "evaluate mini --embeddings nan.npz": "leave 'mini' out",
    # Corpora.
    "corpus check nope": "nope holds no corpus",
    "corpus show empty": "empty holds no corpus",
    "corpus card a.wav": "a.wav holds no corpus",
    "corpus plan nope": "there is no recipe 'nope'",
    "evaluate --manifest m.csv": "m.csv is missing",
    "evaluate --manifest nan.npz": "nan.npz is not a manifest: give a file that ends in .csv",
    "evaluate --manifest .": "--manifest: file '.' is a directory",
    "verify a.wav b.wav --prior nan": "--prior is 'nan': it must be a number",
    "demo --megabytes nan": "--megabytes is 'nan': it must be a number",
    "corpus manifest nope out.csv": "protocol 'nope'",
    "corpus manifest synthetic out.csv": "not 'corpus' or 'synthetic'",
    "assets festival": "festival has no files to get",
    "assets kokoro --from nope --folder kokoro": "nope has none of",
    **{f"corpus plan {name}.yaml": name for name in RECIPES},
    **{f"corpus plan manifest-{name}.yaml": f"{name}.csv" for name in MANIFESTS},
}
"""What is typed, and a part of what is said."""


@pytest.mark.parametrize("typed", CASES)
def test_one_sentence(
    typed: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("INTERVOX_DATA", str(desk / "data"))
    before = {path for path in desk.rglob("*") if path.suffix != ".lock"}
    begun = time.monotonic()
    code, _, error = run_main(monkeypatch, capsys, *shlex.split(typed))
    assert code == 2
    assert error.splitlines()[-1:] == [line for line in error.splitlines() if line.startswith("error: ")]
    assert CASES[typed] in error
    assert "Traceback" not in error
    assert not PYDANTIC.search(error)
    assert len(error) < 600
    assert time.monotonic() - begun < 20
    assert {path for path in desk.rglob("*") if path.suffix != ".lock"} == before


def test_the_version_and_all_built_in_recipes_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, capsys, "--version")[:2] == (0, f"intervox {version('intervox')}\n")
    for words in ((), ("corpus",)):
        assert run_main(monkeypatch, capsys, *words)[1].startswith("Usage: intervox")
    code, text, _ = run_main(monkeypatch, capsys, "run", "--help")
    assert (code, names() in " ".join(text.split())) == (0, True)


@pytest.mark.parametrize(
    ("words", "modules", "extra"),
    [
        (("export",), ("onnx",), "export"),
        (("export",), ("onnxruntime",), "export"),
        (("export",), ("onnxscript",), "export"),
        (("demo",), ("gradio",), "demo"),
        (("embed", "a.wav", "--out", "v.ark"), ("kaldiio",), "kaldi"),
        (
            ("spot", "--microphone", "--examples", "yes=a.wav", "--examples", "yes=b.wav"),
            ("sounddevice",),
            "microphone",
        ),
    ],
)
def test_a_missing_extra_of_a_command_is_named(
    words: tuple[str, ...], modules: tuple[str, ...], extra: str, desk: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(desk)
    for loaded in sorted(sys.modules, reverse=True):
        if not loaded.startswith(("intervox.export", "intervox.demo")):
            continue
        package, _, name = loaded.rpartition(".")
        # What is imported anew must not stay as the package's attribute.
        monkeypatch.delattr(sys.modules[package], name, raising=False)
        monkeypatch.delitem(sys.modules, loaded)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    code, _, error = run_main(monkeypatch, capsys, *words)
    assert code == 2
    assert is_one_sentence(error)
    assert install_command(extra) in error


@pytest.mark.parametrize(
    "words", ["spot a.wav --examples empty --threshold 3", "tables run --into picture.md", "x"]
)
def test_the_same_in_a_process_of_its_own(
    words: str, desk: Path, command: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    done = command(*words.split(), cwd=desk, PYTHONPATH=str(ROOT / "src"))
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_sentence(done.stderr)


def test_a_command_that_is_told_to_end_leaves_nothing(desk: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "intervox", "embed", "--list", "-", "--out", str(tmp_path / "v.npz")],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
    assert not list(tmp_path.iterdir())


def test_every_option_is_told_apart_from_a_mistake_of_ours() -> None:
    """An exception that is no user's fault is not hidden behind a sentence."""
    assert not issubclass(KeyError, cli._UsageError)
    assert issubclass(cli._UsageError, Exception)
    assert cli._UsageError is not Exception
