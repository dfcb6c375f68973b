"""A whole run at depth ``blocks``, on a tiny corpus and a tiny random backbone."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from intervox import pipeline
from intervox.backbones.load import load_backbone
from intervox.benchmarking import benchmark_model
from intervox.errors import IntervoxError
from intervox.evaluation import evaluate
from intervox.evaluation.evaluate import Compared
from intervox.evaluation.representations import BACKBONE, FROZEN
from intervox.evaluation.results import Metrics
from intervox.evaluation.test_sets import TestSet as Prepared
from intervox.metrics.vectors import unit
from intervox.model.model import SubspaceModel
from intervox.parallel import Pool
from intervox.recipe import EvaluationSettings
from intervox.runs import Run, open_run
from intervox.studies import sweep
from tests.backbones.test_backbones import save_family

pytestmark = pytest.mark.slow

FRAMES = {"training.depth": "frames", "subspaces.speaker.map": "attentive"}
"""What a variant that pools frames changes."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("deep")
    other = str(save_family("whisper", home / "other"))
    fields = {
        "name": "deep",
        "backbone": str(save_family("hubert-base", home / "base")),
        "corpus": {
            "engines": [{"name": "espeak", "voices": 24}],
            "texts": {"count": 40},
            "train": {"blocks": 2, "speakers": 3, "contents": 3},
            "test": {"blocks": 1, "speakers": 4, "contents": 4},
            "conditions": {"rooms": 1, "count": 4, "room": 0},
            "shard_size": 32,
        },
        "subspaces": {
            name: {"factor": name, "dim": 4, "layers": [0, 2]} for name in ("speaker", "content")
        },
        "training": {"depth": "blocks", "steps": 2, "blocks_per_step": 1, "crop_seconds": 0.5},
        "encoder": {"warp": 0.5, "learning_rate": 1e-2},
        "sweep": {
            "variants": {
                "map": {"training.depth": "map"},
                "frames": FRAMES,
                "another backbone": {"training.depth": "map", "backbone": other},
            }
        },
        "evaluation": {
            "protocols": [], "bootstrap": 5, "episodes": 2, "max_trials": 1000, "max_clips": 20,
            "baselines": ["lda", "observational"], "severities": {"disturbances": []},
            "running_minutes": 0.1, "seeds": 1, "recordings": False,
        },
    }  # fmt: skip
    path = home / "deep.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture(scope="module")
def done(recipe: Path) -> tuple[Run, Compared, Sequence[Prepared]]:
    """Return a finished run and what its evaluation measured."""
    seen: list[Any] = []
    real = evaluate.measure

    def recorded(compared: Compared, test_sets: Sequence[Prepared], *rest: Any) -> Metrics:
        seen.extend((compared, test_sets))
        return real(compared, test_sets, *rest)

    run = open_run(recipe, recipe.parent / "run", Pool(workers=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "measure", recorded)
        pipeline.run(run)
    compared, test_sets = seen
    return run, compared, test_sets


Done = tuple[Run, Compared, Sequence[Prepared]]


def test_raw_rows_are_of_the_frozen_backbone_and_own_spaces_of_the_trained(done: Done) -> None:
    run, compared, test_sets = done
    model = SubspaceModel.from_pretrained(run.folder / "model")
    frozen, own = load_backbone(run.recipe.backbone), model.own_backbone()
    assert own.fingerprint == model.fingerprint != frozen.fingerprint
    read_by = {r.name: r.encoder for r in compared.representations}
    assert {name for name, encoder in read_by.items() if encoder == BACKBONE} == {"speaker", "content"}
    assert {"raw.0", "raw.3", "raw.mean", "lda.speaker", "lda.content"} <= read_by.keys()
    # That control would be a second training from the audio.
    assert not any(name.startswith("observational") for name in read_by)
    assert test_sets
    for test_set in test_sets:
        assert set(test_set.spoken.frames if test_set.spoken else (BACKBONE, FROZEN)) == {BACKBONE, FROZEN}
        for condition, view in test_set.views.items():
            tables: Any = view.features
            fingerprints = {name: table.about["fingerprint"] for name, table in tables.items()}
            assert fingerprints == {BACKBONE: own.fingerprint, FROZEN: frozen.fingerprint}
            means = {name: table.rows(view.stored) for name, table in tables.items()}
            for r in compared.representations:
                found = r.vectors(test_set, condition)
                if r.name in ("speaker", "content"):
                    np.testing.assert_allclose(found, model.project(means[BACKBONE])[r.name], atol=1e-5)
                elif r.name == "raw.2":
                    raw = means[FROZEN][:, 2]
                    np.testing.assert_allclose(found, unit(raw - raw.mean(axis=0)), atol=1e-5)


def test_what_separation_is_measured_on_is_of_both(done: Done) -> None:
    _, compared, _ = done
    evidence = compared.evidence
    assert evidence
    assert evidence.model
    assert evidence.frozen
    assert evidence.model.fingerprint != evidence.frozen.fingerprint
    encoders = {space.name: space.encoder for space in evidence.spaces}
    assert encoders == {"speaker": BACKBONE, "content": BACKBONE, "residual": BACKBONE, "raw": FROZEN}


def test_a_run_keeps_what_it_says(done: Done) -> None:
    run, _, _ = done
    own = SubspaceModel.from_pretrained(run.folder / "model").fingerprint
    features = {path.name for path in (run.folder / "features").iterdir()}
    assert features >= {"waves", own, load_backbone(run.recipe.backbone).fingerprint}
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["backbone"]["name"] == run.recipe.backbone
    steps = [json.loads(line)["step"] for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert steps[:4] == ["synth", "extract", "refine", "evaluate"]


def test_a_second_run_does_nothing(done: Done, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _, _ = done

    def written() -> dict[Path, int]:
        said_again = ("log.jsonl", "current.json", ".lock")
        paths = [path for path in run.folder.rglob("*") if path.is_file() and path.name not in said_again]
        return {path: path.stat().st_mtime_ns for path in paths}

    before = written()
    monkeypatch.setattr(evaluate, "measure", None)
    monkeypatch.setattr("intervox.training.refine.train", None)
    metrics = pipeline.run(open_run(recipe, run.folder, Pool(workers=1)))
    assert metrics.recipe == "deep"
    assert written() == before


def test_another_sweep_or_an_edited_card_is_no_reason_to_measure_again(
    done: Done, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = done
    card, report = run.folder / "model" / "README.md", run.folder / "report.html"
    whole, kept = card.read_bytes(), report.stat().st_mtime_ns
    monkeypatch.setattr(evaluate, "measure", None)
    monkeypatch.setattr("intervox.training.refine.train", None)
    fields = yaml.safe_load(recipe.read_text())
    fields["sweep"]["variants"]["pooled, larger steps"] = FRAMES | {"training.learning_rate": 1e-2}
    edited = recipe.with_name("edited.yaml")
    edited.write_text(yaml.safe_dump(fields))
    for left, wanted in [
        (whole[: len(whole) // 2], whole),
        (whole[:40] + bytes(40), whole),
        (b"# Mine, without an end", b"# Mine, without an end"),
        (whole, whole),
    ]:
        card.write_bytes(left)
        pipeline.run(open_run(edited, run.folder, Pool(workers=1)))
        assert card.read_bytes() == wanted
    assert report.stat().st_mtime_ns == kept
    assert "larger steps" not in report.read_text()
    pipeline.run(open_run(recipe, run.folder, Pool(workers=1)))


def test_a_variant_whose_encoder_does_not_fit_is_named_before_anything_is_trained(done: Done) -> None:
    run, _, _ = done
    with pytest.raises(IntervoxError, match=r"variant 'blocks=\[77\]': .*77"):
        sweep(run, vary=["encoder.blocks=[77]"])
    other = run.recipe.sweep.variants["another backbone"]["backbone"]
    with pytest.raises(IntervoxError, match=r"variant .*layers 0 to 4"):
        sweep(run, vary=[f"backbone={other}", "training.depth=map", "subspaces.speaker.layers=[0, 9]"])


def test_one_sweep_compares_all_depths_and_backbones(done: Done) -> None:
    run, _, _ = done
    found = sweep(run)
    assert {row.name for row in found.variants} == {"recipe", "map", "frames", "another backbone"}
    models = [
        SubspaceModel.from_pretrained(path.parent)
        for path in (run.folder / "sweep").glob("*/model/config.json")
    ]
    assert sorted(model.reads_frames for model in models) == [False, False, False, True]
    # Three are of the run's frozen backbone or of what became of it, one of another, measured on its own.
    other = load_backbone(str(run.recipe.sweep.variants["another backbone"]["backbone"]))
    assert [model.fingerprint for model in models].count(other.fingerprint) == 1
    assert (run.folder / "features" / other.fingerprint / "synthetic").exists()
    # Nothing pools its frames, but those of the run's own.
    kept = {path.parent.parent.name for path in (run.folder / "features").glob("*/corpus/frames-*")}
    assert kept == {load_backbone(run.recipe.backbone).fingerprint}


def test_a_model_is_measured_beside_the_backbone_that_its_own_started_from(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = done
    model = shutil.copytree(run.folder / "model", tmp_path / "model")
    seen: list[dict[str, Any]] = []

    class StoppedError(Exception):
        pass

    def recorded(_sources: Any, encoders: dict[str, Any], *_rest: Any) -> None:
        seen.append(encoders)
        raise StoppedError

    monkeypatch.setattr("intervox.benchmarking.load_test_sets", recorded)
    monkeypatch.setattr("intervox.benchmarking.sources", list)
    monkeypatch.setattr("intervox.benchmarking._settings", lambda settings, _given: settings)
    monkeypatch.setattr(
        "intervox.benchmarking.find_protocols", lambda *_given, **_options: [SimpleNamespace(name="any")]
    )
    with pytest.raises(StoppedError):
        benchmark_model("any", model, tmp_path / "home", EvaluationSettings())
    (encoders,) = seen
    assert list(encoders) == [BACKBONE, FROZEN]
    assert encoders[BACKBONE].fingerprint == SubspaceModel.from_pretrained(model).fingerprint
    assert encoders[FROZEN].fingerprint == load_backbone(run.recipe.backbone).fingerprint
