"""The corpus page in a real browser: it plays, in sequence, without a message on the console."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from intervox.corpus.show import write_corpus_page

from .corpora import tone_rows, write_corpus

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--enable-logging=stderr", "--remote-debugging-port=0"),
)
FRAME = b"""<!doctype html><link rel="icon" href="data:,"><iframe src="/page" width=1000 height=800></iframe>
<script>
const frame = document.querySelector("iframe"), played = [], errors = [];
const report = () => fetch("/report", {method: "POST", body: JSON.stringify({played, errors})});
frame.onload = () => {
  const page = frame.contentDocument;
  frame.contentWindow.console.error = (...words) => { errors.push(words.join(" ")); report(); };
  for (const audio of page.querySelectorAll("audio")) {
    audio.addEventListener("playing", () => { audio.playbackRate = 8; });
    audio.addEventListener("ended", () => {
      const {r, c, k} = audio.parentElement.querySelector("button").dataset;
      played.push(`${r}${c}${k}`);
      if (played.length == 4) report();
    });
  }
  page.querySelector("button[data-row='0']").click();
};
</script>"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """Serve the page inside a frame that clicks, and collect what the frame reports."""
    write_corpus_page(write_corpus(tmp_path / "corpus", tone_rows()), tmp_path / "page.html", [1])
    page = (tmp_path / "page.html").read_bytes()
    reports: Queue[dict[str, Any]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(page if self.path == "/page" else FRAME)

        def do_POST(self) -> None:
            reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", reports
    server.shutdown()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_row_plays_in_a_browser(tmp_path: Path, served: tuple[str, Queue[dict[str, Any]]]) -> None:
    address, reports = served
    assert BROWSER
    log = tmp_path / "browser.log"
    words = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", address]
    with log.open("w") as messages:
        browser = subprocess.Popen(words, stdout=messages, stderr=messages)
        try:
            report = reports.get(timeout=40)
        except Empty:
            report = {}
        finally:
            browser.terminate()
            browser.wait(20)
    assert report == {"played": ["000", "001", "010", "011"], "errors": []}, log.read_text()
    assert "CONSOLE" not in log.read_text()
