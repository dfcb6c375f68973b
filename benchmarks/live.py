"""How late live answers are: verify, identify, who and spot on a conversation that comes at its own pace.

Three people of LibriSpeech test-other speak in turn. Chunks of a tenth of a second come when a microphone
would give them, and wait while the model is busy. Latency is from the end of the sound that an answer is
about to the answer, as `--microphone` prints it.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from intervox.applications import diarise
from intervox.applications.live import CHUNK_SECONDS, Clock
from intervox.applications.spotter import KeywordSpotter
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError
from intervox.evaluation.conversations import compose
from intervox.evaluation.protocols import data_folder
from intervox.model.loading import load_model

PEOPLE = 3
ENROLLED_BY = 2


def paced(wave: Waveform) -> Iterator[Waveform]:
    """Yield chunks, none before it would have been spoken."""
    size, began = round(CHUNK_SECONDS * SAMPLE_RATE), time.perf_counter()
    for start in range(0, len(wave), size):
        chunk = wave[start : start + size]
        time.sleep(max(0.0, began + (start + len(chunk)) / SAMPLE_RATE - time.perf_counter()))
        yield chunk


def main(options: argparse.Namespace) -> None:
    folder = data_folder() / "librispeech" / "test-other"
    if not folder.is_dir():
        raise IntervoxError(f"{folder} is missing: fetch LibriSpeech's test-other")
    clips = {each.name: sorted(each.glob("*.flac")) for each in sorted(folder.iterdir())[:PEOPLE]}
    model = load_model()
    people = SpeakerVerifier(model)
    for name, paths in clips.items():
        people.enrol(name, paths[:ENROLLED_BY])
    first = next(iter(clips))
    said = [(name, paths[turn]) for turn in range(ENROLLED_BY, 10) for name, paths in clips.items()]
    wave = compose(said, 0).wave[: round(options.seconds * SAMPLE_RATE)]
    # Parts of it as the keywords: they are found where they were cut out.
    spotter = KeywordSpotter(model)
    for start in range(40_000, len(wave) - 16_000, 240_000):
        spotter.enrol(f"cut out at {start}", [wave[start : start + 16_000]])
    ways: dict[str, Callable[[Any], Iterator[Any]]] = {
        "verify": lambda sound: people.verify_stream(sound, first),
        "identify": people.identify_stream,
        "who": lambda sound: diarise.stream(sound, people),
        "spot": spotter.stream,
    }
    table = Table("command", "answers", "median, ms", "largest, ms", title=f"{len(wave) / SAMPLE_RATE:.0f} s")
    for name, answers in ways.items():
        clock = Clock(paced(wave))
        late = [clock.milliseconds_since(found.end) for found in answers(clock)]
        shown = (f"{ms:.0f}" for ms in (np.median(late), max(late))) if late else ("–", "–")
        table.add_row(name, str(len(late)), *shown)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=120, help="of conversation; each command takes as long"
    )
    main(parser.parse_args())
