"""The server of the page: one socket, one model, uploads in a folder that goes when the server does."""

import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EADDRINUSE
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from intervox.audio import SAMPLE_RATE
from intervox.demo.visitors import Limits, readable_suffixes
from intervox.errors import IntervoxError
from intervox.model.embedder import Embedder
from intervox.model.loading import load_model

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.middleware.base import RequestResponseEndpoint
    from starlette.requests import Request
    from starlette.responses import Response

_HEADERS = {
    # The browser loads nothing from elsewhere. Gradio's scripts need the two exceptions.
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
}
_PICKER = """<script>
new MutationObserver(() => document.querySelectorAll("input[type=file]").forEach(input => {
  if (input.accept !== "%s") input.accept = "%s";
})).observe(document, {childList: true, subtree: true});
</script>"""
"""Lets file dialogs offer what can be read here: Gradio's own list for sound can't be set."""

_UPLOADS = "GRADIO_TEMP_DIR"
"""Variable in which Gradio looks for the folder of uploads."""


def listen(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises
    ------
    IntervoxError
        It is in use, or not available on this host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise IntervoxError(f"port {port} of {host} is in use: give another --port") from None
        reason = f"{host} port {port} can't be listened on ({error.strerror or error})"
        raise IntervoxError(f"{reason}: give another --host or --port") from None


def serve(model: str | Path, host: str, port: int, limits: Limits, announce: Callable[[str], None]) -> None:
    """Show the page until Ctrl-C or SIGTERM; an answer under way is finished first.

    Parameters
    ----------
    model
        As for ``SubspaceModel.from_pretrained``; it is loaded once.
    announce
        Is told the page's address once it is there.

    Raises
    ------
    IntervoxError
        The port is not available, the model can't be loaded, or Gradio is missing.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.set_wakeup_fd(-1)  # the server ends by itself, and takes the uploads with it
    with listen(host, port) as taken, _upload_folder():
        loaded = load_model(model)
        # The backbone too: who comes first does not wait, and it is known to work.
        loaded.encode([np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)])
        app = make_app(loaded, limits)
        import uvicorn

        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        # Connections that the end cuts off are no errors.
        logging.getLogger("uvicorn.error").addFilter(lambda _record: not server.should_exit)
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{taken.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[taken])


def make_app(model: Embedder, limits: Limits) -> "FastAPI":
    """Build the web application, without reports, histories, documentation or links to elsewhere."""
    from intervox.demo.page import build_page  # isort: skip - says it where Gradio is not installed

    import gradio as gr
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)
    app.middleware("http")(_stay_here)
    gr.mount_gradio_app(
        app,
        build_page(model, limits),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=limits.bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(primary_hue="blue"),
        head=_PICKER % (2 * (",".join(readable_suffixes()),)),
        css_paths=Path(__file__).parent / "page" / "style.css",
    )
    return app


async def _stay_here(request: "Request", answer: "RequestResponseEndpoint") -> "Response":
    """Refuse questions about anything but uploads, and tell the browser to load nothing from elsewhere.

    Gradio itself would fetch an address that a forged question names, and read a file of this machine.
    """
    from starlette.responses import JSONResponse

    if request.method == "POST" and not request.url.path.endswith("/upload"):
        try:
            json.loads(await request.body(), object_hook=_check_file)
        except IntervoxError as error:
            return JSONResponse({"detail": str(error)}, status_code=403)
        except RecursionError:
            return JSONResponse({"detail": "the question is nested too deeply"}, status_code=400)
        except ValueError:
            pass  # What is not JSON names no files; Gradio answers it.
    response = await answer(request)
    response.headers.update(_HEADERS)
    return response


def _check_file(record: dict[str, Any]) -> None:
    path = record.get("path")
    uploads = Path(os.environ[_UPLOADS]).resolve()
    if isinstance(path, str) and not Path(path).resolve().is_relative_to(uploads):
        raise IntervoxError("upload or record a clip: other files and addresses are not read")


@contextmanager
def _upload_folder() -> Iterator[None]:
    """Keep uploads in a folder that goes with this process."""
    with TemporaryDirectory(prefix="intervox-demo-") as folder:
        os.environ |= {_UPLOADS: folder, "GRADIO_ANALYTICS_ENABLED": "False"}  # no reports
        yield
