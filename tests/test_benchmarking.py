"""The whole evaluation of what is not ours: planted vectors, the command line, and any function."""

import json
import subprocess
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

import intervox
from intervox import benchmarking
from intervox.audio import Waveform
from intervox.benchmarking import benchmark_embeddings
from intervox.errors import IntervoxError
from intervox.evaluation.results import Metrics
from intervox.recipe import EvaluationSettings, SeveritySettings
from tests.conftest import Speech
from tests.test_locks import hold

Command = Callable[..., "subprocess.CompletedProcess[str]"]
QUICK = EvaluationSettings(bootstrap=20, episodes=10, max_trials=1000)
SPEAKERS, WORDS, TAKES = 8, 6, 3
SHARES = (0.0, 0.5, 1.0, 2.5)


def planted(share: float) -> dict[str, Any]:
    """Draw a space of voices, and one of words with a share of the voice in it."""
    random = np.random.default_rng(0)
    who, what = np.divmod(np.repeat(np.arange(SPEAKERS * WORDS), TAKES), WORDS)
    voices, words = random.normal(size=(SPEAKERS, 12)), random.normal(size=(WORDS, 12))
    noise = 0.8 * random.normal(size=(2, len(who), 12))
    return {
        "embedding.speaker": voices[who] + noise[0],
        "embedding.content": words[what] + share * voices[who] + noise[1],
        "speaker": [f"s{s}" for s in who],
        "content": [f"w{w}" for w in what],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def leaking(folder: Path) -> list[Metrics]:
    """Return the metrics of every share."""
    found = []
    for share in SHARES:
        np.savez(folder / f"leak{share}.npz", **planted(share))
        home = folder / f"run{share}"
        found.append(benchmark_embeddings(folder / f"leak{share}.npz", home, settings=QUICK, workers=1))
    return found


def rises(values: Sequence[float]) -> bool:
    return all(before < after for before, after in pairwise(values))


def test_a_planted_leak_is_reported_as_large_as_it_is(leaking: list[Metrics]) -> None:
    found = [next(iter(metrics.separation.values())) for metrics in leaking]
    cells = [each.matrix["speaker"]["content"] for each in found]
    eers = [each.speaker_eer_from["content"] for each in found]
    bits = [cell.information.bits for cell in cells]
    shared = [each.geometry["speaker-content"].cross_covariance for each in found]
    assert rises([-eer for eer in eers])
    assert rises([cell.linear.accuracy for cell in cells])
    assert rises(bits)
    assert rises(shared)
    assert rises([-each.blocks.mig for each in found if each.blocks])
    assert 0.4 < eers[0] < 0.6
    assert bits[0] < 0.1
    assert eers[-1] < 0.1
    assert bits[-1] > 2.5
    assert cells[0].chance == pytest.approx(1 / SPEAKERS)
    # The space that was left alone reads the same, whatever its neighbour does.
    own = [each.matrix["speaker"]["speaker"] for each in found]
    assert all(cell == own[0] for cell in own)


def test_the_words_are_found_in_their_own_space_alone(leaking: list[Metrics]) -> None:
    matrix = leaking[0].separation["leak0.0"].matrix["content"]
    assert matrix["content"].linear.accuracy > 0.9 > 0.4 > matrix["speaker"].linear.accuracy
    verified = leaking[0].verification["leak0.0"].own["speaker"]["clean"]
    assert verified["different_text"].eer < 0.15
    keywords = leaking[0].keywords["leak0.0"].own["content"]["clean"]
    assert keywords.shot_1 is not None
    assert keywords.shot_1.accuracy > 0.6


def test_the_results_are_written(leaking: list[Metrics], folder: Path) -> None:
    home = folder / "run0.0"
    text = (home / "metrics.json").read_text()
    strict = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert strict == leaking[0].dump()
    assert Metrics.read(home / "metrics.json") == leaking[0]
    assert strict["spaces"] == {"speaker": "speaker", "content": "content"}
    assert strict["protocols"]["leak0.0"]["clips"] == SPEAKERS * WORDS * TAKES
    report = (home / "report.html").read_text()
    assert "leak0.0" in report
    assert "<script src" not in report
    trials = pq.read_table(home / "trials" / "leak0.0-clean.parquet")
    assert {"enrol", "test", "target", "different_text", "speaker"} <= set(trials.column_names)
    counts = strict["verification"]["leak0.0"]["speaker"]["clean"]["different_text"]
    assert sum(trials["different_text"].to_pylist()) == counts["targets"] + counts["impostors"]


def test_a_second_call_gives_the_same(leaking: list[Metrics], folder: Path) -> None:
    again = benchmark_embeddings(folder / "leak1.0.npz", folder / "run1.0", settings=QUICK, workers=2)
    assert again == leaking[SHARES.index(1.0)]


def test_protocols_beside_a_file_with_labels_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **planted(0.0))
    with pytest.raises(IntervoxError, match=r"own\.npz has labels of its own"):
        benchmark_embeddings(tmp_path / "own.npz", tmp_path / "run", ["fsdd"])
    assert not (tmp_path / "run").exists()


def test_old_results_are_gone_before_new_ones_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "own.npz", **planted(0.0))
    home = tmp_path / "run"
    (home / "trials").mkdir(parents=True)
    for old in ("metrics.json", "report.html", "trials/older-clean.parquet"):
        (home / old).write_text("old")
    with pytest.raises(IntervoxError):
        benchmark_embeddings(tmp_path / "absent.npz", home)
    assert (home / "metrics.json").exists()
    monkeypatch.setattr(benchmarking, "measure", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(pytest.fail.Exception, match="measured"):
        benchmark_embeddings(tmp_path / "own.npz", home)
    assert [path.name for path in home.rglob("*") if path.is_file()] == [".lock"]


def test_two_evaluations_into_one_folder_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "own.npz", **planted(0.0))
    home = tmp_path / "run"
    home.mkdir()
    monkeypatch.setattr(benchmarking, "measure", lambda *_, **__: pytest.fail(str((home / "done").exists())))
    other = hold(home, 1.5)
    (home / "metrics.json").write_text("of the other")
    with pytest.raises(pytest.fail.Exception, match="True"):
        benchmark_embeddings(tmp_path / "own.npz", home, settings=QUICK)
    assert not (home / "metrics.json").exists()
    assert other.wait() == 0


def test_conditions_of_a_file_have_gaps_and_curves(folder: Path) -> None:
    clean = planted(0.0)
    count = len(clean["speaker"])
    noise = np.random.default_rng(1).normal(size=(2, count, 12))
    file: dict[str, Any] = {name: np.tile(clean[name], 3) for name in ("speaker", "content")}
    for name in ("embedding.speaker", "embedding.content"):
        file[name] = np.concatenate([clean[name], clean[name] + noise[0], clean[name] + 3 * noise[1]])
    file["path"] = np.tile([f"{row}.wav" for row in range(count)], 3)
    file["condition"] = np.repeat(["clean", "phone", "noise@0.50"], count)
    np.savez(folder / "heard.npz", **file)
    metrics = benchmark_embeddings(folder / "heard.npz", folder / "heard", settings=QUICK)
    verified = metrics.verification["heard"].own["speaker"]
    assert set(verified) == {"clean", "phone"}
    assert verified["phone"]["different_text"].eer > verified["clean"]["different_text"].eer
    curve = metrics.severity["heard"]["speaker"]["noise"]
    assert set(curve) == {"0.00", "0.50"}
    assert curve["0.50"].eer > curve["0.00"].eer
    assert set(metrics.separation["heard"].matrix) == {"speaker", "content", "condition"}
    assert (folder / "heard" / "trials" / "heard-phone.parquet").is_file()


@pytest.mark.parametrize("vectors", [np.zeros((144, 4)), np.ones((144, 1)), np.eye(144, 2)])
def test_a_collapsed_space_tells_nothing(vectors: Any, tmp_path: Path) -> None:
    labels = {"speaker": [f"<b>{s}" for s in planted(0.0)["speaker"]], "<i>mood": ["up", "", "down"] * 48}
    np.savez(tmp_path / "flat.npz", **planted(0.0) | {"embedding.content": vectors} | labels)
    metrics = benchmark_embeddings(tmp_path / "flat.npz", tmp_path / "run", settings=QUICK)
    found = metrics.separation["flat"]
    assert found.matrix["speaker"]["content"].information.bits < 0.2
    assert found.geometry["speaker-content"].shared_bits < 0.2
    report = (tmp_path / "run" / "report.html").read_text()
    assert "<b>s0" not in report
    assert "<i>mood" not in report


@pytest.mark.slow
def test_the_command_line_measures_a_file(folder: Path, command: Command) -> None:
    np.savez(folder / "mine.npz", **planted(1.0))
    done = command("evaluate", "--embeddings", "mine.npz", "--json", cwd=folder, OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics == json.loads((folder / "runs" / "mine" / "metrics.json").read_text())
    assert metrics["separation"]["mine"]["speaker_eer_from"]["content"] > 0
    assert (folder / "runs" / "mine" / "report.html").is_file()


@pytest.mark.long
@pytest.mark.slow
def test_bad_files_end_in_one_sentence(tmp_path: Path, command: Command) -> None:
    np.savez(tmp_path / "objects.npz", embedding=np.array([{}] * 3, object))
    np.savez(tmp_path / "bare.npz", embedding=np.ones((3, 2)), speaker=["a", "a", "b"])
    for name, sentence in (
        ("objects", "objects.npz is not a readable .npz of plain arrays"),
        ("bare", "bare.npz lacks the column content"),
    ):
        done = command("evaluate", "--embeddings", f"{name}.npz", "--json", cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "runs").exists()


@pytest.fixture
def recordings(tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return 4 speakers × 3 words × 2 takes with a manifest, in a folder that is looked into."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    lines = ["path,speaker,content"]
    for index in range(24):
        s, w = index // 6, index // 2 % 3
        wave = speech(0.4, s) * np.sin(np.arange(6400) * (w + 1) / 900).astype(np.float32)
        sf.write(folder / f"{index:02d}.wav", wave + 0.001 * speech(0.4, 50 + index), 16_000)
        lines.append(f"{index:02d}.wav,ann {s},word {w}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path / "data"))
    return folder


class Spectrum:
    """Embeds a clip as its coarse spectrum and counts what it is given."""

    def __init__(self) -> None:
        self.clips = 0

    def __call__(self, waves: Sequence[Waveform]) -> list[Any]:
        self.clips += len(waves)
        return [
            np.log(np.abs(np.fft.rfft(wave, 1024))[1:257].reshape(16, 16).mean(1) + 1e-6) for wave in waves
        ]


FEW = SeveritySettings(disturbances=("noise", "band"), levels=(0.5,), clips=10)


@pytest.mark.slow
def test_any_function_is_measured_clean_and_degraded_once(recordings: Path, tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"protocols": ("tiny",), "severities": FEW, "running_minutes": 0})
    spectrum = Spectrum()

    def measured(fingerprint: str | None) -> Metrics:
        home = tmp_path / "run"
        metrics: Metrics = intervox.benchmark(
            spectrum, "spectrum", 16, home, fingerprint=fingerprint, settings=settings
        )
        return metrics

    first = measured("v1")
    made = spectrum.clips
    assert made >= 24 + 24 + 2 * 10
    assert list(first.protocols) == ["tiny"]
    assert set(first.verification["tiny"].own["spectrum"]) == {"clean", "cross_condition"}
    assert set(first.severity["tiny"]["spectrum"]) == {"noise", "band"}
    assert first.spaces == {"spectrum": ""}
    assert (tmp_path / "run" / "report.html").is_file()
    assert measured("v1") == first
    assert spectrum.clips == made
    assert measured("v2") == first
    assert spectrum.clips == 2 * made
    assert measured(None) == first
    assert spectrum.clips == 3 * made


def test_curves_without_trials_are_left_out(recordings: Path, tmp_path: Path) -> None:
    lines = (recordings / "manifest.csv").read_text().splitlines()
    (recordings / "manifest.csv").write_text("\n".join([*lines[:7], lines[-1]]) + "\n")
    settings = QUICK.model_copy(update={"severities": FEW, "separation": False})
    metrics = intervox.benchmark(Spectrum(), "spectrum", 16, tmp_path / "run", ["tiny"], settings=settings)
    assert metrics.protocols["tiny"].speakers == 2
    assert not metrics.severity


def test_a_function_that_breaks_its_promise_is_named(recordings: Path, tmp_path: Path) -> None:
    for name in ("wav2vec2.0", "raw", "a/b"):
        with pytest.raises(IntervoxError, match="a space can't be named"):
            intervox.benchmark(Spectrum(), name, 16, tmp_path / "run", ["tiny"])
    with pytest.raises(IntervoxError, match="make it .*, or correct its dim"):
        intervox.benchmark(Spectrum(), "spectrum", 12, tmp_path / "run", ["tiny"], settings=QUICK)
    with pytest.raises(IntervoxError, match="'absent' has no recordings"):
        intervox.benchmark(Spectrum(), "spectrum", 16, tmp_path / "run", ["absent"])


def test_the_public_name_stays_a_function_whatever_was_imported() -> None:
    assert intervox.benchmark is benchmarking.benchmark
    assert intervox.benchmark_embeddings is benchmarking.benchmark_embeddings


def manifest(recordings: Path, columns: Sequence[int], speakers: int = 4) -> Path:
    lines = (recordings / "manifest.csv").read_text().splitlines()[: 1 + 6 * speakers]
    path = recordings / "mine.csv"
    path.write_text("\n".join(",".join(line.split(",")[column] for column in columns) for line in lines))
    return path


SHORT = QUICK.model_copy(update={"severities": FEW, "running_minutes": 0, "separation": False})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "verified", "spotted"),
    [((0, 1, 2), True, True), ((0, 1), True, False), ((0, 2), False, True)],
)
def test_a_model_is_measured_on_a_manifest_as_far_as_its_labels_go(
    columns: Sequence[int], verified: bool, spotted: bool, recordings: Path, tmp_path: Path
) -> None:
    path = manifest(recordings, columns)
    metrics = intervox.benchmark_model(str(path), folder=tmp_path / "run", settings=SHORT, workers=1)
    assert list(metrics.protocols) == ["mine"]
    assert ("mine" in metrics.verification) is verified
    assert ("mine" in metrics.keywords) is spotted
    said = " ".join(metrics.left_out)
    assert ("no speakers are given" in said) is not verified
    assert ("no contents are given" in said) is not spotted
    assert "cells of a corpus" in said
    report = (tmp_path / "run" / "report.html").read_text()
    assert all(sentence.split(":")[0] in report for sentence in metrics.left_out)
    assert Metrics.read(tmp_path / "run" / "metrics.json") == metrics
    if verified:
        assert metrics.verification["mine"].raw is not None
        assert set(metrics.verification["mine"].own["speaker"]) == {"clean", "cross_condition"}


def test_a_manifest_on_which_nothing_can_be_measured_is_refused_before_any_work(
    recordings: Path, tmp_path: Path
) -> None:
    path = manifest(recordings, (0, 1, 2), speakers=1)
    with pytest.raises(IntervoxError, match=r"nothing can be measured on .*mine\.csv: all clips are of one"):
        intervox.benchmark_model(path, "no such model", tmp_path / "run")
    assert not (tmp_path / "run").exists()
