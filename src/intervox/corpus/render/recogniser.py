"""A listener for renditions: the bundled Whisper tiny.en, on one thread, without PyTorch.

It says which words are heard (the transcript), and how much the sound speaks for the text that should
be there (the evidence), by far the better check: ``docs/quality.md`` has the figures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from threadpoolctl import threadpool_limits

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.bundled import TINY_EN
from intervox.errors import missing_extra

BATCH = 16
MIN_SECONDS, MAX_SECONDS = 5, 30
"""Length that a clip is padded to, in whole seconds. Whisper knows 30; words need five."""

_START, _NO_TIMESTAMPS, _FIRST_SPECIAL = 50257, 50362, 50256
_TOKENS_PER_SECOND = 8
_MAX_TOKENS = 200
_FLOOR = 1e-10
_BINS, _WINDOW, _HOP = 80, 400, 160

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Hearing:
    """What the recogniser makes of one clip.

    Attributes
    ----------
    transcript
        Greedy reading; empty where nothing is heard.
    evidence
        Mean over the tokens of the expected text of ln p(token | clip) - ln p(token | noise), in
        nats, each given the tokens before it. About 0 where the clip has nothing to do with the
        text, 3 to 8 where it says it.
    """

    transcript: str
    evidence: float


class Recogniser:
    """Whisper tiny.en (English only) by CTranslate2 in float32.

    A clip's result does not depend on the clips beside it: its padding follows from its own length,
    and int8, a third faster, would let its rounding move the evidence by 0.08 from batch to batch.
    Whatever exceeds 29 s is not heard.

    Raises
    ------
    IntervoxError
        The extra ``quality`` is not installed, or a file of its wheel is damaged.
    """

    def __init__(self) -> None:
        purpose = "the recogniser that reads renditions back"
        try:
            import ctranslate2
            from tokenizers import Tokenizer
        except ImportError as error:
            raise missing_extra(error.name or "ctranslate2", "quality", purpose) from None
        paths = [file.find("quality", purpose) for file in TINY_EN]
        folder = paths[0].parent
        self._view = ctranslate2.StorageView
        self._tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._model = ctranslate2.models.Whisper(
            str(folder), device="cpu", compute_type="float32", intra_threads=1, inter_threads=1
        )
        self._noise: dict[int, Features] = {}
        self._prior: dict[tuple[str, int], Features] = {}

    def listen(self, waves: Sequence[Waveform], texts: Sequence[str]) -> list[Hearing]:
        """Write down what is heard in each clip, and weigh the text that should be there.

        Parameters
        ----------
        waves
            English speech, in any order and of any lengths.
        texts
            What each clip should say.
        """
        result: list[Hearing] = [Hearing("", 0.0)] * len(waves)
        # One thread, as each worker is one process; and a sum's rounding then has one order.
        with threadpool_limits(1):
            for indices, seconds in _batches(waves):
                encoded = self._encode([waves[index] for index in indices], seconds)
                chosen = [_as_written(texts[index]) for index in indices]
                heard = self._read(encoded, len(indices), seconds)
                given = self._log_probabilities(encoded, chosen, seconds)
                prior = self._without_clip(chosen, seconds)
                for index, text, with_clip, without in zip(indices, heard, given, prior, strict=True):
                    result[index] = Hearing(text, round(float(np.mean(with_clip - without)), 3))
        return result

    def _encode(self, waves: Sequence[Waveform], seconds: int) -> Any:
        features = np.stack([log_mel(wave, seconds * SAMPLE_RATE) for wave in waves])
        return self._model.encode(self._view.from_array(features))

    def _read(self, encoded: Any, count: int, seconds: int) -> list[str]:
        prompts = [[_START, _NO_TIMESTAMPS]] * count
        longest = _TOKENS_PER_SECOND * seconds
        outputs = self._model.generate(encoded, prompts, beam_size=1, max_length=longest)
        kept = [[token for token in out.sequences_ids[0] if token < _FIRST_SPECIAL] for out in outputs]
        return [self._tokens.decode(tokens).strip() for tokens in kept]

    def _log_probabilities(self, encoded: Any, texts: Sequence[str], seconds: int) -> list[Features]:
        """Return ln p of each token of the texts, shape (tokens,) each."""
        tokens = [self._tokens.encode(text, add_special_tokens=False).ids[:_MAX_TOKENS] for text in texts]
        frames = seconds * SAMPLE_RATE // _HOP
        aligned = self._model.align(encoded, [_START, _NO_TIMESTAMPS], tokens, frames)
        return [np.log(np.maximum(np.float32(one.text_token_probs), _FLOOR)) for one in aligned]

    def _without_clip(self, texts: Sequence[str], seconds: int) -> list[Features]:
        """Score the texts against noise: what the decoder expects unheard. Kept for the next voice."""
        new = list(dict.fromkeys(text for text in texts if (text, seconds) not in self._prior))
        if new:
            if seconds not in self._noise:
                noise = np.random.default_rng(0).normal(0, 1e-3, seconds * SAMPLE_RATE).astype(np.float32)
                self._noise[seconds] = np.array(self._encode([noise], seconds))
            encoded = self._view.from_array(np.repeat(self._noise[seconds], len(new), axis=0))
            for text, scores in zip(new, self._log_probabilities(encoded, new, seconds), strict=True):
                self._prior[text, seconds] = scores
        return [self._prior[text, seconds] for text in texts]


def log_mel(wave: Waveform, samples: int) -> Features:
    """Compute Whisper's input: log10 mel energies, 80 bins every 10 ms, shape (80, frames).

    The clip is padded with zeros, or cut, to ``samples``. ``transformers.WhisperFeatureExtractor``
    gives the same values but imports PyTorch, 300 MB in every worker.
    """
    clip = np.zeros(samples, np.float32)
    clip[: len(wave)] = wave[:samples]
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(clip, _WINDOW // 2, mode="reflect"), _WINDOW)
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    power = np.abs(fft.rfft(framed[:-1:_HOP] * window, axis=1)) ** 2
    logs = np.log10(np.maximum(power @ _mel_filters(), 1e-10))
    return np.ascontiguousarray(((np.maximum(logs, logs.max() - 8) + 4) / 4).T, np.float32)


@lru_cache(maxsize=1)
def _mel_filters() -> Features:
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        _WINDOW // 2 + 1, _BINS, 0, SAMPLE_RATE / 2, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return np.asarray(bank, np.float32)


def _as_written(text: str) -> str:
    """Put a text as the recogniser would: a space, a capital, a full stop."""
    bare = text.strip().rstrip(".")
    return f" {bare[:1].upper()}{bare[1:]}" + ("" if bare.endswith(("?", "!")) else ".")


def _batches(waves: Sequence[Waveform]) -> Iterator[tuple[list[int], int]]:
    """Yield indices of clips that are padded to the same length, and that length in seconds."""
    lengths: dict[int, list[int]] = {}
    for index, wave in enumerate(waves):
        seconds = -(-len(wave) // SAMPLE_RATE) + 1
        lengths.setdefault(min(max(seconds, MIN_SECONDS), MAX_SECONDS), []).append(index)
    for seconds, indices in lengths.items():
        for start in range(0, len(indices), BATCH):
            yield indices[start : start + BATCH], seconds
