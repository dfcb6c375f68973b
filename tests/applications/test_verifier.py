"""Enrolled speakers: prototypes, decisions, thresholds and the file they are kept in."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import clone

from intervox import SpeakerVerifier, SubspaceModel
from intervox.applications.enrolled import UNKNOWN
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError
from intervox.model.decision import References
from tests.conftest import Speech


@pytest.fixture(scope="module")
def model() -> SubspaceModel:
    return SubspaceModel.from_pretrained("default")


@pytest.fixture(scope="module")
def clips(speech: Speech) -> list[Waveform]:
    """Clips of three "voices": the seed decides the pitch."""
    return [speech(0.4 + 0.1 * part, seed) for seed in (1, 2, 3) for part in range(3)]


NAMES = ["ada"] * 3 + ["ben"] * 3 + ["cyd"] * 3


def test_a_name_is_the_mean_of_its_examples(model: SubspaceModel, clips: list[Waveform]) -> None:
    verifier = SpeakerVerifier(model).fit(iter(clips), NAMES)
    vectors = model.encode(clips)["speaker"]
    means = vectors.reshape(3, 3, -1).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(verifier.prototypes_, means, atol=1e-5)
    np.testing.assert_allclose(verifier.decision_function(clips), vectors @ means.T, atol=1e-4)
    assert verifier.classes_.tolist() == ["ada", "ben", "cyd"]
    assert verifier.score(clips, NAMES) == 1
    lengths = np.array([len(clip) for clip in clips]) / SAMPLE_RATE
    enrolled = lengths.reshape(3, 3).sum(axis=1)
    by_hand = model.calibration["speaker"].probability(vectors @ means.T, lengths[:, None], enrolled)
    np.testing.assert_allclose(verifier.predict_proba(clips), by_hand, atol=1e-4)


def test_examples_may_come_one_after_the_other(model: SubspaceModel, clips: list[Waveform]) -> None:
    at_once = SpeakerVerifier(model).fit(clips, NAMES)
    grown = SpeakerVerifier(model)
    for clip, name in zip(clips, NAMES, strict=True):
        grown.enrol(name, [clip])
    assert grown.counts_ == at_once.counts_
    np.testing.assert_allclose(grown.prototypes_, at_once.prototypes_, atol=1e-4)
    grown.forget("ben")
    np.testing.assert_allclose(grown.prototypes_, at_once.prototypes_[[0, 2]], atol=1e-4)
    with pytest.raises(IntervoxError, match="'ben' is not enrolled: there are ada, cyd"):
        grown.verify(clips[0], "ben")


def test_the_threshold_decides(model: SubspaceModel, clips: list[Waveform]) -> None:
    verifier = SpeakerVerifier(model).fit(clips, NAMES)
    line = model.calibration["speaker"]
    assert line.log_odds(verifier.threshold_) == pytest.approx(line.accept_at)
    # The score at which an even prior says a half is one that a sceptic believes less.
    assert verifier.score_at(0.5, prior=0.01) > verifier.score_at(0.5)
    score = verifier.verify(clips[0], "ben").score
    for threshold, accepted in ((score - 0.01, True), (score + 0.01, False)):
        verifier.threshold = threshold
        assert verifier.verify(clips[0], "ben").accepted is accepted
    verifier.threshold = 1.1
    assert set(verifier.predict(clips)) == {UNKNOWN}


def test_a_false_accept_rate_holds_on_the_impostors(model: SubspaceModel, clips: list[Waveform]) -> None:
    verifier = SpeakerVerifier(model).fit(clips[:6], NAMES[:6])
    scores = np.linspace(-1, 1, 1001)[np.random.default_rng(0).permutation(1001)]
    for rate in (0.01, 0.1, 0.5):
        verifier.set_threshold(scores, rate)
        assert (scores >= verifier.threshold_).sum() == int(rate * 1001)
    strangers = [*clips[6:], *clips[6:]]
    verifier.set_false_accept_rate(0.5, strangers)
    assert (verifier.decision_function(strangers) >= verifier.threshold_).mean() == 0.5
    with pytest.raises(IntervoxError, match=r"12 scores are too few for a rate of 0.01: at least 300"):
        verifier.set_false_accept_rate(0.01, strangers)
    with pytest.raises(IntervoxError, match="give a share above 0"):
        verifier.set_false_accept_rate(1.0)


def test_without_impostors_the_rate_holds_on_the_references(
    model: SubspaceModel, clips: list[Waveform]
) -> None:
    verifier = SpeakerVerifier(model).fit(clips, NAMES).set_false_accept_rate(0.01)
    references = model.references
    assert references
    vectors, labels = references.vectors["speaker"], np.array(references.labels["speaker"])
    false = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        for start in range(0, len(own) - 2, 3):
            enrolled = vectors[own[start : start + 3]].mean(axis=0)
            others = vectors[labels != label] @ enrolled / np.linalg.norm(enrolled)
            false.append(others >= verifier.threshold_)
    assert np.concatenate(false).mean() == pytest.approx(0.01, abs=1e-4)
    bare = SubspaceModel("none", 6, 384, {"speaker": {"factor": "speaker", "dim": 2}})
    with pytest.raises(IntervoxError, match="no references"):
        SpeakerVerifier(bare).set_false_accept_rate(0.01)


def test_impostors_of_the_references_differ_in_the_factor() -> None:
    vectors = {"speaker": np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]}
    references = References(vectors, {"speaker": ["a", "a", "b", "c"], "content": ["x", "y", "x", "y"]})
    # a, a against b, c; b against a, a, c; c against a, a, b.
    assert len(references.impostor_scores("speaker", "speaker")) == 4 + 3 + 3
    assert not references.impostor_scores("speaker", "speaker").any()
    # Same speaker, other words: the first two cells, in both directions.
    assert references.impostor_scores("speaker", "content").sum() == 2
    assert len(references.impostor_scores("speaker", "speaker", examples=2)) == 2
    assert len(references.impostor_scores("speaker", "speaker", examples=3)) == 0


def test_a_file_keeps_everything(
    model: SubspaceModel, clips: list[Waveform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.safetensors"
    half = np.float32(0.5)
    SpeakerVerifier(model, threshold=half).save(path)  # type: ignore[arg-type]
    assert SpeakerVerifier.load(path).threshold == 0.5
    verifier = SpeakerVerifier(model, threshold=0.3).fit(clips, ["Zoë / 1"] * 3 + NAMES[3:])
    verifier.save(path)
    loaded = SpeakerVerifier.load(path)
    assert loaded.threshold_ == 0.3
    assert loaded.counts_ == verifier.counts_
    np.testing.assert_array_equal(loaded.prototypes_, verifier.prototypes_)
    assert loaded.enrol("Zoë / 1", clips[:1]).counts_["Zoë / 1"] == 4
    SpeakerVerifier(model).save(path)
    assert SpeakerVerifier.load(path, model).counts_ == {}
    other = SubspaceModel("none", 6, 384, {"speaker": {"factor": "speaker", "dim": 2}})
    with pytest.raises(IntervoxError, match="enrolled with another model"):
        SpeakerVerifier.load(path, other)
    SpeakerVerifier(other).save(path)
    with pytest.raises(IntervoxError, match="does not say which model"):
        SpeakerVerifier.load(path)


@pytest.mark.parametrize("content", ["pickle", "text", "tensors", "kind"])
def test_other_files_are_refused(content: str, model: SubspaceModel, tmp_path: Path) -> None:
    path = tmp_path / "people.safetensors"
    if content == "pickle":
        path.write_bytes(pickle.dumps({"ada": 1}))
    elif content == "text":
        path.write_text("ada")
    elif content == "tensors":
        save_file({"x": np.zeros(3, np.float32)}, path)
    else:
        SpeakerVerifier(model).save(path)
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["intervox"])
        save_file({}, path, {"intervox": json.dumps(about | {"kind": "KeywordSpotter"})})
    message = "of a KeywordSpotter" if content == "kind" else "not a file of enrolled names"
    with pytest.raises(IntervoxError, match=message):
        SpeakerVerifier.load(path)
    with pytest.raises(IntervoxError, match="is not a file"):
        SpeakerVerifier.load(tmp_path / "nobody.safetensors")


def test_bad_names_and_clips_change_nothing(
    model: SubspaceModel, clips: list[Waveform], tmp_path: Path
) -> None:
    sf.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    verifier = SpeakerVerifier(model).fit(clips, NAMES)
    before = verifier.prototypes_
    for name, given, message in (
        ("", clips[:1], "can't be a name"),
        (UNKNOWN, clips[:1], "can't be a name"),
        (7, clips[:1], "can't be a name"),
        ("ada", [], "no clips are given"),
        ("ada", [clips[0], tmp_path / "silent.wav"], "is silent"),
    ):
        with pytest.raises(IntervoxError, match=message):
            verifier.enrol(name, given)  # type: ignore[arg-type]
    with pytest.raises(IntervoxError, match="9 clips and 8 names"):
        verifier.fit(clips, NAMES[:-1])
    np.testing.assert_array_equal(verifier.prototypes_, before)
    with pytest.raises(IntervoxError, match="nobody is enrolled"):
        SpeakerVerifier(model).predict(clips)
    with pytest.raises(IntervoxError, match="there is no subspace 'voice'"):
        SpeakerVerifier(model, space="voice").fit(clips, NAMES)


def test_it_is_a_scikit_learn_estimator(model: SubspaceModel, clips: list[Waveform]) -> None:
    verifier = SpeakerVerifier("default", threshold=0.4).fit(clips, NAMES)
    fresh = clone(verifier)
    assert fresh.get_params() == {"model": "default", "space": "speaker", "threshold": 0.4}
    assert fresh.counts_ == {}
    assert verifier.set_params(threshold=0.5).threshold_ == 0.5


@pytest.mark.parametrize("rate", [None, "0.01", 0, 1, -0.1, float("nan"), True, [0.1]])
@pytest.mark.parametrize("impostors", [None, []])
def test_what_is_no_rate_is_refused(rate: Any, impostors: Any, model: SubspaceModel) -> None:
    with pytest.raises(IntervoxError, match="the rate is .*: give a share above 0 and below 1"):
        SpeakerVerifier(model).set_false_accept_rate(rate, impostors)


def test_a_tiny_rate_is_answered_in_few_digits(model: SubspaceModel) -> None:
    with pytest.raises(IntervoxError, match="too few for a rate of 1e-300: at least 3e") as raised:
        SpeakerVerifier(model).set_threshold(np.zeros(10), 1e-300)
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize("given", [None, 5, ["default"]])
def test_what_is_no_model_is_refused(given: Any) -> None:
    with pytest.raises(IntervoxError, match="the model is .*: give a model"):
        SpeakerVerifier(given).enrol("alice", ["a.wav"])


def test_names_are_not_saved_over_a_folder(model: SubspaceModel, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="is a folder: give the path of a file"):
        SpeakerVerifier(model).save(tmp_path)
