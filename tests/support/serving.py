"""The demo page's server in this process, and what it would have said to the rest of the world."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from intervox.demo.server import listen, make_app
from intervox.demo.visitors import Limits
from intervox.model.embedder import Embedder


@contextmanager
def serving(model: Embedder, limits: Limits, uploads: Path) -> Iterator[str]:
    """Serve the page on a free port and yield its address; uploads go into a folder."""
    import uvicorn

    with pytest.MonkeyPatch.context() as patch, listen("127.0.0.1", 0) as taken:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        app = make_app(model, limits)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def outward_connections() -> Iterator[list[Any]]:
    """Refuse and collect what this process tries to reach outside the machine."""
    tried: list[Any] = []
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            tried.append(address)
            raise ConnectionRefusedError(f"{address} is not this machine")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", only_here)
        yield tried
