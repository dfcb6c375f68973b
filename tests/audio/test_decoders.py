"""Decoder objects of ``datasets`` as clips."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from intervox.audio import load_audio
from intervox.audio.decoders import decoded, is_decoder
from intervox.errors import IntervoxError
from tests.conftest import Speech


class Decoder:
    """Like torchcodec's ``AudioDecoder``."""

    def __init__(self, data: torch.Tensor, sample_rate: int) -> None:
        self.samples = SimpleNamespace(data=data, sample_rate=sample_rate)

    def get_all_samples(self) -> SimpleNamespace:
        return self.samples


def test_a_decoder_gives_what_its_clip_gives(speech: Speech) -> None:
    wave = speech(1.0, 0)
    source = Decoder(torch.tensor(np.stack([wave, wave])), 8_000)
    assert is_decoder(source)
    assert not is_decoder(wave)
    samples, rate = decoded(source)
    assert samples.shape == (16_000, 2)
    np.testing.assert_array_equal(load_audio((samples, rate)), load_audio((wave, 8_000)))


def test_what_it_cannot_decode_is_one_sentence() -> None:
    class Broken(Decoder):
        def get_all_samples(self) -> SimpleNamespace:
            raise RuntimeError("Could not push packet.\nmore")

    with pytest.raises(IntervoxError, match=r"a Broken can't be decoded \(Could not push packet\)"):
        decoded(Broken(torch.zeros(1, 8), 16_000))
