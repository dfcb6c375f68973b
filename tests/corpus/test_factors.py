"""Further columns of a manifest are factors: planned, rendered, checked, trained on, evaluated, probed."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from intervox import pipeline
from intervox.clips.corpus import Corpus
from intervox.clips.manifest import Row, as_labels, write_manifest
from intervox.clips.schema import CELL_SCHEMA, SHARD_SCHEMA
from intervox.corpus.inspect.check import check_corpus
from intervox.corpus.plan.design import plan_cells
from intervox.corpus.render.synthesis import synthesise
from intervox.engines.base import load_engine
from intervox.errors import IntervoxError
from intervox.evaluation.loading import held_out
from intervox.evaluation.separation import factor_data, separation_matrix
from intervox.features.store import Features
from intervox.model.model import SubspaceModel
from intervox.parallel import Pool
from intervox.recipe import EvaluationSettings, Recipe
from intervox.recipe.corpus import BlockSettings, CorpusRecipe, TextSettings
from intervox.recipe.engines import EspeakSettings, RecordingsSettings
from intervox.recipe.training import SubspaceSettings, TrainingSettings
from intervox.runs import Run
from intervox.storage import read_json
from intervox.training.cells import training_cells
from intervox.training.refine import check_training
from tests.conftest import Speech

TEXTS = ("good morning", "good evening", "fare well", "see you later", "not today", "come along")
EMOTIONS = ("calm", "angry")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, speech: Speech) -> Path:
    """Eight people say six texts, each calmly and angrily: loud, and of another pace."""
    folder = tmp_path_factory.mktemp("people")
    rows = []
    for speaker in range(8):
        for number, text in enumerate(TEXTS):
            for emotion in EMOTIONS:
                path = folder / f"{speaker}-{number}-{emotion}.wav"
                wave = speech(0.5, 10 * speaker + number) * (1 if emotion == "calm" else 4)
                sf.write(path, wave[:: 1 + (emotion == "angry")], 16_000)
                labels = as_labels(emotion=emotion, accent="north" if speaker % 2 else "")
                rows.append(Row(path, f"p{speaker}", text, labels=labels))
    write_manifest(folder / "people.csv", rows)
    return folder / "people.csv"


def emotional(manifest: Path) -> Recipe:
    corpus = CorpusRecipe(
        engines=(
            RecordingsSettings(name="recordings", manifest=manifest, splits=("train", "test"), blocks=3),
            EspeakSettings(voices=4, splits=("train",)),
        ),
        texts=TextSettings(count=30),
        train=BlockSettings(blocks=2, speakers=3, contents=3),
        test=BlockSettings(blocks=1, speakers=3, contents=3),
        held_out=0.4,
        copies=1,
    )
    subspaces = {
        "speaker": SubspaceSettings(factor="speaker", dim=8),
        "emotion": SubspaceSettings(factor="emotion", dim=1, layers=(0, 1)),
    }
    training = TrainingSettings(steps=5, blocks_per_step=4)
    return Recipe(
        corpus=corpus,
        subspaces=subspaces,
        training=training,
        evaluation=EvaluationSettings(protocols=(), bootstrap=10),
    )


def test_an_emotion_is_planned_trained_on_evaluated_and_probed(manifest: Path, tmp_path: Path) -> None:
    recipe = emotional(manifest)
    run = Run(recipe, tmp_path, Pool(1))
    check_training(recipe)
    corpus = pipeline.synth(run)
    assert corpus.factors == ["accent", "emotion"]
    for cell in corpus.cells.to_pylist():
        recorded = cell["engine"] == "recordings"
        assert cell["emotion"] in (EMOTIONS if recorded else ("",))
        assert cell["accent"] == ("north" if recorded and int(cell["voice"][1]) % 2 else "")
    shard = pq.read_table(tmp_path / "corpus" / "audio" / "shard-00000.parquet")
    assert shard.column_names == [*SHARD_SCHEMA.names, "accent", "emotion"]
    assert not [found for found in check_corpus(corpus.folder, 1) if found.severity == "error"]
    facts = [found.what for found in check_corpus(corpus.folder, 1)]
    assert any("train: 2 values of emotion" in fact for fact in facts)

    pipeline.extract(run)
    pipeline.refine(run)
    fingerprint = read_json(tmp_path / "features" / "current.json")["fingerprint"]
    features = Features(run.features_folder(fingerprint) / "corpus")
    labels = training_cells(corpus.cells, features, {"emotion"}).labels["emotion"]
    assert set(labels.tolist()) == {-1, 1, 2}
    model = SubspaceModel.from_pretrained(tmp_path / "model")
    assert model.factors["emotion"] == "emotion"

    source = held_out(corpus)
    assert source is not None
    assert set(source.clips.labels["emotion"]) == set(EMOTIONS)
    assert {"emotion", "accent"} <= set(source.clips.factors)
    told = np.eye(2, dtype=np.float32)[(source.clips.labels["emotion"] == "angry").astype(int)]
    matrix = separation_matrix(factor_data(source.clips, {"clean": {"told": told}}), 10, seeds=1)
    assert matrix["emotion"]["told"].linear.accuracy == 1


def test_another_take_brings_its_own_labels(tmp_path: Path, speech: Speech) -> None:
    rows = []
    for speaker in ("ann", "bob"):
        for text in TEXTS[:2]:
            for emotion in EMOTIONS:
                path = tmp_path / f"{speaker}-{text}-{emotion}.wav"
                sf.write(path, speech(0.9, 1) * (emotion == "calm"), 16_000)
                effort = {"effort": "high"} if emotion == "angry" else {}
                rows.append(Row(path, speaker, text, labels=as_labels(emotion=emotion, **effort)))
    write_manifest(tmp_path / "m.csv", rows)
    people = RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv", splits=("train",), blocks=6)
    recipe = CorpusRecipe(engines=(people,), train=BlockSettings(blocks=1), test=BlockSettings(blocks=0))
    corpus = synthesise(recipe, 0, tmp_path / "corpus", Pool(1))
    assert set(corpus.read_shard(0, ["attempt"])["attempt"].to_pylist()) == {0, 1}
    for table in (corpus.cells, corpus.read_shard(0, ["emotion", "effort"]), Corpus(corpus.folder).cells):
        assert set(table["emotion"].to_pylist()) == {"calm"}
        assert set(table["effort"].to_pylist()) == {""}


@pytest.mark.parametrize("column", ["engine", "condition", "transcript", "error"])
def test_a_column_named_like_one_of_the_plan_is_refused(column: str, wav: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", [Row(wav, "ann", "taxi", labels=((column, "x"),))])
    people = RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv")
    recipe = Recipe(corpus=CorpusRecipe(engines=(people,)))
    with pytest.raises(IntervoxError, match=rf"m\.csv has a column '{column}', which means something else"):
        check_training(recipe)


def test_a_factor_that_no_manifest_has_is_refused_before_anything_is_made(manifest: Path) -> None:
    recipe = emotional(manifest)
    subspaces = recipe.subspaces | {"mood": SubspaceSettings(factor="mood")}
    with pytest.raises(IntervoxError, match=r"no column 'mood' in the corpus.*accent, emotion"):
        check_training(recipe.model_copy(update={"subspaces": subspaces}))


def test_changed_labels_make_another_corpus(manifest: Path, tmp_path: Path) -> None:
    changed = manifest.with_name("changed.csv")
    changed.write_text(manifest.read_text().replace(",angry", ",furious"))
    one, other = (RecordingsSettings(name="recordings", manifest=path) for path in (manifest, changed))
    assert load_engine(one).version != load_engine(other).version


def test_a_corpus_without_manifests_has_no_further_columns() -> None:
    recipe = CorpusRecipe(
        engines=(EspeakSettings(voices=8),),
        texts=TextSettings(count=30),
        train=BlockSettings(blocks=1, speakers=3, contents=3),
        test=BlockSettings(blocks=0),
    )
    assert plan_cells(recipe, 0).schema == CELL_SCHEMA
