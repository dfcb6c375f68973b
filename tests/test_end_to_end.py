"""A miniature recipe through the real command line, with the real backbone and engine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import soundfile as sf

from intervox import SubspaceModel
from intervox.backbones.load import load_backbone
from intervox.clips.corpus import Corpus
from intervox.clips.source import Recordings
from intervox.errors import IntervoxError
from intervox.features.extraction import extract
from intervox.features.store import Features
from intervox.recipe import FeatureSettings
from tests.conftest import ROOT
from tests.support.intervals import holds
from tests.test_interrupt import interrupt, started

Command = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


def test_the_run_leaves_what_the_readme_promises(mini_run: Path) -> None:
    for name in (
        "recipe.yaml",
        "corpus/corpus.json",
        "model/model.safetensors",
        "metrics.json",
        "report.html",
    ):
        assert (mini_run / name).stat().st_size > 0, name
    steps = [json.loads(line)["step"] for line in (mini_run / "log.jsonl").read_text().splitlines()]
    assert steps == ["synth", "extract", "refine", "evaluate"]


def test_metrics_hold_every_space_protocol_and_stratum(mini_run: Path) -> None:
    metrics = json.loads((mini_run / "metrics.json").read_text())
    protocols = set(metrics["protocols"])
    assert "synthetic" in protocols
    if (ROOT / ".." / "shared" / "corpora").is_dir():
        assert protocols == {"synthetic", "librispeech", "speech_commands", "fsdd", "ravdess"}
    for protocol in protocols:
        spaces = metrics["verification"][protocol]
        assert set(spaces) == {"speaker", "content", "raw"}
        assert len(spaces["raw"]["layers"]) == 6
        for condition in ("clean", "cross_condition"):
            for name in ("speaker", "content"):
                for result in spaces[name][condition].values():
                    assert 0 <= result["eer"] <= 1
                    assert result["targets"] > 0
                    assert set(result["min_dcf"]) == {"0.01", "0.05"}
                    assert holds(result["eer_interval"], result["eer"])
            lda = metrics["baselines"]["lda"]["verification"][protocol]
            assert lda["speaker"][condition]
            assert all(0 <= found["eer"] <= 1 for found in lda["speaker"][condition].values())
    # Held-out voices and texts: even forty steps leave speakers told apart better than by chance.
    held_out = metrics["verification"]["synthetic"]["speaker"]["clean"]["different_text"]
    assert held_out["eer"] < 0.35
    assert len(held_out["eer_interval"]) == 2


def test_the_metrics_hold_the_evidence(mini_run: Path) -> None:
    metrics = json.loads((mini_run / "metrics.json").read_text())
    for protocol, found in metrics["separation"].items():
        matrix = found["matrix"]
        assert "condition" in matrix
        # Sixty clips of ravdess are too few of each of its actors to be probed.
        assert "speaker" in matrix or protocol == "ravdess"
        for spaces in matrix.values():
            assert set(spaces) == {"speaker", "content", "raw", "residual"}
            for cell in spaces.values():
                assert 0 < cell["chance"] < 1
                for probe in ("linear", "mlp"):
                    assert holds(cell[probe]["shuffled_interval"], cell[probe]["shuffled"])
        assert {"rejection", "projection", "geometry"} <= set(found)
        assert set(metrics["scoring"][protocol]["speaker"]["clean"]) == {
            "cosine", "centred", "as_norm", "plda"
        }  # fmt: skip
        for name in ("lda", "observational"):
            against = metrics["baselines"][name]["against"][protocol]
            assert holds(against["interval"], against["difference"])
            assert 0 < against["p"] <= 1
    # One factor alone has nothing to be disentangled from: librispeech says no sentence twice.
    assert metrics["separation"]["synthetic"]["blocks"]["mig"] > 0
    people = set(metrics["protocols"]) - {"synthetic"}
    assert set(metrics.get("severity", {})) == people
    for protocol in people:
        assert set(metrics["severity"][protocol]["speaker"]["noise"]) == {"0.00", "0.50"}
        assert metrics["calibration"][protocol]["speaker"]["source"] == "synthetic"


def test_the_model_carries_its_card_and_calibration(mini_run: Path) -> None:
    card = (mini_run / "model" / "README.md").read_text()
    assert "equal error rate" in card
    assert "GPL-3.0" in card
    assert "More Information Needed" not in card
    model = SubspaceModel.from_pretrained(mini_run / "model")
    assert set(model.calibration) == {"speaker", "content"}
    assert model.references
    held_out = Corpus(mini_run / "corpus").cells.filter(pc.field("split") == "test").to_pylist()
    # Every cell that was held out, clean and degraded.
    for factor in ("speaker", "content", "text"):
        values = [cell[factor] for cell in held_out]
        assert sorted(model.references.labels[factor]) == sorted(2 * values)


def test_features_are_mapped_shards_in_half_precision(mini_run: Path) -> None:
    folder = next((mini_run / "features").glob("*/corpus"))
    shard = pa.ipc.open_file(pa.memory_map(str(folder / "shard-00000.arrow"))).read_all()
    assert shard.schema.names == ["cell_id", "frames", "mean", "error"]
    assert shard.schema.field("mean").type == pa.list_(pa.float16(), 6 * 384)
    features = Features(folder)
    ids = np.array([3, 70, 1])
    np.testing.assert_array_equal(features.rows(ids), features.rows()[ids])
    assert not features.errors


def test_too_many_unreadable_clips_stop_and_leave_no_usable_features(tmp_path: Path, wav: Path) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    source = Recordings([wav, tmp_path / "bad.wav"])
    backbone = load_backbone("bundled:whisper-tiny.en")
    for _ in range(2):
        with pytest.raises(IntervoxError, match=r"1 of 2 clips .* failed.*bad\.wav can't be read"):
            extract(source, backbone, FeatureSettings(), tmp_path / "features")
        with pytest.raises(IntervoxError, match="no complete features"):
            Features(tmp_path / "features")
    features = extract(source, backbone, FeatureSettings(max_failures=0.5), tmp_path / "features")
    assert list(features.errors) == [1]


def test_the_report_needs_nothing_from_outside_the_run(mini_run: Path) -> None:
    page = (mini_run / "report.html").read_text()
    links = re.findall(r'(?:src|href)="([^"#]+)"', page)
    outside = {link for link in links if not link.startswith("data:")}
    assert outside == {f"trials/{path.name}" for path in (mini_run / "trials").iterdir()}
    assert page.count("<svg") >= 2 + 3
    for words in (
        "DET curves",
        'class="claim"',
        "Learned weight",
        "Parts of the loss",
        "Maps",
        "equal error rate",
    ):
        assert words in page


FIRST_OUTPUTS = (
    "corpus/audio/shard-*",
    "features/*/corpus/shard-*",
    "model/checkpoint.*",
    "features/*/synthetic/cross_condition/features.json",
)
"""What appears first when synthesis, extraction, training and evaluation are under way."""


@pytest.mark.long  # every step has a test of its own that stops it
def test_a_run_killed_in_every_step_ends_in_the_same_metrics(
    mini_run: Path, command: Command, tmp_path: Path
) -> None:
    """SIGKILL as soon as each step's first output appears; the same command then ends the run."""
    folder = tmp_path / "mini"
    words = [sys.executable, "-m", "intervox", "run", "mini", "--folder", str(folder)]
    for place in FIRST_OUTPUTS:
        process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not list(folder.glob(place)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert process.poll() is None, f"the run ended before {place} could be seen"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (folder / "metrics.json").exists()
    done = command("run", "mini", "--folder", str(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "metrics.json").read_bytes() == (mini_run / "metrics.json").read_bytes()


def test_embed_and_verify(mini_run: Path, command: Command, tmp_path: Path, wav: Path) -> None:
    model = ("--model", str(mini_run / "model"))
    lines = command("embed", str(wav), str(wav), *model).stdout.splitlines()
    vectors = np.array([json.loads(line)["vector"] for line in lines])
    assert vectors.shape == (2, 128)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    out = tmp_path / "v.npy"
    assert command("embed", str(wav), *model, "--space", "content", "--out", str(out)).returncode == 0
    assert np.load(out).shape == (1, 128)
    same = json.loads(command("verify", str(wav), str(wav), "--json", *model).stdout)
    assert same["same"]
    assert same["score"] == pytest.approx(1, abs=1e-4)
    assert 0.5 < same["probability"] <= 1


def test_the_library_gives_the_same_vector_alone_and_in_a_batch(
    mini_run: Path, tmp_path: Path, wav: Path
) -> None:
    model = SubspaceModel.from_pretrained(mini_run / "model")
    random = np.random.default_rng(0)
    for index, seconds in enumerate((0.4, 3.0, 9.0)):
        sf.write(tmp_path / f"{index}.wav", 0.1 * random.normal(size=round(16_000 * seconds)), 16_000)
    clips = [wav, *(tmp_path / f"{index}.wav" for index in range(3))]
    together = model.encode(clips)
    for space in ("speaker", "content"):
        for index, clip in enumerate(clips):
            np.testing.assert_allclose(model.encode([clip])[space][0], together[space][index], atol=1e-4)
    model.save_pretrained(tmp_path / "copy")
    copy = SubspaceModel.from_pretrained(tmp_path / "copy")
    np.testing.assert_allclose(copy.encode([wav])["speaker"], together["speaker"][:1], atol=1e-6)
    assert not list((tmp_path / "copy").glob("*.bin"))


def test_lists_and_doctor(command: Command) -> None:
    engines = json.loads(command("engines", "--json").stdout)
    assert [engine["what"] for engine in engines] == [
        "espeak",
        "kokoro",
        "piper",
        "recordings",
        "unlabelled",
        "command",
        "clone",
    ]
    assert "GPL-3.0" in engines[0]["found"]
    assert "bundled:whisper-tiny.en" in command("backbones").stdout
    doctor = command("doctor", "--json")
    assert doctor.returncode == 0
    assert {"torch", "espeak", "bundled:whisper-tiny.en"} <= {c["what"] for c in json.loads(doctor.stdout)}
    bare = command("doctor", INTERVOX_DATA="nowhere-at-all")
    assert bare.returncode == 0
    assert "INTERVOX_DATA" in bare.stdout


def test_importing_intervox_loads_nothing_heavy() -> None:
    code = (
        "import sys, intervox; print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


STEPS = {
    "synth": ("corpus", "corpus/cells.parquet"),
    "extract": ("features", "features/*/corpus/step.json"),
    "refine": ("model", "model/step.json"),
    "evaluate": ("baselines", "baselines/**/step.json"),
}
"""Step to what is taken from a finished run, and what is there again once the step is at work."""


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_step_ends_at_once_and_says_how_to_go_on(
    step: str, mini_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(mini_run, folder)
    undone, begun = STEPS[step]
    shutil.rmtree(folder / undone)
    (folder / "metrics.json").unlink()
    with started("-m", "intervox", step, "mini", "--folder", str(folder), cwd=ROOT) as process:
        while process.poll() is None and not list(folder.glob(begun)):
            time.sleep(0.02)
        seconds, said = interrupt(process)
        assert process.returncode == 130
        assert said.splitlines()[-1] == "interrupted: the same command resumes the run from here"
        assert "Traceback" not in said
        assert seconds < 2


def test_a_second_run_redoes_nothing(mini_run: Path, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(mini_run, folder)
    kinds = (".parquet", ".arrow", ".safetensors")
    written = [folder / "metrics.json", folder / "report.html"]
    data = [*written, *(path for path in folder.rglob("*") if path.suffix in kinds)]
    before = {path: path.stat().st_mtime_ns for path in data}
    done = command("run", "mini", "--folder", str(folder))
    assert done.returncode == 0, done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in data}
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == "evaluate"


@pytest.mark.long
def test_a_run_that_lost_its_report_is_measured_again(
    mini_run: Path, command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(mini_run, folder)
    (folder / "report.html").unlink()
    data = [path for path in folder.rglob("*") if path.suffix in (".parquet", ".arrow", ".safetensors")]
    before = {path: path.stat().st_mtime_ns for path in data}
    assert command("evaluate", "mini", "--folder", str(folder)).returncode == 0
    assert (folder / "report.html").exists()
    # The model has its calibration written again, the trials their scores: the same ones.
    again = [folder / "metrics.json", folder / "model" / "model.safetensors", *(folder / "trials").iterdir()]
    for path in again:
        assert path.read_bytes() == (mini_run / path.relative_to(folder)).read_bytes()
    kept = [path for path in data if path not in again]
    assert {path: before[path] for path in kept} == {path: path.stat().st_mtime_ns for path in kept}


def test_a_second_evaluation_keeps_what_people_wrote_and_what_a_kill_left(
    mini_run: Path, command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(mini_run, folder)
    model = folder / "model"
    for name in ("README.md", "notes.txt"):
        (model / name).write_text("a person's\n")
    model.rename(folder / ".model.discarded")  # as between the two renames of a killed evaluation
    before = (folder / "metrics.json").stat().st_mtime_ns
    done = command("evaluate", "mini", "--folder", str(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "metrics.json").stat().st_mtime_ns == before
    assert {(model / name).read_text() for name in ("README.md", "notes.txt")} == {"a person's\n"}
    assert not (folder / ".model.discarded").exists()


@pytest.mark.long
def test_weights_that_lost_their_end_are_trained_again(
    mini_run: Path, command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(mini_run, folder)
    weights = folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4096] + bytes(4096))
    (folder / "model" / "notes.txt").write_text("a person's")
    done = command("run", "mini", "--folder", str(folder))
    assert done.returncode == 0, done.stderr
    assert f"not as it was written: {weights}" in done.stderr.replace("\n", " ")
    for name in ("model/model.safetensors", "model/config.json", "model/README.md", "metrics.json"):
        assert (folder / name).read_bytes() == (mini_run / name).read_bytes(), name
    assert (folder / "model" / "notes.txt").read_text() == "a person's"
