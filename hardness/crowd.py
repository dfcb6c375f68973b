"""The demo page under 50 visitors at a time, of whom some forge questions and send too much.

The page listens on this machine alone, and every visitor is a thread of this process.
"""

import io
import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile as sf
from tests.support.sounds import voiced

from hardness.common import DONE, RATE, SAID, Tally, environment, scaled, words

VISITORS = 50
VISITS = 4
"""Of each visitor, one after the other."""

PATIENCE = 300.0
"""Seconds in which a visitor who is told that the page is busy tries again."""

LIMIT = 25 * 2**20
"""Bytes that the page takes by default."""


def run(share: float, folder: Path) -> list[Tally]:
    """Let visitors in, all at once; then see that the page still answers, and what it leaves behind."""
    command = words("demo", "--port", "0")
    own = environment(PYTHONUNBUFFERED="1", TMPDIR=str(folder))
    process = subprocess.Popen(
        command, cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    tallies = {kind: Tally(f"demo, {kind}") for kind in KINDS}
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said.startswith("page: "):
            raise RuntimeError(process.communicate()[1])
        address = said.split()[1].rstrip("/")
        before = _memory(process.pid)
        visits = [(list(KINDS)[n % len(KINDS)], n) for n in range(scaled(VISITORS * VISITS, share))]
        with ThreadPoolExecutor(VISITORS) as crowd:
            for kind, outcome in crowd.map(lambda visit: (visit[0], _visit(address, *visit)), visits):
                tallies[kind].add(outcome)
        after = Tally("demo, afterwards")
        after.add(_honest(address, 0), "one more visitor")
        grown = _memory(process.pid) - before
        after.add(DONE if grown < 2_000 else f"grows: by {grown} MB", "memory")
    finally:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=PATIENCE)
    after.add("complains: " + error[-300:] if "Traceback" in error else DONE, "what it prints")
    left = list(folder.glob("intervox-demo-*"))
    after.add(f"leaves uploads: {left}" if left else DONE, "uploads")
    return [*tallies.values(), after]


def _visit(address: str, kind: str, number: int) -> str:
    try:
        return str(KINDS[kind](address, number))
    except (httpx.HTTPError, KeyError, ValueError, IndexError) as error:
        return f"no answer: {error!r}"


def _honest(address: str, number: int) -> str:
    """Compare two clips; a busy page is asked again."""
    paths = [_upload(address, _clip(number + each)) for each in range(2)]
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        answer = _ask(address, paths, f"honest{number}")
        text = json.dumps(answer)
        if "Queue is full" not in text:
            return DONE if answer["success"] and "the same" in text.lower() else f"wrong answer: {text[:300]}"
        time.sleep(1)
    return "never answered"


def _garbage(address: str, number: int) -> str:
    """Upload what is not sound."""
    path = _upload(address, np.random.default_rng(number).bytes(5000))
    return _refused(_ask_until(address, [path, path], f"garbage{number}"), "audio")


def _large(address: str, number: int) -> str:
    """Upload more than is taken."""
    answer = httpx.post(
        f"{address}/gradio_api/upload", files={"files": ("a.wav", bytes(LIMIT + 2**20))}, timeout=PATIENCE
    )
    return SAID if answer.status_code == 413 else f"is taken: {answer.status_code}"


def _forged(address: str, number: int) -> str:
    """Name a file of the machine, or an address, where an upload should be."""
    inside = _upload(address, _clip(number))
    names = (
        "/etc/passwd",
        f"{inside}/../../../etc/passwd",
        "https://example.org/a.wav",
        "file:///etc/passwd",
    )
    answer = _ask_until(address, [inside, names[number // len(KINDS) % len(names)]], f"forged{number}")
    return _refused(answer, "other files and addresses are not read")


def _nonsense(address: str, number: int) -> str:
    """Ask what no page asks."""
    bodies: tuple[bytes, ...] = (
        b"[" * 50_000,
        b"{}",
        b'{"data": null, "fn_index": 10000000000}',
        bytes(1000),
    )
    answer = httpx.post(
        f"{address}/gradio_api/queue/join",
        content=bodies[number // len(KINDS) % len(bodies)],
        headers={"content-type": "application/json"},
        timeout=PATIENCE,
    )
    return (
        SAID
        if 400 <= answer.status_code < 600 and "Traceback" not in answer.text
        else f"is taken: {answer.text[:200]}"
    )


KINDS = {
    "honest visitors": _honest,
    "uploads that are not sound": _garbage,
    "uploads that are too large": _large,
    "forged questions": _forged,
    "nonsense": _nonsense,
}


def _refused(answer: dict[str, Any], reason: str) -> str:
    text = json.dumps(answer)
    return SAID if reason in text and "Traceback" not in text else f"wrong answer: {text[:300]}"


def _clip(number: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).normal(0, 0.01, 2 * RATE)
    sf.write(buffer, voiced(2.0) + noise, RATE, format="WAV")
    return buffer.getvalue()


def _upload(address: str, content: bytes) -> str:
    answer = httpx.post(
        f"{address}/gradio_api/upload", files={"files": ("clip.wav", content)}, timeout=PATIENCE
    )
    return str(answer.json()[0])


def _ask_until(address: str, paths: list[str], session: str) -> dict[str, Any]:
    """Ask until the page is not busy."""
    until = time.monotonic() + PATIENCE
    answer = _ask(address, paths, session)
    while "Queue is full" in json.dumps(answer) and time.monotonic() < until:
        time.sleep(1)
        answer = _ask(address, paths, session)
    return answer


def _ask(address: str, paths: list[str], session: str) -> dict[str, Any]:
    """Press Compare without a browser: the message that ends it."""
    functions = httpx.get(f"{address}/config", timeout=PATIENCE).json()["dependencies"]
    clips = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    question = {"data": clips, "fn_index": functions[0]["id"], "session_hash": session}
    joined = httpx.post(f"{address}/gradio_api/queue/join", json=question, timeout=PATIENCE)
    if joined.status_code != 200:
        return {"success": False, "output": joined.json()}
    url = f"{address}/gradio_api/queue/data?session_hash={session}"
    with httpx.stream("GET", url, timeout=PATIENCE) as events:
        for line in events.iter_lines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if message.get("msg") == "process_completed":
                return dict(message)
    return {"success": False, "output": "the stream ended without an answer"}


def _memory(process: int) -> int:
    """Return the resident megabytes of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 >> 20
