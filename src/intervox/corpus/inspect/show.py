"""``intervox corpus show``: a page on which blocks are listened to as the grids that they are."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile as sf
from numpy.typing import NDArray
from PIL import Image
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from intervox import __version__
from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.clips.corpus import numbers, read_about, read_audio, read_labels, tally
from intervox.clips.schema import CorpusFacts, EngineFacts
from intervox.corpus.acoustics.conditions import disturbance_counts
from intervox.corpus.inspect.check_clips import factor_columns
from intervox.errors import IntervoxError
from intervox.storage import write_bytes

LOSSLESS_BYTES = 1_000_000
"""Of audio, up to which a page holds it as the corpus does; beyond, it holds MP3."""

MAX_AUDIO_BYTES = 6_500_000
"""Of the audio in a page; base64 adds a third, and pictures the rest of about 10 MB."""

MAX_BLOCKS = 16
_QUALITY = {
    "cer": "CER {:.0%}",
    "wer": "WER {:.0%}",
    "per": "PER {:.0%}",
    "evidence": "evidence {:.1f} nats a token",
    "crest_db": "crest {:.0f} dB",
    "clipped_share": "clipped {:.1%}",
    "silent_share": "silent {:.0%}",
    "seconds_per_character": "{:.2f} s a character",
    "voice_distance": "voice distance {:.2f}",
    "transcript": "heard as “{}”",
}
_COUNTED = {"block": "blocks", "speaker": "speakers", "content": "contents", "language": "languages"}
_SHOWN = (
    *("text", "kind", "language", "engine", "transformation"),
    *("condition", "severity", "copy", "duration", "error"),
)
"""Labels that another tool's corpus may lack."""
_COUNTABLE = (*_COUNTED, "split", "engine", "condition", "duration", "error")
"""What the page's head is made from; of the blocks that it shows the page reads the rest."""
_BINS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Seconds, of the histogram of lengths."""

BANDS = 48
FRAMES_PER_SECOND = 50
FLOOR_DB, CEILING_DB = -70.0, 20.0
"""Of the mel power of a clip whose samples lie in [-1, 1]; fixed, so that levels can be compared."""

_FRAME = 512
_LEVELS = 48
"""Samples of a spectrum, and colours of the pictures."""


@dataclass
class Tile:
    """One cell as the page shows it."""

    labels: dict[str, Any]
    quality: list[str]
    factors: list[str]
    media: str = ""
    audio: str = ""
    picture: str = ""
    problem: str = ""


@dataclass
class Grid:
    """One block: ``rows[i][j]`` holds the copies of speaker i saying content j."""

    number: int
    split: str
    speakers: list[dict[str, Any]]
    contents: list[dict[str, Any]]
    rows: list[list[list[Tile]]] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """Seconds of the longest clip, which sets the scale of the pictures."""
        clips = [clip for row in self.rows for copies in row for clip in copies]
        return max((float(clip.labels.get("duration") or 0) for clip in clips), default=0.0) or 1.0


def write_corpus_page(folder: Path, path: Path, blocks: Sequence[int] = ()) -> None:
    """Write one self-contained HTML page with some blocks of a corpus.

    Parameters
    ----------
    folder
        Of the corpus.
    path
        Of the page.
    blocks
        Numbers of the blocks; the first one where none is given.

    Raises
    ------
    IntervoxError
        A block does not exist, or the corpus can't be read.
    """
    labels = read_labels(folder, _COUNTABLE)
    for name in ("block", "speaker", "content"):
        if name not in labels.column_names:
            raise IntervoxError(f"{folder} has no column {name}: `intervox corpus check` says what it needs")
    shown = _existing(labels, blocks)
    chosen = labels.filter(pc.field("block").isin(shown))["cell_id"].to_pylist()
    cells = read_labels(folder, cell_ids=chosen)
    grids = [_grid(cells, number) for number in shown]
    note = _add_media(folder, grids)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = files("intervox.corpus.inspect").joinpath("show.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        version=__version__, facts=_facts(labels, read_about(folder)[0]), grids=grids, note=note
    )
    write_bytes(path, page.encode())


def _existing(labels: pa.Table, blocks: Sequence[int]) -> list[int]:
    known = sorted(pc.unique(labels["block"]).drop_null().to_pylist())
    if not known:
        raise IntervoxError("the corpus has no cells: synthesise it again")
    absent = [number for number in blocks if number not in known]
    if absent:
        raise IntervoxError(
            f"block {absent[0]} does not exist: the corpus has {len(known):,} blocks, "
            f"{known[0]} to {known[-1]}"
        )
    if len(blocks) > MAX_BLOCKS:
        raise IntervoxError(f"{len(blocks)} blocks make too large a page: ask for {MAX_BLOCKS} at most")
    return list(dict.fromkeys(blocks)) or known[:1]


def _grid(labels: pa.Table, number: int) -> Grid:
    """Lay a block's cells out; what is absent from the grid stays an empty list."""
    rows = labels.filter(pc.field("block") == number).to_pylist()
    known = factor_columns(labels.schema)
    cells = [dict.fromkeys(_SHOWN) | row for row in rows]
    speakers = {str(cell["speaker"]): cell for cell in cells}
    contents = {str(cell["content"]): cell for cell in cells}
    grid = Grid(number, str(cells[0].get("split") or ""), list(speakers.values()), list(contents.values()))
    places: dict[tuple[str, str], list[Tile]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.get("copy") or 0, cell["cell_id"])):
        quality = [words.format(cell[name]) for name, words in _QUALITY.items() if cell.get(name) is not None]
        factors = [f"{name}: {cell[name]}" for name in known if cell[name]]
        quality += [cell["transformation"]] if cell["transformation"] else []
        clip = Tile(cell, quality, factors, problem=str(cell.get("error") or ""))
        places.setdefault((str(cell["speaker"]), str(cell["content"])), []).append(clip)
    grid.rows = [[places.get((speaker, content), []) for content in contents] for speaker in speakers]
    return grid


def _add_media(folder: Path, grids: Sequence[Grid]) -> str:
    """Draw every clip and embed as much audio as the page can carry; say what was given up for it."""
    clips = {
        clip.labels["cell_id"]: clip
        for grid in grids
        for row in grid.rows
        for copies in row
        for clip in copies
        if not clip.problem
    }
    encoded = dict(read_audio(folder, list(clips)))
    small = sum(map(len, encoded.values())) > LOSSLESS_BYTES
    room, left_out = MAX_AUDIO_BYTES, 0
    for cell_id, clip in sorted(clips.items(), key=lambda item: (item[1].labels.get("copy") or 0, item[0])):
        try:
            wave = load_audio(encoded[cell_id])
        except (KeyError, IntervoxError) as error:
            clip.problem = "no audio" if isinstance(error, KeyError) else str(error)
            continue
        clip.labels["duration"] = len(wave) / SAMPLE_RATE
        clip.picture = _base64(spectrogram_png(wave))
        data, clip.media = (_mp3(wave), "audio/mpeg") if small else (encoded[cell_id], "audio/flac")
        if len(data) > room:
            left_out += 1
            continue
        clip.audio, room = _base64(data), room - len(data)
    if left_out:
        return (
            f"To keep the page small its audio is MP3, and {left_out:,} clips have none: show fewer blocks."
        )
    return "To keep the page small its audio is MP3; the corpus itself is lossless." if small else ""


def _mp3(wave: Waveform) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, wave, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.8)
    return buffer.getvalue()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _facts(labels: pa.Table, about: CorpusFacts) -> dict[str, Any]:
    """Return what the page's head says of the whole corpus."""
    durations = numbers(labels, "duration")
    durations = durations[durations > 0]
    counts = np.histogram(durations, [*_BINS, np.inf])[0].tolist()
    names = [f"{low:g}–{high:g}" for low, high in pairwise(_BINS)] + [f"{_BINS[-1]:g}+"]
    return {
        "hours": durations.sum() / 3600,
        "cells": labels.num_rows,
        "failed": tally(labels, "error").total(),
        "counts": {
            words: len(tally(labels, name)) for name, words in _COUNTED.items() if name in labels.column_names
        },
        "splits": tally(labels, "split").most_common(),
        "engines": about.engines or {name: EngineFacts() for name in sorted(tally(labels, "engine"))},
        "conditions": disturbance_counts(labels),
        "durations": list(zip(names, counts, strict=True)),
    }


def spectrogram_png(wave: Waveform) -> bytes:
    """Draw a clip: one column of pixels every 20 ms, one row a mel band, the lowest at the bottom."""
    window, filters = _analysis()
    power = spectrogram(
        wave,
        window,
        frame_length=_FRAME,
        hop_length=SAMPLE_RATE // FRAMES_PER_SECOND,
        power=2.0,
        mel_filters=filters,
        log_mel="dB",
        min_value=1e-10,
    )
    scaled = (power[::-1] - FLOOR_DB) / (CEILING_DB - FLOOR_DB)
    picture = Image.fromarray((scaled.clip(0, 1) * (_LEVELS - 1)).round().astype(np.uint8))
    picture.putpalette(_palette())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@cache
def _analysis() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    filters = mel_filter_bank(_FRAME // 2 + 1, BANDS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE)
    return window_function(_FRAME, "hann"), filters


@cache
def _palette() -> bytes:
    colours = matplotlib.colormaps["magma"](np.linspace(0, 1, _LEVELS), bytes=True)
    return bytes(np.asarray(colours)[:, :3].tobytes())
