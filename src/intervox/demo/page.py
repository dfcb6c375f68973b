"""The page itself: two tabs, what their buttons do, and how a visitor's clips are read."""

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import accumulate
from pathlib import Path

from intervox.errors import IntervoxError, missing_extra

try:  # first: what else the page needs comes with the same extra
    import gradio as gr
except ImportError:
    raise missing_extra("gradio", "demo", "the demo page") from None

from intervox.audio import SAMPLE_RATE, Waveform, load_audio, stream_audio
from intervox.demo import answers
from intervox.model.embedder import Embedder

KEPT_SECONDS = 600
"""After so long an uploaded clip is deleted."""

MAX_WAITING = 20
"""So many answers may be waited for; who comes after them is asked to try again."""

MAX_EXAMPLES = 5
_EXAMPLE_MINUTES = 10 / 60
_MAX_NAME = 60
_USUAL = {"2 seconds": 2.0, "10 seconds": 10.0, "25 seconds": 25.0, "2 minutes": 120.0}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a visitor may give: the size of a file, the length of a clip."""

    megabytes: float = 25.0
    minutes: float = 10.0

    @property
    def bytes(self) -> int:
        """The size in bytes; a megabyte has 2^20, as the browser counts."""
        return round(self.megabytes * 2**20)


def read_clip(path: str | None, name: str, limits: Limits) -> Waveform:
    """Read an uploaded clip: mono at 16 kHz.

    Parameters
    ----------
    path
        Where the page's server put it; None where the visitor gave nothing.
    name
        What to call it in messages, such as ``the first clip``.

    Raises
    ------
    IntervoxError
        The clip is missing, too large, too long, undecodable, empty, silent or not finite.
    """
    if path is None:
        raise IntervoxError(f"{name} is missing: upload or record it")
    try:
        clip = io.BytesIO(Path(path).read_bytes())
    except OSError:
        raise IntervoxError(f"{name} is no longer here: give it again") from None
    if clip.getbuffer().nbytes > limits.bytes:
        raise IntervoxError(f"{name} is larger than {limits.megabytes:g} MB: give a smaller file")
    clip.name = name
    most = round(60 * limits.minutes * SAMPLE_RATE)
    # A few megabytes may decode to days: count first, and stop counting at the limit.
    if any(length > most for length in accumulate(map(len, stream_audio(clip, strict=True)))):
        minutes = limits.minutes
        length = f"{minutes:g} minutes" if minutes > 1 else f"{60 * minutes:g} seconds"
        raise IntervoxError(f"{name} is longer than {length}: give a shorter piece")
    clip.seek(0)
    return load_audio(clip, strict=True)


def build_page(model: Embedder, limits: Limits) -> gr.Blocks:
    """Lay out the page and connect it to a model.

    Answers depend on what is handed in with the question alone: nothing of one visitor is kept for
    another. One answer at a time is computed, and ``MAX_WAITING`` may wait.
    """
    blocks = gr.Blocks(title="Intervox", analytics_enabled=False, delete_cache=(60, KEPT_SECONDS))
    with blocks:
        gr.HTML(
            "<h1>Intervox</h1>"
            "<p>Two subspaces of a speech model: one for who speaks, one for what is said.</p>"
        )
        with gr.Tab("Two clips"):
            _two_clips(model, limits)
        with gr.Tab("Spot a keyword"):
            _keyword(model, limits)
        gr.HTML(
            f"<p class='note'>Up to {limits.megabytes:g} MB and {limits.minutes:g} minutes per clip; WAV, "
            "FLAC, OGG or MP3. Clips go to the computer that serves this page and nowhere else; it "
            f"deletes them after {KEPT_SECONDS // 60} minutes.</p>"
        )
    blocks.queue(max_size=MAX_WAITING, api_open=False)
    return blocks


def _two_clips(model: Embedder, limits: Limits) -> None:
    maps = answers.space_maps(model)

    def answer(first: str | None, second: str | None) -> str:
        clips = read_clip(first, "the first clip", limits), read_clip(second, "the second clip", limits)
        verdicts = answers.compare(model, *clips)
        drawings = {v.space: maps[v.space].draw(v.vectors) for v in verdicts if v.space in maps}
        return answers.comparison(verdicts, drawings)

    gr.Markdown(
        "Give two clips of speech. The model says whether the voice and whether the words are the same."
    )
    with gr.Row():
        clips = [_clip_input("First clip (A)", "first"), _clip_input("Second clip (B)", "second")]
    _ask("Compare", answer, clips)


def _keyword(model: Embedder, limits: Limits) -> None:
    short = replace(limits, minutes=min(limits.minutes, _EXAMPLE_MINUTES))

    def answer(keyword: str, examples: list[str] | None, recording: str | None, usual_seconds: float) -> str:
        name = keyword.strip()
        if not name or len(name) > _MAX_NAME:
            raise IntervoxError(f"the keyword has no name: write one of up to {_MAX_NAME} letters")
        paths = examples or []
        if not 1 <= len(paths) <= MAX_EXAMPLES:
            raise IntervoxError(f"{len(paths)} examples are given: give one to {MAX_EXAMPLES}")
        clips = [read_clip(path, f"example {number}", short) for number, path in enumerate(paths, 1)]
        searched = read_clip(recording, "the recording", limits)
        return answers.spotting(answers.spot(model, name, clips, searched, usual_seconds))

    gr.Markdown(
        "Name a keyword, give one to five clips in which it alone is said, and a recording to search."
    )
    with gr.Row():
        with gr.Column():
            name = gr.Textbox(label="Keyword", max_length=_MAX_NAME, placeholder="such as: lights on")
            examples = gr.File(
                file_count="multiple",
                file_types=["audio"],
                label="Examples, one to five",
                elem_id="examples",
            )
            recorded = gr.Audio(
                sources=["microphone"], type="filepath", label="Record an example", elem_id="example"
            )
        with gr.Column():
            recording = _clip_input("Recording to search", "recording")
            usual_seconds = gr.Radio(
                list(_USUAL.items()),
                value=_USUAL["25 seconds"],
                label="How often it is said: about once in",
                info="The more often it is expected, the more is found, rightly and wrongly.",
            )
    recorded.stop_recording(
        lambda known, new: ([*(known or []), new], None),
        [examples, recorded],
        [examples, recorded],
        api_visibility="private",
    )
    _ask("Find the keyword", answer, [name, examples, recording, usual_seconds])


def _clip_input(label: str, name: str) -> gr.Audio:
    return gr.Audio(type="filepath", label=label, elem_id=name, buttons=[], min_width=280)


def _ask(label: str, answer: Callable[..., str], inputs: Sequence[gr.components.Component]) -> None:
    """Add a button that asks the model, and the place where it answers.

    The visitor's mistakes are shown in the page; everything else is kept in the server's log.
    """

    @wraps(answer)
    def call(*given: object) -> str:
        try:
            return answer(*given)
        except IntervoxError as error:
            return answers.problem(str(error))
        except Exception:
            _log.exception("an answer failed")
            return answers.problem("something went wrong here, and the server's log says what")

    button = gr.Button(label, variant="primary")
    shown = gr.HTML(elem_classes="result")
    button.click(call, inputs, shown, concurrency_limit=1, concurrency_id="model", api_visibility="private")
