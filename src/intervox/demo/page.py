"""The page itself: three tabs, what their buttons do, and where their answers are shown."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from intervox.errors import IntervoxError, missing_extra

try:  # first: what else the page needs comes with the same extra
    import gradio as gr
except ImportError:
    raise missing_extra("gradio", "demo", "the demo page") from None

from intervox.demo import answers
from intervox.demo.speaking import LONGEST_SECONDS, MOST_LISTENERS, Session, Shown, Speaking
from intervox.demo.visitors import Limits, explained, read_clip, readable_suffixes
from intervox.model.embedder import Embedder

KEPT_SECONDS = 600
"""After so long an uploaded clip is deleted."""

MAX_WAITING = 20
"""So many answers may be waited for; who comes after them is asked to try again."""

MAX_EXAMPLES = 5
_EXAMPLE_MINUTES = 10 / 60
_VOICE_MINUTES = 1.0
_CHUNK_SECONDS = 0.5
_MAX_NAME = 60
_NAMED = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".webm")
_USUAL = {"2 seconds": 2.0, "10 seconds": 10.0, "25 seconds": 25.0, "2 minutes": 120.0}


def build_page(model: Embedder, limits: Limits) -> gr.Blocks:
    """Lay out the page and connect it to a model.

    Nothing of one visitor is kept for another. One answer at a time is computed, and ``MAX_WAITING`` may
    wait.
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
        with gr.Tab("Live"):
            _speaking(Speaking(model), limits)
        named = ", ".join(suffix[1:].upper() for suffix in _NAMED if suffix in readable_suffixes())
        gr.HTML(
            f"<p class='note'>Up to {limits.megabytes:g} MB and {limits.minutes:g} minutes per clip; "
            f"{named} and others. Clips go to the computer that serves this page and nowhere else; it "
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
                file_types=readable_suffixes(),
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
    """Add a button that asks the model, and the place where it answers."""
    call = explained(answer, str)
    button = gr.Button(label, variant="primary")
    shown = gr.HTML(elem_classes="result")
    button.click(call, inputs, shown, concurrency_limit=1, concurrency_id="model", api_visibility="private")


def _speaking(speaking: Speaking, limits: Limits) -> None:
    short = replace(limits, minutes=min(limits.minutes, _VOICE_MINUTES))
    session = gr.State(None, time_to_live=KEPT_SECONDS, delete_callback=speaking.end)
    gr.Markdown(
        "Enrol one voice or several, type a keyword, and speak. The page says when the keyword is heard, and "
        "in whose voice; both come from one pass of the model."
    )
    with gr.Row():
        with gr.Column(min_width=280):
            name = gr.Textbox(label="Whose voice", max_length=_MAX_NAME, placeholder="such as: Alice")
            voice = _clip_input("Some seconds of it", "voice")
            enrol = gr.Button("Enrol the voice")
            known = gr.HTML(elem_classes="result short", elem_id="known")
        with gr.Column(min_width=280):
            text = gr.Textbox(
                label="Keyword to type", max_length=_MAX_NAME, placeholder="such as: hey jarvis"
            )
            learn = gr.Button("Learn the keyword")
            learnt = gr.HTML(elem_classes="result short", elem_id="learnt")
            microphone = gr.Audio(
                sources=["microphone"],
                streaming=True,
                type="filepath",
                label="Speak",
                elem_id="microphone",
                buttons=[],
            )
    shown = gr.HTML(elem_classes="result", elem_id="heard")

    def enrolled(name: str, clip: str | None, session: Session | None) -> Shown:
        return speaking.enrol(name.strip(), read_clip(clip, "the voice", short), session)

    for button, act, given, place in (
        (enrol, enrolled, [name, voice, session], known),
        (learn, speaking.learn, [text, session], learnt),
    ):
        button.click(
            _keeping_session(act),
            given,
            [place, session],
            concurrency_limit=1,
            concurrency_id="model",
            api_visibility="private",
        )
    microphone.stream(
        _keeping_session(speaking.hear),
        [microphone, session],
        [shown, session],
        stream_every=_CHUNK_SECONDS,
        time_limit=LONGEST_SECONDS,
        concurrency_limit=MOST_LISTENERS,
        show_progress="hidden",
        api_visibility="private",
    )
    microphone.stop_recording(
        _keeping_session(speaking.stop),
        [session],
        [shown, session],
        show_progress="hidden",
        api_visibility="private",
    )


def _keeping_session(act: Callable[..., Shown]) -> Callable[..., Shown]:
    """Explain what a visitor did wrong, and keep the session, which is the last of what is given."""

    def call(*given: Any) -> Shown:
        return explained(act, lambda html: (html, given[-1]))(*given)

    return call
