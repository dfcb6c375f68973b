"""Keywords in the voice of somebody enrolled."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.applications.enrolled import UNKNOWN
from intervox.applications.spotter import KeywordSpotter
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.errors import IntervoxError
from intervox.model.model import SubspaceModel
from tests.applications.test_spotter import PITCHES, chunked, noise, tone

VOICES = {"ada": 4_000, "ben": 5_000, "cyd": 6_000}
"""Ada and Ben are enrolled."""

OTHER = 0.01
"""How loud what is neither is, in a direction of its own: noise lies there."""


class Duet(SubspaceModel):
    """A model that hears words as pitches and voices as others, each a direction."""

    def __init__(self) -> None:
        settings = {name: {"factor": name, "layers": [0], "dim": 4} for name in ("content", "speaker")}
        calibration = {"content": [20.0, -10.0], "speaker": [20.0, -10.0, 0.0, 0.0, 4.0]}
        super().__init__("none", 1, 1, settings, calibration=calibration)
        self.heard = 0
        for weights in self.parameters():
            weights.data.zero_()

    def ready(self) -> None:
        pass

    def encode(self, sources: Iterable[Any], *_: Any, **__: Any) -> dict[str, Any]:
        waves = [load_audio(source) for source in sources]
        self.heard += len(waves)
        spaces = {"content": PITCHES, "speaker": VOICES}
        return {name: np.array([loudness(w, kinds) for w in waves], np.float32).reshape(-1, 4)
                for name, kinds in spaces.items()}  # fmt: skip


def loudness(wave: Waveform, kinds: dict[str, int]) -> NDArray[np.float64]:
    time = np.arange(len(wave)) / SAMPLE_RATE
    parts = [abs(wave @ np.exp(2j * np.pi * pitch * time)) for pitch in kinds.values()]
    row = np.array([*parts, OTHER * len(wave)])
    return np.asarray(row / np.linalg.norm(row))


def said(word: str, voice: str) -> Waveform:
    return tone(PITCHES[word]) + tone(VOICES[voice])


@pytest.fixture
def people() -> SpeakerVerifier:
    return SpeakerVerifier(Duet()).fit([tone(VOICES["ada"]), tone(VOICES["ben"])], ["ada", "ben"])


@pytest.fixture
def spotter(people: SpeakerVerifier) -> KeywordSpotter:
    """Know three words and two people."""
    examples = [tone(pitch) for pitch in PITCHES.values()]
    spotter = KeywordSpotter(Duet(), threshold=0.9, window_seconds=1.0, people=people)
    return spotter.fit(examples, list(PITCHES))


def talk() -> Waveform:
    spoken = [("do", "ada"), ("re", "ben"), ("mi", "cyd"), ("do", "ben"), ("re", "ada")]
    parts = [part for index, each in enumerate(spoken) for part in (noise(1.5, index), said(*each))]
    return np.concatenate([*parts, noise(2.0, 9)])


def test_a_detection_says_who_speaks(spotter: KeywordSpotter) -> None:
    found = list(spotter.scan(talk()))
    assert [(each.keyword, each.speaker) for each in found] == [
        ("do", "ada"), ("re", "ben"), ("mi", UNKNOWN), ("do", "ben"), ("re", "ada")
    ]  # fmt: skip
    assert all(each.speaker_probability is not None and each.speaker_probability > 0.9 for each in found)
    spotter.people = None
    assert {(each.speaker, each.speaker_probability) for each in spotter.scan(talk())} == {(None, None)}


def test_a_keyword_counts_in_one_voice(spotter: KeywordSpotter) -> None:
    spotter.speaker = "ada"
    found = list(spotter.scan(talk()))
    assert [(each.keyword, each.speaker) for each in found] == [("do", "ada"), ("re", "ada")]
    # Nothing of another's is reported; what came closest says whose voice it was.
    assert list(spotter.scan(np.concatenate([noise(1.5), said("do", "ben"), noise(2)]))) == []
    assert spotter.closest_ is not None
    assert (spotter.closest_.keyword, spotter.closest_.speaker) == ("do", UNKNOWN)


def test_the_vector_is_that_of_the_windows_around_the_keyword(
    spotter: KeywordSpotter, people: SpeakerVerifier
) -> None:
    wave = np.concatenate([noise(1.5), said("do", "ada") + 0.5 * tone(VOICES["ben"]), noise(2)])
    (found,) = spotter.scan(wave)
    # Middles within the keyword's window: two before, itself, two after, a quarter of a second apart.
    starts = [round((found.start + 0.25 * step) * SAMPLE_RATE) for step in (-2, -1, 0, 1, 2)]
    voices = Duet().encode([wave[start : start + SAMPLE_RATE] for start in starts])["speaker"].sum(axis=0)
    identity = people.identity((voices / np.linalg.norm(voices)).astype(np.float32), 2.0)
    assert found.speaker == identity.name == "ada"
    assert found.speaker_probability == pytest.approx(identity.probability, rel=1e-4)


def test_the_encoder_runs_once_per_window(spotter: KeywordSpotter, people: SpeakerVerifier) -> None:
    model, other = spotter.model_, people.model_
    assert isinstance(model, Duet)
    assert isinstance(other, Duet)
    counts = []
    for known in (None, people):
        spotter.people, model.heard, other.heard = known, 0, 0
        assert len(list(spotter.scan(talk()))) == 5
        counts.append((model.heard, other.heard))
    # Every window whose middle lies in the sound, a quarter of a second apart, and no other.
    assert counts == [(int(4 * len(talk()) / SAMPLE_RATE) + 1, 0)] * 2


@pytest.mark.parametrize("speaker", [None, "ada"])
def test_a_stream_is_a_scan(spotter: KeywordSpotter, speaker: str | None) -> None:
    spotter.speaker = speaker
    expected = list(spotter.scan(talk()))
    assert expected
    for size in (777, 4_000, 1_000_000):
        assert list(spotter.stream(chunked(talk(), size))) == expected


def test_what_cannot_be_told_apart_is_refused(spotter: KeywordSpotter) -> None:
    class Other(Duet):
        key = "another"

    for people, speaker, message in (
        (SpeakerVerifier(Other()).fit([tone(4_000)], ["ada"]), None, "enrolled with different models"),
        (SpeakerVerifier(Duet()), None, "nobody is enrolled"),
        (spotter.people, "dora", "'dora' is not enrolled: there are ada, ben"),
        (None, "ada", "people are needed to know 'ada' by"),
    ):
        spotter.people, spotter.speaker = people, speaker
        with pytest.raises(IntervoxError, match=message):
            spotter.scan(Path("there is no such file"))


def test_a_file_of_keywords_holds_no_people(spotter: KeywordSpotter, tmp_path: Path) -> None:
    spotter.speaker = "ada"
    spotter.save(tmp_path / "words.safetensors")
    loaded = KeywordSpotter.load(tmp_path / "words.safetensors", Duet())
    assert (loaded.people, loaded.speaker) == (None, None)
    assert loaded.classes_.tolist() == sorted(PITCHES)
