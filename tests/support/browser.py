"""A page in a real browser: framed, driven by a script of the test, and asked what it found."""

import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--enable-logging=stderr", "--remote-debugging-port=0"),
)
_FRAME = """<!doctype html><link rel="icon" href="data:,"><iframe src="/page" width=1000 height=800></iframe>
<script>
const frame = document.querySelector("iframe");
const report = found => fetch("/report", {method: "POST", body: JSON.stringify(found)});
%s
</script>"""


def in_browser(page: bytes, script: str, folder: Path) -> tuple[Any, str]:
    """Show a page in a frame, run a script beside it, and wait for what it reports.

    Parameters
    ----------
    script
        Has the element ``frame`` and calls ``report(value)`` once.
    folder
        Where the browser's profile and log go.

    Returns
    -------
    report
        None where there was none in 40 seconds.
    log
        What the browser said, with console messages marked CONSOLE.
    """
    assert BROWSER
    reports: Queue[Any] = Queue()
    frame = (_FRAME % script).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(page if self.path == "/page" else frame)

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
    log = folder / "browser.log"
    address = f"http://127.0.0.1:{server.server_port}/"
    with log.open("w") as messages:
        words = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", address]
        browser = subprocess.Popen(words, stdout=messages, stderr=messages)
        try:
            found = reports.get(timeout=40)
        except Empty:
            found = None
        finally:
            browser.terminate()
            browser.wait(20)
            server.shutdown()
    return found, log.read_text()
