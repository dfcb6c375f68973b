"""The one place where a file, bytes or an array becomes a waveform: float32, mono, 16 kHz."""

from intervox.audio.files import AUDIO_SUFFIXES
from intervox.audio.limits import MIN_RATE, MIN_SAMPLES, SAMPLE_RATE, SILENCE, Waveform
from intervox.audio.load import (
    duration_seconds,
    encode_flac,
    load_audio,
    resample_chunks,
    stream_audio,
)
from intervox.audio.sources import ArrayLike, AudioSource

__all__ = [
    "AUDIO_SUFFIXES",
    "MIN_RATE",
    "MIN_SAMPLES",
    "SAMPLE_RATE",
    "SILENCE",
    "ArrayLike",
    "AudioSource",
    "Waveform",
    "duration_seconds",
    "encode_flac",
    "load_audio",
    "resample_chunks",
    "stream_audio",
]
