"""Extraction against the plain way: transformers' feature extractor and model, padded to 30 s.

Both run the same weights on the same clips of 1 to 3 s, with the same number of threads, in turn.
Prints clips per second, times real time, and the ratio round by round.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.bundled import BUNDLED, bundled_checkpoint
from intervox.backbones.load import load_backbone
from intervox.features.encoding import layer_means
from intervox.recipe import FeatureSettings

PLAIN_BATCH = 8


def make_clips(count: int) -> list[Waveform]:
    """Noise of 1 to 3 s: the encoder's cost does not depend on what is said."""
    random = np.random.default_rng(0)
    lengths = random.integers(SAMPLE_RATE, 3 * SAMPLE_RATE, count)
    return [random.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def plain(clips: list[Waveform]) -> None:
    """Encode as the model card does, every hidden state, in batches of ``PLAIN_BATCH``."""
    for start in range(0, len(clips), PLAIN_BATCH):
        features = EXTRACTOR(
            clips[start : start + PLAIN_BATCH], sampling_rate=SAMPLE_RATE, return_tensors="pt"
        )
        with torch.inference_mode():
            states = ENCODER(features.input_features, output_hidden_states=True).hidden_states
            torch.stack(states).mean(dim=2)


def ours(clips: list[Waveform]) -> None:
    """Encode as ``intervox extract`` does."""
    layer_means(BACKBONE, clips, FeatureSettings())


def seconds(work: Callable[[list[Waveform]], None], clips: list[Waveform]) -> float:
    """Time one pass."""
    started = time.perf_counter()
    work(clips)
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkpoint = str(bundled_checkpoint(BUNDLED))
    BACKBONE = load_backbone(BUNDLED, "cpu")
    ENCODER = WhisperEncoder.from_pretrained(checkpoint).eval()
    EXTRACTOR = WhisperFeatureExtractor.from_pretrained(checkpoint)
    clips = make_clips(options.clips)
    hours = sum(len(clip) for clip in clips) / SAMPLE_RATE
    ours(clips[:16])
    plain(clips[:8])
    table = Table("round", "intervox clips/s", "× real time", "plain clips/s", "× real time", "ratio")
    ratios = []
    for number in range(options.rounds):
        fast, slow = seconds(ours, clips), seconds(plain, clips)
        ratios.append(slow / fast)
        cells = (len(clips) / fast, hours / fast, len(clips) / slow, hours / slow, slow / fast)
        table.add_row(str(number + 1), *(f"{cell:.1f}" for cell in cells))
    Console().print(table)
    print(f"median ratio {np.median(ratios):.1f} on {torch.get_num_threads()} threads")
