"""Checks on one rendition: is it whole, does it say its text, is it its voice?

The clip is judged before any condition is put on it, since conditions are meant to harm it.
``docs/quality.md`` has the formulas and what each check finds and misses.
"""

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.clips.labels import PIECE, normalise_text
from intervox.clips.schema import QUALITY_FIELDS
from intervox.errors import missing_extra
from intervox.recipe.corpus import QualitySettings

FRAME = SAMPLE_RATE // 50
SILENT_DB = -50.0
"""A frame of 20 ms is silent this far below the loudest one."""

CLIPPED_RUN = 3
_AT_PEAK = 1 - 1e-4
_NOT_PHONES = str.maketrans("", "", "ˈˌː,.!?;: ")


@dataclass(frozen=True)
class Signal:
    """Measures of a waveform.

    Attributes
    ----------
    clipped_share
        Share of samples in runs of three or more at the peak, in [0, 1].
    silent_share
        Share of 20 ms frames that are silent, in [0, 1].
    leading_silence, trailing_silence
        Seconds before the first and after the last frame that is not silent.
    crest_db
        Peak over root mean square in dB: about 3 for a sine, 12 for noise, 13 to 25 for speech.
    dc_offset
        Mean over peak, in [-1, 1].
    """

    clipped_share: float
    silent_share: float
    leading_silence: float
    trailing_silence: float
    crest_db: float
    dc_offset: float


@dataclass(frozen=True)
class Verdict(Signal):
    """Everything that was measured on one rendition; None where a measure does not apply.

    Attributes
    ----------
    seconds_per_character
        Length without the silence at its edges, over the letters and digits of the text.
    evidence
        ``recogniser.Hearing.evidence`` of the text, in nats a token.
    cer, wer, per
        Edits over the length of the reference, in characters, words and phonemes; may exceed 1.
    voice_distance
        Cosine distance to the centroid of the voice, in [0, 2].
    transcript
        What the recogniser heard.
    reason
        Why the rendition is refused, or None for a good one.
    """

    seconds_per_character: float | None = None
    evidence: float | None = None
    cer: float | None = None
    wer: float | None = None
    per: float | None = None
    voice_distance: float | None = None
    transcript: str | None = None
    reason: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the values of ``QUALITY_FIELDS``."""
        return {field.name: getattr(self, field.name) for field in QUALITY_FIELDS}


def judge(
    wave: Waveform,
    text: str,
    kind: str,
    language: str,
    settings: QualitySettings,
    transcript: str | None,
    voice_distance: float | None,
    evidence: float | None = None,
) -> Verdict:
    """Measure a rendition and hold it against the recipe's thresholds.

    Parameters
    ----------
    wave
        Finite samples, not empty.
    text, kind, language
        What it should say: the text, its kind (``word``, ``pseudo-word``, ...), its BCP 47 tag. The text
        of a ``piece`` is a place, which nobody says.
    settings
        The thresholds.
    transcript, evidence
        From ``Recogniser.listen``; None where nobody listened.
    voice_distance
        From the casting's speaker space; None without one.
    """
    signal = measure_signal(wave)
    spoken = len(wave) / SAMPLE_RATE - signal.leading_silence - signal.trailing_silence
    characters = 0 if kind == PIECE else sum(sign.isalnum() for sign in text)
    errors: dict[str, Any] = {}
    if transcript is not None:
        # A recogniser can know no spelling of a pseudo-word.
        errors = reading_errors(text, transcript, language, spelt=kind != "pseudo-word")
    measured = Verdict(
        **asdict(signal),
        **errors,
        seconds_per_character=max(spoken, 0.0) / characters if characters else None,
        evidence=evidence,
        voice_distance=voice_distance,
        transcript=transcript,
    )
    return replace(measured, reason=_reason(measured, text, settings))


def measure_signal(wave: Waveform) -> Signal:
    """Measure a waveform in about a tenth of a millisecond a second; see ``Signal``."""
    level = np.abs(wave)
    peak = float(level.max())
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    if peak == 0:
        return Signal(0.0, 1.0, len(wave) / SAMPLE_RATE, 0.0, 0.0, 0.0)
    loud = np.flatnonzero(_frame_power(wave) > _frame_power(wave).max() * 10 ** (SILENT_DB / 10))
    frames = -(-len(wave) // FRAME)
    return Signal(
        clipped_share=_clipped_samples(level >= peak * _AT_PEAK) / len(wave),
        silent_share=1 - len(loud) / frames,
        leading_silence=float(loud[0]) * FRAME / SAMPLE_RATE,
        trailing_silence=max(len(wave) - (int(loud[-1]) + 1) * FRAME, 0) / SAMPLE_RATE,
        crest_db=float(20 * np.log10(peak / rms)),
        dc_offset=float(np.mean(wave, dtype=np.float64)) / peak,
    )


def reading_errors(text: str, transcript: str, language: str, spelt: bool = True) -> dict[str, float | None]:
    """Compare an English transcript with the text: ``cer``, ``wer`` and ``per``.

    Both are normalised as Whisper's own evaluation does it: case, punctuation, contractions, and
    numbers in digits. ``cer`` and ``wer`` are None for texts that are not ``spelt``, whose spelling
    cannot be expected; ``per`` compares what eSpeak NG would say for either.

    Raises
    ------
    IntervoxError
        The extra ``quality`` is not installed.
    """
    expected, heard = _in_digits(text), _in_digits(transcript)
    return {
        "cer": _edit_rate(expected, heard) if spelt else None,
        "wer": _edit_rate(expected.split(), heard.split()) if spelt else None,
        "per": _edit_rate(_phones(expected, language), _phones(heard, language)),
    }


def least_evidence(text: str, settings: QualitySettings) -> float | None:
    """Return the threshold for a text: ``min_evidence`` a word, up to three words.

    One word leaves room for chance, on either side; several words are heard for certain.
    """
    if settings.min_evidence is None:
        return None
    return settings.min_evidence * min(max(len(text.split()), 1), 3)


def _frame_power(wave: Waveform) -> NDArray[np.float32]:
    """Mean square of each 20 ms frame; the last one is filled up with zeros."""
    padded = np.pad(wave, (0, -len(wave) % FRAME)).reshape(-1, FRAME)
    return np.asarray(np.einsum("ij,ij->i", padded, padded) / FRAME, np.float32)


def _clipped_samples(at_peak: NDArray[np.bool_]) -> int:
    """Count the samples in runs of at least ``CLIPPED_RUN``."""
    edges = np.flatnonzero(np.diff(np.pad(at_peak, 1).astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= CLIPPED_RUN].sum())


def _edit_rate(expected: str | list[str], heard: str | list[str]) -> float | None:
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError:
        raise missing_extra("rapidfuzz", "quality", "comparing a transcript with its text") from None
    return Levenshtein.distance(expected, heard) / len(expected) if expected else None


@lru_cache(maxsize=1)
def _digit_normaliser() -> Any:
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


@lru_cache(maxsize=4096)
def _in_digits(text: str) -> str:
    return normalise_text(_digit_normaliser()(text))


def _phones(text: str, language: str) -> str:
    """Transcribe to IPA without stress, length and pauses."""
    from intervox.engines.phonemes import phonemise

    return phonemise(text, language).translate(_NOT_PHONES)


def _reason(verdict: Verdict, text: str, settings: QualitySettings) -> str | None:
    """Name the first measure beyond its threshold, its value and the threshold."""
    heard = f' (heard "{verdict.transcript}")'
    shortest, longest = settings.seconds_per_character
    limits: list[tuple[str, float | None, float | None, str]] = [
        ("silent_share", None, settings.max_silent_share, ""),
        ("clipped_share", None, settings.max_clipped_share, ""),
        ("seconds_per_character", shortest, longest, ""),
        ("evidence", least_evidence(text, settings), None, heard),
        ("cer", None, settings.max_cer, heard),
        ("per", None, settings.max_per, heard),
        ("voice_distance", None, settings.max_voice_distance, ""),
    ]
    for name, lowest, highest, remark in limits:
        value = getattr(verdict, name)
        if value is not None and lowest is not None and value < lowest:
            return f"{name} {value:.3g} < {lowest:g}{remark}"
        if value is not None and highest is not None and value > highest:
            return f"{name} {value:.3g} > {highest:g}{remark}"
    return None
