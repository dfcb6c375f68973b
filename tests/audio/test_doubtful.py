"""Sound that was once misread without a word: each is read right, or refused by name."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr

from intervox.audio import SAMPLE_RATE, duration_seconds, load_audio, resample_chunks, stream_audio
from intervox.audio.headers import find_data_chunk
from intervox.errors import IntervoxError, IntervoxWarning
from tests.support.sounds import SNDFILE_KINDS, encoded, riff, voiced

WAVE = voiced()
PCM = (WAVE * 32767).astype("<i2")


def everywhere(data: bytes, folder: Path) -> list[Any]:
    """Give the same file as a path, bytes and an open file that was read before."""
    path = folder / "a.wav"
    path.write_bytes(data)
    opened = io.BytesIO(data)
    opened.read(20)
    return [path, data, opened]


def live(wave: np.ndarray, size: int = 160) -> np.ndarray:
    return np.concatenate(list(resample_chunks(np.split(wave, range(size, len(wave), size)), SAMPLE_RATE)))


@pytest.mark.parametrize("size", [0, 2**32 - 1, 0x7FFFF000, 2**31])
@pytest.mark.parametrize("riff_size", [0, 36, 2**32 - 1])
def test_a_header_that_nobody_finished_hides_no_sound(tmp_path: Path, size: int, riff_size: int) -> None:
    expected = load_audio(riff(PCM))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a stream's header promises nothing
        for source in everywhere(riff(PCM, riff_size=riff_size, data_size=size), tmp_path):
            np.testing.assert_array_equal(load_audio(source), expected)
            np.testing.assert_array_equal(np.concatenate(list(stream_audio(source))), expected)
    assert duration_seconds(tmp_path / "a.wav") == 2.0


def test_a_wav_file_without_sound_but_with_other_chunks_is_empty() -> None:
    clip = riff(PCM[:0]) + b"LIST\x04\0\0\0INFO"
    with pytest.raises(IntervoxError, match="is empty"):
        load_audio(clip[:4] + (len(clip) - 8).to_bytes(4, "little") + clip[8:])


@pytest.mark.parametrize("kind", sorted(SNDFILE_KINDS))
def test_a_cut_file_is_read_as_far_as_it_goes(kind: str, tmp_path: Path) -> None:
    data = encoded(kind, voiced(8.0))
    whole = load_audio(data, strict=True)
    for source in everywhere(data[: len(data) * 3 // 4], tmp_path):
        with pytest.warns(IntervoxWarning, match=r"(ends after|is cut off or damaged after) \d\.\d"):
            wave = load_audio(source)
        assert 0.4 < len(wave) / len(whole) < 0.85
        # A codec's last frame lacks what the next would add to it.
        kept = len(wave) - 2_000
        np.testing.assert_allclose(wave[:kept], whole[:kept], atol=1e-3)
        with pytest.raises(IntervoxError, match=r"the rest is missing; copy or record the file again"):
            load_audio(source, strict=True)
        with pytest.raises(IntervoxError, match=r"the rest is missing"):
            list(stream_audio(source, strict=True))


def test_how_much_is_missing_is_said() -> None:
    with pytest.warns(IntervoxWarning, match=r"ends after 2\.0 of 4\.0 s: the rest is missing"):
        load_audio(riff(PCM, data_size=4 * len(PCM)))


def test_flac_of_unknown_length_is_read_to_its_end() -> None:
    data = bytearray(encoded("flac", WAVE))
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # the number of samples in STREAMINFO
    np.testing.assert_array_equal(load_audio(bytes(data), strict=True), load_audio(encoded("flac", WAVE)))


@pytest.mark.parametrize("gain", [-1.0, -0.9, -0.6])
def test_channels_that_cancel_give_the_louder_one(gain: float) -> None:
    stereo = np.stack([WAVE, np.float32(gain) * WAVE], 1)
    np.testing.assert_array_equal(load_audio(stereo), WAVE)
    np.testing.assert_array_equal(load_audio(riff(stereo)), WAVE)
    np.testing.assert_array_equal(np.concatenate(list(stream_audio(riff(stereo), 0.1))), WAVE)
    np.testing.assert_array_equal(live(stereo), WAVE)


def test_four_channels_that_cancel_give_the_loudest() -> None:
    channels = np.stack([WAVE, -WAVE, 1.2 * WAVE, -1.2 * WAVE], 1).astype(np.float32)
    np.testing.assert_allclose(np.abs(load_audio(channels)), 1.2 * np.abs(WAVE), atol=1e-6)


def test_other_channels_are_averaged() -> None:
    other = voiced(3.0)[-len(WAVE) :]
    for second in (WAVE, np.zeros_like(WAVE), other, -0.3 * WAVE):
        stereo = np.stack([WAVE, second], 1)
        for wave in (load_audio(stereo), live(stereo)):
            np.testing.assert_allclose(wave, stereo.mean(axis=1), atol=1e-6)
    wide = np.zeros((len(WAVE), 8), np.float32)
    wide[:, 3] = WAVE
    np.testing.assert_allclose(load_audio(wide), WAVE / 8, atol=1e-6)


def test_a_stream_changes_its_mind_once_where_the_phase_turns() -> None:
    """A minute of twins, a minute of opposites: the mix never vanishes for long, and doesn't flutter."""
    minute = np.tile(WAVE, 30)
    twins, opposites = np.stack([minute, minute], 1), np.stack([minute, -minute], 1)
    mixed = np.concatenate([live(np.concatenate([twins, opposites, twins]), 1_600)])
    silent = (np.abs(mixed).reshape(-1, 800).max(axis=1) < 1e-4).nonzero()[0]
    assert len(silent) < 20 * 30  # under half a minute until it is clear
    assert (np.diff(silent) == 1).all()


@pytest.mark.parametrize("scale", [32_767.0, 127.0, 2.0**31])
def test_floats_in_the_range_of_integers_are_refused(scale: float, tmp_path: Path) -> None:
    loud = WAVE / np.abs(WAVE).max() * np.float32(scale)
    for source in [loud, *everywhere(riff(loud), tmp_path)]:
        with pytest.raises(IntervoxError, match="divide floats by their scale, 32,768 for 16 bits"):
            load_audio(source)
    with pytest.raises(IntervoxError, match="a chunk of sound holds samples up to"):
        live(loud)


def test_floats_that_clip_somewhat_are_sound() -> None:
    loud = WAVE / np.abs(WAVE).max() * np.float32(7.9)
    np.testing.assert_array_equal(load_audio(riff(loud)), loud)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_small_numbers_in_large_integers_are_refused(dtype: Any) -> None:
    with pytest.raises(IntervoxError, match="in the range of 16 bits: give it as int16"):
        load_audio(PCM.astype(dtype))
    np.testing.assert_allclose(load_audio(PCM.astype(np.int32) << 16), WAVE, atol=1e-4)


@pytest.mark.parametrize("value", [1e24, -1e38])
def test_a_flipped_bit_is_damage(value: float, tmp_path: Path) -> None:
    wave = WAVE.copy()
    wave[5_000] = value
    for source in [wave, *everywhere(riff(wave), tmp_path)]:
        with pytest.raises(
            IntervoxError, match=r"is damaged, with samples up to 1e\+(24|38): write the file"
        ):
            load_audio(source)
    with pytest.raises(IntervoxError, match="is damaged"):
        live(wave)
    with pytest.raises(IntervoxError, match="NaN or infinite"):
        load_audio(np.full(16_000, 1e300))


@pytest.mark.parametrize("rate", [1, 100, 999, 768_001, 2**31 - 1])
def test_a_rate_of_no_recording_is_refused_before_anything_is_resampled(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soxr, "ResampleStream", None)  # calling it would end in another error
    for source in everywhere(riff(PCM, rate=rate), tmp_path):
        with pytest.raises(IntervoxError, match=f"sample rate {rate}: give it in Hz"):
            load_audio(source)
    assert duration_seconds(tmp_path / "a.wav") == 0.0


def test_a_clip_of_days_is_refused_and_a_stream_of_them_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intervox.audio.load.MAX_HOURS", 1.5 / 3600)
    with pytest.raises(IntervoxError, match=r"is longer than .* hours: cut it into clips"):
        load_audio(riff(PCM))
    assert sum(map(len, stream_audio(riff(PCM)))) == len(PCM)


class Failing(io.BytesIO):
    """A file on a disk that is unplugged."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 20_000:
            raise OSError("the disk is gone")
        return super().read(size)


def test_an_open_file_that_fails_is_no_shorter_clip() -> None:
    """What was read stands, and the rest is said to be missing, as of a file that is cut off."""
    with pytest.warns(IntervoxWarning, match=r"ends after 0\.\d of 2\.0 s"):
        load_audio(Failing(riff(PCM)))


class Pipe(io.BytesIO):
    """Something that can be read once, like a response from the web."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation("seek")


def test_what_can_be_read_once_is_a_clip() -> None:
    np.testing.assert_array_equal(load_audio(Pipe(riff(PCM))), load_audio(riff(PCM)))


@pytest.mark.parametrize("kind", ["w64", "rf64", "aiff", "au", "caf"])
@pytest.mark.parametrize("size", [0, -1])
def test_no_kind_of_unfinished_header_hides_sound(kind: str, size: int) -> None:
    data = bytearray(encoded(kind, WAVE))
    chunk = find_data_chunk(io.BytesIO(data))
    assert chunk is not None
    width = struct.calcsize(chunk.size_format)
    data[chunk.size_at : chunk.size_at + width] = (size % 256**width).to_bytes(width, "big")
    assert len(load_audio(bytes(data), strict=True)) == len(WAVE)


def test_a_table_of_thousands_of_chunks_is_no_sound() -> None:
    with pytest.raises(IntervoxError):
        load_audio(b"RIFF\xff\xff\xff\xffWAVE" + b"JUNK\0\0\0\0" * 100_000)


@pytest.mark.parametrize("form", ["MAT5", "SDS", "XI"])
def test_tables_and_instruments_are_no_sound(form: str) -> None:
    """libsndfile reads them, and prints to standard output what it makes of an SDS file."""
    buffer = io.BytesIO()
    sf.write(buffer, WAVE, SAMPLE_RATE, format=form, subtype="DPCM_16" if form == "XI" else "PCM_16")
    with pytest.raises(IntervoxError, match=r"can't be read as audio \(Format not recognised\): give a WAV"):
        load_audio(buffer.getvalue())


def test_a_text_in_utf_16_is_no_mp3_file() -> None:
    with pytest.raises(IntervoxError, match="Format not recognised"):
        load_audio("Dear Sir or Madam, ".encode("utf-16") * 1_000)
