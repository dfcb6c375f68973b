"""How a visitor's clips are read."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from intervox.audio import load_audio, stream_audio
from intervox.demo import visitors as clips
from intervox.demo.visitors import Limits, read_clip
from intervox.errors import IntervoxError
from tests.conftest import Speech

SHORT = Limits(megabytes=0.5, minutes=0.1)


def encoded(samples: Any, form: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, 16_000, format=form, subtype=subtype)
    return buffer.getvalue()


def noise(seconds: float) -> Any:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000))


BAD = {
    "no audio": (b"Dear Sir or Madam", "can't be read as audio"),
    "no bytes": (b"", "can't be read as audio"),
    "no samples": (encoded(np.zeros(0)), "is empty"),
    "silent": (encoded(np.zeros(16_000)), "is silent"),
    "not finite": (encoded(np.full(16_000, np.nan), subtype="FLOAT"), "NaN"),
    "truncated": (encoded(noise(2), "FLAC")[:20_000], "ends after 0.5 of 2.0 s: the rest is missing"),
    "too large": (encoded(noise(17)), "is larger than 0.5 MB"),
    "too long": (encoded(np.zeros(16_000 * 60), "FLAC"), "is longer than 6 seconds"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_clip_is_one_sentence_that_names_no_place(kind: str, tmp_path: Path) -> None:
    content, complaint = BAD[kind]
    (tmp_path / "clip.wav").write_bytes(content)
    with pytest.raises(IntervoxError, match=f"^the first clip .*{complaint}") as caught:
        read_clip(str(tmp_path / "clip.wav"), "the first clip", SHORT)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clip_that_is_missing_or_was_deleted_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="^the recording is missing: upload or record it$"):
        read_clip(None, "the recording", SHORT)
    with pytest.raises(IntervoxError, match="^the recording is no longer here: give it again$"):
        read_clip(str(tmp_path / "gone.wav"), "the recording", SHORT)


def test_decoding_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of silence is a small file: only its beginning is decoded."""
    sf.write(tmp_path / "long.flac", np.zeros(16_000 * 600), 16_000)
    decoded = 0

    def counting(*arguments: Any, **options: Any) -> Iterator[Any]:
        nonlocal decoded
        for block in stream(*arguments, **options):
            decoded += len(block)
            yield block

    stream = stream_audio
    monkeypatch.setattr(clips, "stream_audio", counting)
    with pytest.raises(IntervoxError, match="longer than 1.5 minutes"):
        read_clip(str(tmp_path / "long.flac"), "the recording", Limits(minutes=1.5))
    assert decoded <= 16_000 * 120


def test_a_good_clip_is_read_as_everywhere(tmp_path: Path, speech: Speech) -> None:
    sf.write(tmp_path / "clip.wav", np.stack([speech(1.0, 1), speech(1.0, 2)], axis=1), 44_100)
    read = read_clip(str(tmp_path / "clip.wav"), "the first clip", SHORT)
    np.testing.assert_array_equal(read, load_audio(tmp_path / "clip.wav"))


def test_what_needs_ffmpeg_is_refused_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "find_spec", lambda _: None)
    monkeypatch.setattr(clips, "which", lambda _: None)
    (tmp_path / "clip.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(IntervoxError, match="^the voice is of a kind .* give WAV, FLAC, OGG or MP3$"):
        read_clip(str(tmp_path / "clip.m4a"), "the voice", SHORT)
