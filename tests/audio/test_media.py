"""M4A, AAC, WebM and AMR, through PyAV and through a program."""

import contextlib
import io
import os
import shutil
import stat
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intervox.audio import AUDIO_SUFFIXES, duration_seconds, load_audio, stream_audio
from intervox.errors import IntervoxError, IntervoxWarning
from tests.support.sounds import MEDIA_KINDS, encoded, voiced

av = pytest.importorskip("av", reason="needs intervox[media]")

WAVE = voiced(3.0)
DELAY = 1_500
"""Samples that an encoder may put before the sound."""


def media(kind: str) -> bytes:
    if MEDIA_KINDS[kind][1] not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {MEDIA_KINDS[kind][1]}")
    return encoded(kind, WAVE)


def likeness(wave: np.ndarray) -> float:
    """Correlate with what was encoded, at the best delay."""
    long = WAVE[1_000:40_000].astype(float)
    shifted = (wave[1_000 + delay :][: len(long)] for delay in range(DELAY))
    return max(float(np.corrcoef(part, long)[0, 1]) for part in shifted)


@pytest.mark.parametrize("kind", sorted(MEDIA_KINDS))
def test_media_files_are_what_was_encoded(kind: str, tmp_path: Path) -> None:
    data = media(kind)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    assert path.suffix in AUDIO_SUFFIXES
    wave = load_audio(path, strict=True)
    assert 3.0 <= len(wave) / 16_000 < 3.2
    assert likeness(wave) > (0.6 if kind == "amr" else 0.99)
    assert duration_seconds(path) == pytest.approx(3.0, abs=0.2)
    with path.open("rb") as file:
        for source in (data, io.BytesIO(data), file):
            np.testing.assert_array_equal(load_audio(source), wave)
    blocks = list(stream_audio(path, 0.5))
    assert max(map(len, blocks)) < 1.5 * 8_000
    np.testing.assert_allclose(np.concatenate(blocks), wave, atol=1e-6)


@pytest.mark.parametrize(("layout", "channels"), [("stereo", 2), ("5.1", 6), ("7.1", 8)])
def test_channels_of_a_film_are_averaged(layout: str, channels: int) -> None:
    buffer = io.BytesIO()
    samples = np.tile((WAVE * 32767).astype(np.int16)[:, None], (1, channels))
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=16_000, layout=layout, bit_rate=64_000 * channels)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    assert likeness(load_audio(buffer.getvalue())) > 0.97


@pytest.mark.parametrize("kind", ["aac", "amr", "webm"])
def test_a_cut_media_file_is_read_as_far_as_it_goes(kind: str) -> None:
    data = media(kind)
    with pytest.warns(IntervoxWarning, match="the rest is missing"):
        wave = load_audio(data[: len(data) // 2 + 1])
    assert 1.2 < len(wave) / 16_000 < 1.8
    with pytest.raises(IntervoxError, match="the rest is missing; copy or record the file again"):
        load_audio(data[: len(data) // 2 + 1], strict=True)


@pytest.mark.parametrize("kind", sorted(MEDIA_KINDS))
def test_a_program_reads_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("no program ffmpeg here")
    path = tmp_path / f"a.{kind}"
    path.write_bytes(media(kind))
    expected = load_audio(path)
    monkeypatch.setitem(sys.modules, "av", None)
    for source in (path, path.read_bytes()):
        wave = load_audio(source)
        assert abs(len(wave) - len(expected)) < 1_600
        np.testing.assert_allclose(wave[: len(expected)], expected[: len(wave)], atol=1e-3)
    assert duration_seconds(path) == pytest.approx(3.0, abs=0.2)
    path.write_bytes(b"\x1aE\xdf\xa3 this is no WebM")
    with pytest.raises(IntervoxError, match=r"can't be read as audio \(.+\): give a WAV"):
        load_audio(path)


FAKE = """#!{python}
import struct, sys
assert sys.argv[-2:] == ["au", "pipe:1"] and "protocol_whitelist" in " ".join(sys.argv)
assert open(sys.argv[sys.argv.index("-i") + 1].removeprefix("file:"), "rb").read(4) == b"\\x1aE\\xdf\\xa3"
sys.stderr.write("Input #0, matroska,webm, from 'x':\\n  Duration: 00:00:02.00, start: 0\\n")
out = sys.stdout.buffer
out.write(struct.pack(">4s5I", b".snd", 28, 0xFFFFFFFF, 6, 16000, 2) + bytes(4))
out.write(struct.pack(">2f", 0.5, 0.25) * {frames})
"""


@pytest.mark.parametrize("frames", [32_000, 16_000])
def test_a_program_is_read_as_it_writes(frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for ffmpeg that writes stereo, and says at first how long it is."""
    monkeypatch.setitem(sys.modules, "av", None)
    program = tmp_path / "ffmpeg"
    program.write_text(FAKE.format(python=sys.executable, frames=frames))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    clip = io.BytesIO(b"\x1aE\xdf\xa3 anything")
    if frames == 32_000:
        np.testing.assert_array_equal(load_audio(clip, strict=True), np.full(frames, 0.375, np.float32))
    else:
        with pytest.warns(IntervoxWarning, match=r"ends after 1\.0 of 2\.0 s"):
            load_audio(clip)


def test_without_ffmpeg_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(media("m4a"))
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        with pytest.raises(IntervoxError, match=r"needs FFmpeg to be read: pip install .*\[media\]'?, or"):
            load_audio(source)
    assert duration_seconds(path) == 0.0
    path.write_bytes(encoded("wav", WAVE))  # a wrong suffix is no obstacle
    assert len(load_audio(path)) == len(WAVE)


def test_a_playlist_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret.m4a").write_bytes(media("m4a"))
    path = tmp_path / "list.m4a"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.m4a\n#EXT-X-ENDLIST\n")
    with pytest.raises(IntervoxError, match="can't be read as audio"):
        load_audio(path)


def test_a_film_without_sound_says_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
            output.mux(packet)
    with pytest.raises(IntervoxError, match="holds no sound"):
        load_audio(tmp_path / "a.mp4")


def test_a_damaged_alac_file_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """libsndfile would, to standard output."""
    buffer = io.BytesIO()
    sf.write(buffer, WAVE, 16_000, format="CAF", subtype="ALAC_16")
    data = buffer.getvalue()
    np.testing.assert_allclose(load_audio(data)[:44_000], WAVE[:44_000], atol=1e-4)  # a last frame apart
    for place in range(200, len(data), 997):
        with contextlib.suppress(IntervoxError), warnings.catch_warnings(action="ignore"):
            load_audio(data[:place] + bytes(8) + data[place + 8 :])
    assert capfd.readouterr() == ("", "")
