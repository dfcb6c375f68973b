import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from intervox.audio import (
    SAMPLE_RATE,
    duration_seconds,
    encode_flac,
    load_audio,
    resample_chunks,
    stream_audio,
)
from intervox.audio.recording import BLOCK_SAMPLES
from intervox.audio.sources import open_source
from intervox.errors import IntervoxError


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_any_rate_and_depth_becomes_the_same_tone(tmp_path: Path, rate: int, subtype: str) -> None:
    sf.write(tmp_path / "a.wav", tone(rate), rate, subtype=subtype)
    wave = load_audio(tmp_path / "a.wav")
    assert wave.dtype == np.float32
    assert abs(len(wave) - SAMPLE_RATE) <= 1
    # Away from the ends, where the resampler's filter has no signal, the tone is the tone.
    expected = tone(SAMPLE_RATE)[1000:15000]
    assert np.abs(wave[1000:15000] - expected).max() < 2e-3


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(16_000), np.zeros(16_000, np.float32)
    sf.write(tmp_path / "a.wav", np.stack([left, right], 1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), left / 2, atol=1e-7)


def test_every_kind_of_source_gives_the_same_wave(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encode_flac(tone(16_000)))
    wave = load_audio(path)
    data = path.read_bytes()
    tensor = torch.from_numpy(wave)
    encoded = (data, bytearray(data), memoryview(data), io.BytesIO(data))
    for source in (str(path), *encoded, wave, tensor, tensor.requires_grad_(), (wave, 16_000)):
        np.testing.assert_array_equal(load_audio(source), wave)  # type: ignore[arg-type]
    integers = (wave * 32767).astype(np.int16)
    np.testing.assert_allclose(load_audio(integers), wave, atol=1e-4)
    brain: Any = torch.from_numpy(wave).bfloat16()
    np.testing.assert_allclose(load_audio(brain), wave, atol=4e-3)


def test_blocks_stay_small_whatever_the_rate_and_the_channels(tmp_path: Path) -> None:
    """The real hour is in test_bad_input; here: no block exceeds what the module promises."""
    sf.write(tmp_path / "wide.wav", np.tile(tone(96_000, 10.0)[:, None], (1, 16)), 96_000)
    blocks = list(open_source(tmp_path / "wide.wav").blocks(30.0))
    assert max(block.size for block in blocks) <= 1.1 * BLOCK_SAMPLES
    assert abs(len(load_audio(tmp_path / "wide.wav")) - 10 * 16_000) <= 1


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0), "is empty"),
        (np.ones(1), "too short"),
        (np.zeros(16_000), "is silent"),
        (np.full(16_000, np.nan), "NaN"),
        (np.full(16_000, np.inf), "NaN or infinite"),
    ],
)
def test_what_no_embedding_describes_is_refused(tmp_path: Path, samples: np.ndarray, reason: str) -> None:
    path = tmp_path / "bad.wav"
    sf.write(path, samples.astype(np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(IntervoxError, match=reason) as caught:
        load_audio(path)
    assert str(path) in str(caught.value)


def test_undecodable_missing_and_misshapen_sources_say_so(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is not audio")
    with pytest.raises(IntervoxError, match=r"text\.wav can't be read as audio"):
        load_audio(tmp_path / "text.wav")
    with pytest.raises(IntervoxError, match="is not a file"):
        load_audio(tmp_path / "absent.wav")
    with pytest.raises(IntervoxError, match="transpose"):
        load_audio(np.zeros((2, 16_000), np.float32))
    with pytest.raises(IntervoxError, match="give numbers"):
        load_audio(np.array(["a", "b"]))


def test_a_path_is_as_long_as_the_system_allows(tmp_path: Path, wav: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 2_000:
        folder /= "x" * 200
    folder.mkdir(parents=True)
    shutil.copy(wav, folder / "a.wav")
    assert (load_audio(folder / "a.wav") == load_audio(wav)).all()


def test_duration_of_an_unreadable_file_is_zero(tmp_path: Path, wav: Path) -> None:
    assert duration_seconds(wav) == 1.0
    assert duration_seconds(tmp_path / "absent.wav") == 0.0


def test_sphere_files_are_read_unless_shorten_compressed_them(tmp_path: Path) -> None:
    path = tmp_path / "an251-fash-b.sph"
    wave = 0.1 * np.random.default_rng(0).normal(size=16_000)
    sf.write(path, wave, 16_000, format="NIST", subtype="PCM_16")
    assert np.abs(load_audio(path) - wave).max() < 1e-4
    plain = path.read_bytes()
    header = plain[:1024].replace(b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00")
    path.write_bytes(header[:1024] + b"ajkg" + plain[1028:])
    with pytest.raises(IntervoxError, match=r"an251-fash-b.sph can't be read as audio \(.*\): give a WAV"):
        load_audio(path)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_stream_is_the_clip_in_pieces(tmp_path: Path, rate: int) -> None:
    sf.write(tmp_path / "a.wav", tone(rate, 3.3), rate, subtype="FLOAT")
    wave = load_audio(tmp_path / "a.wav")
    blocks = list(stream_audio(tmp_path / "a.wav", 0.5))
    np.testing.assert_allclose(np.concatenate(blocks), wave, atol=1e-6)
    assert max(len(block) for block in blocks) <= 1.5 * 0.5 * SAMPLE_RATE
    array = list(stream_audio(wave, 0.5))
    assert [len(block) for block in array[:-1]] == [8_000] * (len(array) - 1)
    np.testing.assert_array_equal(np.concatenate(array), wave)


def test_a_stream_may_be_silent_but_not_broken(tmp_path: Path) -> None:
    assert sum(len(block) for block in stream_audio(np.zeros(20_000, np.float32))) == 20_000
    broken = np.zeros(20_000, np.float32)
    broken[-1] = np.nan
    stream = stream_audio(broken, 1.0)
    assert len(next(stream)) == 16_000
    with pytest.raises(IntervoxError, match="NaN"):
        next(stream)
    with pytest.raises(IntervoxError, match="too short"):
        list(stream_audio(np.zeros(9, np.float32)))
    with pytest.raises(IntervoxError, match="is not a file"):
        list(stream_audio(tmp_path / "none.wav"))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_chunks_of_any_length_are_resampled_as_one(rate: int) -> None:
    wave = tone(rate, 2.0)
    cuts = np.cumsum(np.random.default_rng(0).integers(0, 3_000, 100))
    stereo = [np.stack([part, part], 1) for part in np.split(wave, cuts[cuts < len(wave)])]
    joined = np.concatenate(list(resample_chunks(stereo, rate)))
    expected = load_audio((wave, rate))
    assert abs(len(joined) - len(expected)) <= 1
    np.testing.assert_allclose(joined[1000:31000], expected[1000:31000], atol=2e-3)
    integers = list(resample_chunks([(wave * 32767).astype(np.int16)], rate))
    np.testing.assert_allclose(np.concatenate(integers)[1000:31000], expected[1000:31000], atol=2e-3)


def test_bad_chunks_are_refused() -> None:
    with pytest.raises(IntervoxError, match="NaN"):
        list(resample_chunks([np.full(10, np.nan, np.float32)], 16_000))
    with pytest.raises(IntervoxError, match="sample rate 0"):
        list(resample_chunks([], 0))
    with pytest.raises(IntervoxError, match="a chunk of sound has shape"):
        list(resample_chunks([np.array(["a"])], 16_000))


@pytest.mark.parametrize("rate", [True, 16, 0, -8_000, 48_000.5, np.nan, np.inf, 2**31 - 1, "16000", None])
def test_what_is_no_rate_in_hz_is_refused(rate: Any) -> None:
    with pytest.raises(IntervoxError, match="give it in Hz, as a whole number from 1,000 to 768,000"):
        load_audio((tone(16_000), rate))
    with pytest.raises(IntervoxError, match="give it in Hz"):
        next(resample_chunks([tone(16_000)], rate))


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, np.int32])
def test_a_whole_rate_may_be_of_any_type(kind: Any) -> None:
    wave = tone(48_000)
    np.testing.assert_array_equal(load_audio((wave, kind(48_000))), load_audio((wave, 48_000)))
    assert len(np.concatenate(list(resample_chunks([wave], kind(48_000))))) == pytest.approx(16_000, abs=1)


@pytest.mark.parametrize("source", [[[1, 2], [3]], (np.zeros(9),), (np.zeros(9), 16_000, 1), None, 5, ""])
def test_what_is_no_sound_is_refused(source: Any, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError):
        load_audio(source)
    (tmp_path / "a.txt").write_text("a")
    with (tmp_path / "a.txt").open() as file, pytest.raises(IntervoxError, match="open it with 'rb'"):
        load_audio(file)  # type: ignore[arg-type]


def test_a_row_without_sound_is_refused() -> None:
    with pytest.raises(IntervoxError, match="a mapping with the keys text is not a clip"):
        load_audio({"text": "yes"})
    with pytest.raises(IntervoxError, match="a mapping with the keys path, bytes"):
        load_audio({"path": None, "bytes": None})


def test_a_file_that_may_not_be_read_is_no_system_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root every file can be read: ``open`` refuses as the system would refuse others."""
    sf.write(tmp_path / "a.wav", tone(16_000), 16_000)

    def refuse(path: str, *_arguments: Any) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(IntervoxError, match=r"a\.wav can't be read \(permission denied\): allow it"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a\0b.wav", "x" * 5000, ""])
def test_what_can_be_no_path_is_refused(name: str) -> None:
    with pytest.raises(IntervoxError) as raised:
        load_audio(name)
    assert "\0" not in str(raised.value)


def test_reading_sound_needs_little() -> None:
    code = "import sys, intervox.audio; print({'scipy', 'torch', 'pyarrow', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
