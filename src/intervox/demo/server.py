"""The server of the page: one socket, one model, uploads in a folder that goes when the server does."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EADDRINUSE
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from intervox.audio import SAMPLE_RATE
from intervox.demo.clips import Limits
from intervox.errors import IntervoxError, missing_extra
from intervox.model.model import SubspaceModel

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
"""What the browser may load: nothing from elsewhere. Gradio's scripts need the two exceptions."""


def listen(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises
    ------
    IntervoxError
        It is in use, or can't be had on this host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise IntervoxError(f"port {port} of {host} is in use: give another --port") from None
        reason = error.strerror or str(error)
        raise IntervoxError(
            f"{host} port {port} can't be listened on ({reason}): give another --host or --port"
        ) from None


def serve(name: str, host: str, port: int, limits: Limits, announce: Callable[[str], None]) -> None:
    """Show the page until Ctrl-C or SIGTERM; an answer under way is finished first.

    Parameters
    ----------
    name
        Of the model, as for ``SubspaceModel.from_pretrained``; it is loaded once.
    announce
        Is told the page's address once it is there.

    Raises
    ------
    IntervoxError
        The port can't be had, the model can't be loaded, or Gradio is missing.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listen(host, port) as taken, _upload_folder():
        app = make_app(_ready_model(name), limits)
        import uvicorn

        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        # Connections that the end cuts off are no errors.
        logging.getLogger("uvicorn.error").addFilter(lambda _record: not server.should_exit)
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{taken.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[taken])


def make_app(model: SubspaceModel, limits: Limits) -> "FastAPI":
    """Build the web application, without reports, histories, documentation or links to elsewhere."""
    try:
        import gradio as gr
    except ImportError:
        raise missing_extra("gradio", "demo", "the demo page") from None
    from fastapi import FastAPI

    from intervox.demo.page import build_page

    app = FastAPI(openapi_url=None)
    app.add_middleware(_WithPolicy)
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
        css_paths=Path(__file__).parent / "page" / "style.css",
    )
    return app


def _ready_model(name: str) -> SubspaceModel:
    """Load the model, and its backbone with it: who comes first does not wait, and it is known to work."""
    model = SubspaceModel.from_pretrained(name)
    model.encode([np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)])
    return model


@contextmanager
def _upload_folder() -> Iterator[None]:
    """Keep uploads in a folder that goes with this process; Gradio looks for its name when imported."""
    with TemporaryDirectory(prefix="intervox-demo-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}  # no reports
        yield


class _WithPolicy:
    """Middleware that tells the browser to load nothing from elsewhere."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_policy(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_policy)
