"""Recordings without labels: which files are taken, and where they are cut."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from pydantic import ValidationError

from intervox.engines.base import RenderError
from intervox.engines.unlabelled import FRAMES_PER_SECOND, UnlabelledEngine, cut
from intervox.errors import IntervoxError, IntervoxWarning
from intervox.recipe.corpus import CorpusRecipe
from intervox.recipe.engines import UnlabelledSettings
from tests.conftest import Speech


def pauses(speech: Speech, *seconds: float) -> np.ndarray:
    """Speech and silence in turn, speech first."""
    parts = (speech(s, i) if i % 2 == 0 else np.zeros(round(16_000 * s)) for i, s in enumerate(seconds))
    return np.concatenate(list(parts)).astype(np.float32)


def folder_of(tmp_path: Path, speech: Speech, *seconds: float) -> Path:
    for index, length in enumerate(seconds):
        sf.write(tmp_path / f"{index}.wav", speech(length, index), 16_000)
    return tmp_path


def engine(files: Path, **settings: object) -> UnlabelledEngine:
    return UnlabelledEngine(
        UnlabelledSettings.model_validate({"name": "unlabelled", "files": files} | settings)
    )


@pytest.mark.parametrize("seconds", [0.9, 1.0, 1.9, 2.0, 4.9, 5.1, 6.0, 12.3, 60.0])
@pytest.mark.parametrize("bounds", [(1.0, 5.0), (1.0, 2.0), (0.2, 0.4)])
def test_pieces_keep_their_bounds_and_leave_little_out(
    seconds: float, bounds: tuple[float, float], speech: Speech
) -> None:
    pieces = cut(speech(seconds, 1), *bounds)
    lengths = [(end - first) / FRAMES_PER_SECOND for first, end in pieces]
    assert all(bounds[0] <= length <= bounds[1] for length in lengths)
    assert all(end <= first for (_, end), (first, _) in pairwise(pieces))
    if seconds >= bounds[0]:
        assert sum(lengths) > seconds - 0.1


def test_pieces_end_at_pauses_and_hold_no_silence_at_their_ends(speech: Speech) -> None:
    wave = pauses(speech, 2.2, 0.4, 3.1, 7.0, 2.0, 0.3, 3.5)
    pieces = cut(wave, 1.0, 5.0)
    starts = [first / FRAMES_PER_SECOND for first, _ in pieces]
    ends = [end / FRAMES_PER_SECOND for _, end in pieces]
    np.testing.assert_allclose(starts, [0, 2.6, 12.7, 15.0], atol=0.02)
    np.testing.assert_allclose(ends, [2.2, 5.7, 14.7, 18.5], atol=0.02)


def test_sound_too_short_between_pauses_is_left_out(speech: Speech) -> None:
    assert len(cut(pauses(speech, 3.0, 6.0, 0.3, 6.0, 3.0), 1.0, 5.0)) == 2


def test_a_short_recording_is_cut_into_two(tmp_path: Path, speech: Speech) -> None:
    assert {len(said) for said in engine(folder_of(tmp_path, speech, 2.5, 4.0)).takes().values()} == {2, 3}


def test_a_piece_is_what_its_text_says(tmp_path: Path, speech: Speech) -> None:
    one = engine(folder_of(tmp_path, speech, 8.0, 9.0))
    whole = sf.read(tmp_path / "1.wav", dtype="float32")[0]
    said = sorted(one.takes()["1.wav"])
    assert [text.endswith(" s of file 1") for text in said] == [True] * len(said)
    first, end = (float(seconds) for seconds in said[-1].split(" ")[0].split("-"))
    np.testing.assert_array_equal(
        one.render(said[-1], "1.wav", 7), whole[round(first * 16_000) : round(end * 16_000)]
    )
    with pytest.raises(RenderError, match="no piece 'hello'"):
        one.render("hello", "1.wav", 0)


def test_a_folder_with_junk_keeps_what_can_be_used(tmp_path: Path, speech: Speech) -> None:
    (tmp_path / "deep").mkdir()
    sf.write(tmp_path / "deep" / "good.flac", speech(6.0, 0), 16_000)
    sf.write(tmp_path / "short.wav", speech(1.5, 0), 16_000)
    sf.write(tmp_path / "silent.wav", np.zeros(80_000), 16_000)
    (tmp_path / "text.wav").write_text("not a sound")
    (tmp_path / "._good.wav").write_bytes(b"\0" * 100)
    (tmp_path / "notes.txt").write_text("words")
    with pytest.warns(IntervoxWarning, match=r"left out 3 of 4 files in .*; the first: .*\.wav"):
        voices = engine(tmp_path).voices()
    assert [voice.name for voice in voices] == ["deep/good.flac"]


def test_voices_are_drawn_the_same_every_time(tmp_path: Path, speech: Speech) -> None:
    folder = folder_of(tmp_path, speech, *[3.0] * 8)
    names = [voice.name for voice in engine(folder, voices=3).voices()]
    assert len(names) == 3
    assert names == [voice.name for voice in engine(folder, voices=3).voices()] != ["0.wav", "1.wav", "2.wav"]


def test_lists_name_the_files(tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path, speech, 3.0, 3.0, 3.0)
    (tmp_path / "list.csv").write_text("path\n0.wav\n2.wav\n")
    (tmp_path / "list.txt").write_text("1.wav\n\n1.wav\n")
    monkeypatch.chdir(tmp_path)
    assert [voice.name for voice in engine(Path("list.csv")).voices()] == ["0.wav", "2.wav"]
    assert [voice.name for voice in engine(Path("list.txt")).voices()] == ["1.wav"]


def test_a_changed_recording_is_another_version(tmp_path: Path, speech: Speech) -> None:
    before = engine(folder_of(tmp_path, speech, 3.0)).version
    assert engine(tmp_path).version == before
    sf.write(tmp_path / "0.wav", speech(4.0, 1), 16_000)
    assert engine(tmp_path).version != before


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ("absent", "`files` is .*absent, which is neither a folder nor a list: put recordings there"),
        ("empty", "empty holds no audio files: put recordings there"),
        ("gone.csv", r"gone\.csv names .*gone\.wav, which is not a file: correct it"),
        ("short", "no file in .*short can be cut into two pieces: give longer recordings"),
    ],
)
@pytest.mark.filterwarnings("ignore::intervox.errors.IntervoxWarning")
def test_files_that_cannot_be_used_are_refused(
    files: str, complaint: str, tmp_path: Path, speech: Speech
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "short").mkdir()
    folder_of(tmp_path / "short", speech, 0.5, 0.5)
    (tmp_path / "gone.csv").write_text("path\ngone.wav\n")
    with pytest.raises(IntervoxError, match=complaint):
        engine(tmp_path / files).voices()


@pytest.mark.filterwarnings("ignore::intervox.errors.IntervoxWarning")
def test_more_voices_than_files_are_refused(tmp_path: Path, speech: Speech) -> None:
    with pytest.raises(IntervoxError, match="2 files were asked for, but 1 in .*: lower `voices`"):
        engine(folder_of(tmp_path, speech, 3.0, 1.0), voices=2).voices()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"min_seconds": 2, "max_seconds": 3}, "max_seconds: give at least twice min_seconds"),
        ({"min_seconds": 0}, "min_seconds"),
        ({"splits": ["train", "test"]}, "splits: without labels nothing can be measured"),
        ({"blocks": 0}, "blocks"),
    ],
)
def test_bad_settings_name_the_field(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        UnlabelledSettings.model_validate({"name": "unlabelled", "files": "a"} | settings)


def test_unlabelled_recordings_alone_are_refused() -> None:
    with pytest.raises(ValidationError, match="add an engine that speaks"):
        CorpusRecipe.model_validate({"engines": [{"name": "unlabelled", "files": "a"}]})
