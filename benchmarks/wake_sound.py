"""What `wake_words.py` listens to: clips of keywords in quiet noise, running speech, windows over both."""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.clips.labels import Clips
from intervox.corpus.render.recogniser import Recogniser
from intervox.evaluation.loading import protocol_clips
from intervox.evaluation.protocols import data_folder, find_protocols
from intervox.evaluation.streams import FLOOR, WORD
from intervox.metrics.events import HOP_SECONDS
from intervox.progress import progress_bar
from intervox.storage import atomic_path, cache_folder

AROUND = 5
"""Windows around the middle of a clip, of which the best counts."""

ACTED = ("kids", "dogs", "are", "talking", "sitting", "by", "the", "door")
"""All that is said in RAVDESS."""

_AT_ONCE = 8
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """Running speech, and the words that a recogniser hears in it."""

    wave: Waveform
    heard: frozenset[str]


@dataclass(frozen=True)
class Sound:
    """Keyword clips in noise, running speech, and windows over both.

    Attributes
    ----------
    jitter
        Seconds by which each clip lies off the grid of windows, shape (clips,).
    key
        Names all of it, for the cache.
    """

    clips: Clips
    waves: list[Waveform]
    speech: list[Utterance]
    jitter: NDArray[np.float64]
    key: str

    def around(self, clip: int, window: int) -> list[Waveform]:
        """Cut windows of so many samples around the middle of a clip."""
        random = np.random.default_rng([2, clip])
        hop = round(HOP_SECONDS * SAMPLE_RATE)
        side = window + AROUND * hop
        wave = np.pad(self.waves[clip], side)
        wave += (FLOOR * random.standard_normal(len(wave))).astype(np.float32)
        first = len(wave) // 2 - window // 2 - AROUND // 2 * hop + round(self.jitter[clip] * SAMPLE_RATE)
        return [wave[start : start + window] for start in range(first, first + AROUND * hop, hop)]

    def over(self, utterance: Utterance, window: int) -> list[Waveform]:
        """Cut an utterance into windows of so many samples."""
        wave = np.pad(utterance.wave, (0, max(0, window - len(utterance.wave))))
        hop = round(HOP_SECONDS * SAMPLE_RATE)
        return [wave[start : start + window] for start in range(0, len(wave) - window + 1, hop)]


@dataclass(frozen=True)
class Scored:
    """Scores of one keyword, the higher the more like it: of clips, and of windows of each utterance."""

    clips: Scores
    speech: list[Scores]


def bounds(counts: Iterable[int]) -> list[int]:
    """Return where groups of rows begin and end."""
    return [0, *np.cumsum(list(counts)).tolist()]


def watched(count: int, what: str) -> Iterator[int]:
    with progress_bar(f"embedding {what}", count, what) as bar:
        for index in range(count):
            yield index
            bar.advance(1)


def listened(options: argparse.Namespace) -> Sound:
    """Load the clips and the running speech."""
    clips = protocol_clips(find_protocols(("speech_commands",), options.clips)[0])
    folder = data_folder()
    read, acted = (sorted((folder / name).rglob("*.flac")) for name in ("librispeech", "ravdess"))
    paths = np.random.default_rng(0).permutation(np.array([*read, *acted], object))[: options.utterances]
    chosen = [Path(path) for path in paths.tolist()]
    heard = transcribed([path for path in chosen if path in set(read)])
    speech = [Utterance(load_audio(path), frozenset(heard.get(path.name, ACTED))) for path in chosen]
    waves = [load_audio(path) for path in clips.paths.tolist()]
    jitter = np.random.default_rng(1).uniform(0, HOP_SECONDS, len(waves))
    names = [Path(path).name for path in (*clips.paths.tolist(), *chosen)]
    return Sound(clips, waves, speech, jitter, sha256("\n".join(names).encode()).hexdigest()[:16])


def transcribed(paths: list[Path]) -> dict[str, list[str]]:
    """Return the words that the recogniser hears in utterances, by the names of their files."""
    kept = cache_folder() / "wake_words" / "transcripts.json"
    heard: dict[str, list[str]] = json.loads(kept.read_text()) if kept.is_file() else {}
    new = [path for path in paths if path.name not in heard]
    recogniser = Recogniser() if new else None
    with progress_bar("recognising", len(new), "utterances") as bar:
        for first in range(0, len(new), _AT_ONCE):
            some = new[first : first + _AT_ONCE]
            assert recogniser
            found = recogniser.listen([load_audio(path) for path in some], ["word"] * len(some))
            for path, hearing in zip(some, found, strict=True):
                heard[path.name] = WORD.findall(hearing.transcript.casefold())
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as temporary:
                temporary.write_text(json.dumps(heard))
            bar.advance(len(some))
    return heard
