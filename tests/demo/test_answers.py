"""What a visitor is told: verdicts, maps and timelines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from intervox.audio import SAMPLE_RATE
from intervox.demo import answers as rendering
from intervox.demo.answers import MAP_SIZE, MARKS, SpaceMap, Timeline, compare, spot
from intervox.errors import IntervoxError
from intervox.model.decision import References, in_percent
from intervox.model.matching import Match
from intervox.model.model import SubspaceModel


def answering(model: SubspaceModel, monkeypatch: pytest.MonkeyPatch, cosines: dict[str, float]) -> None:
    """Let a model embed any two clips with the given cosine."""

    def encode(sources: Sequence[Any], **options: Any) -> dict[str, Any]:
        found = {}
        for space, cosine in cosines.items():
            vectors = np.zeros((2, model.subspace(space).settings.dim), np.float32)
            vectors[0, 0], vectors[1, :2] = 1, (cosine, np.sqrt(1 - cosine**2))
            found[space] = vectors
        return found

    monkeypatch.setattr(model, "encode", encode)


def test_verdicts_are_the_calibrated_ones(packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(packaged, monkeypatch, {"speaker": 0.9, "content": 0.25})
    found = Match("partly", 0.8, 0.6)
    monkeypatch.setattr(packaged, "match", lambda *_: found)
    clip = np.zeros(1, np.float32)
    speaker, content = compare(packaged, clip, clip)
    assert (speaker.phrases[0], speaker.words) == ("Same voice?", "Very likely the same voice")
    assert (content.phrases[0], content.words) == (
        "Same words?",
        "Partly the same words: 60\u00a0% of the speech",
    )
    assert content.decision is None
    assert [speaker.score, content.score] == pytest.approx([0.9, 0.25])
    decision = speaker.decision
    assert decision is not None
    line, seconds = packaged.calibration["speaker"], 1 / SAMPLE_RATE
    assert decision.probability == pytest.approx(line.probability(0.9, seconds, seconds), abs=1e-5)
    assert decision.threshold == pytest.approx(line.score_at(None, seconds, seconds))


def test_without_calibration_there_is_a_score_alone(
    packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(packaged, monkeypatch, {"speaker": 0.9, "content": 0.25})
    monkeypatch.setattr(packaged, "_calibration", {"content": packaged.calibration["content"]})
    monkeypatch.setattr(packaged, "_matching", None)
    verdicts = compare(packaged, np.zeros(1, np.float32), np.zeros(1, np.float32))
    assert verdicts[0].decision is None
    page = rendering.comparison(verdicts, {})
    assert "holds no calibration for this subspace" in page
    assert "carries no reference clips" in page


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.999, "above 99\xa0%"), (0.96, "96\xa0%"), (0.5, "50\xa0%"), (0.001, "below 1\xa0%")],
)
def test_no_probability_claims_certainty(probability: float, words: str) -> None:
    assert in_percent(probability) == words


def test_times_are_minutes_and_seconds() -> None:
    assert [rendering.clock(time) for time in (0, 9.96, 59.96, 605.25)] == [
        "0:00.0", "0:10.0", "1:00.0", "10:05.2",
    ]  # fmt: skip


def three_voices() -> References:
    """Three voices of ten clips each around three axes."""
    random = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 5), 10, axis=0) + random.normal(0, 0.02, (30, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    voices = [name for name in "abc" for _ in range(10)]
    labels = {"speaker": voices, "text": ["x"] * 30, "condition": ["clean"] * 30}
    return References({"speaker": vectors.astype(np.float32)}, labels)


def test_a_clip_falls_among_its_own_on_the_map() -> None:
    clips = np.eye(3, 5, dtype=np.float32)[[1, 2]]
    drawn = SpaceMap(three_voices(), "speaker", "speaker").draw(clips)
    assert drawn.names == ["a", "b", "c"]
    assert drawn.others == 0
    assert [clip.nearest for clip in drawn.clips] == ["b", "c"]
    assert all(clip.score > 0.99 for clip in drawn.clips)
    assert drawn.kept > 0.95
    places = np.array([(mark.x, mark.y) for mark in drawn.marks])
    assert places.min() >= 0
    assert places.max() <= MAP_SIZE
    kinds = np.array([mark.kind for mark in drawn.marks])
    middles = np.stack([places[kinds == kind].mean(axis=0) for kind in range(3)])
    for clip, own in zip(drawn.clips, (1, 2), strict=True):
        assert np.argmin(np.hypot(*(middles - [clip.x, clip.y]).T)) == own
    # Three axes at right angles are equally far apart; one scale for both directions keeps that.
    sides = [np.hypot(*(middles[i] - middles[j])) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert max(sides) / min(sides) < 1.1


def test_the_letters_of_equal_clips_stand_apart() -> None:
    clip = np.eye(3, 5, dtype=np.float32)[[1, 1]]
    first, second = SpaceMap(three_voices(), "speaker", "speaker").draw(clip).clips
    assert (first.x, first.y) == (second.x, second.y)
    assert np.hypot(first.label_x - second.label_x, first.label_y - second.label_y) > 17


def test_only_as_many_values_as_there_are_shapes_are_marked(packaged: SubspaceModel) -> None:
    references = packaged.references
    assert references is not None
    for space, factor in packaged.factors.items():
        drawn = SpaceMap(references, space, factor).draw(references.vectors[space][:2])
        assert len(drawn.names) == len(MARKS)
        assert drawn.others == len(set(references.labels[factor])) - len(MARKS)
        assert {mark.kind for mark in drawn.marks} == {None, *range(len(MARKS))}
        # A reference clip is nearest to itself.
        assert drawn.clips[0].score == pytest.approx(1, abs=1e-2)


def test_what_a_visitor_writes_is_text() -> None:
    page = rendering.spotting(Timeline("<img src=x onerror=alert(1)>", [], 1.0, "M0 0", 25.0))
    assert "<img" not in page
    assert "&lt;img" in page


def test_without_words_no_keyword_is_looked_for(
    packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SubspaceModel, "factors", {"speaker": "speaker"})
    with pytest.raises(IntervoxError, match="no subspace of content"):
        spot(packaged, "yes", [], np.zeros(400, np.float32), 25.0)
