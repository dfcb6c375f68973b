"""Upload and download against a server on this machine that speaks the hub's protocol."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("onnx", reason="pip install intervox[export]")
pytest.importorskip("onnxscript", reason="pip install intervox[export]")
pytest.importorskip("onnxruntime", reason="pip install intervox[export]")

from intervox.errors import IntervoxError
from intervox.export import push_folder
from intervox.export.folder import check_repository
from intervox.model.model import SubspaceModel
from tests.export.test_export import family_model

TOKEN = "hf_of_someone"
REPOSITORY = "someone/voices"
COMMIT = "0" * 39 + "1"

# The real command line.
COMMAND = "from intervox.cli.app import main; main()"


class Hub(ThreadingHTTPServer):
    """Repositories in memory: name to path to content."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.private: list[bool] = []
        self.broken = False


class Handler(BaseHTTPRequestHandler):
    """What the client asks for to make a repository, to commit to it and to read from it."""

    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        if self.server.broken:
            return self.answer(500, {"error": "out of order"})
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid credentials"})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == f"/{REPOSITORY}.git/info/lfs/objects/batch":
            return self.batch(json.loads(body))
        if path == f"/api/models/{REPOSITORY}/preupload/main":
            return self.preupload(json.loads(body))
        if path == f"/api/models/{REPOSITORY}/commit/main":
            return self.commit([json.loads(line) for line in body.splitlines()])
        return self.answer(404, {"error": f"POST {path}"})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self.answer(200, {})

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        files = self.server.repositories.get(REPOSITORY, {})
        if path == f"/api/models/{REPOSITORY}/tree/main":
            return self.answer(
                200,
                [{"type": "file", "path": name, "size": len(files[name]), "oid": "1" * 40} for name in files],
            )
        name = path.removeprefix(f"/{REPOSITORY}/resolve/main/").removeprefix(
            f"/{REPOSITORY}/resolve/{COMMIT}/"
        )
        if name not in files:
            return self.answer(404, {"error": "not found"}, {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(files[name]).hexdigest()
        return self.answer(200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def do_HEAD(self) -> None:
        self.do_GET()

    def create(self, asked: dict[str, Any]) -> None:
        repository = f"{asked['organization']}/{asked['name']}"
        if repository != REPOSITORY:
            return self.answer(403, {"error": f"no rights to {repository}"})
        answer = {"url": f"{self.server.address}/{repository}"}
        if repository in self.server.repositories:
            return self.answer(409, answer)
        self.server.repositories[repository] = {}
        self.server.private.append(asked.get("visibility") == "private" or bool(asked.get("private")))
        return self.answer(200, answer)

    def preupload(self, asked: dict[str, Any]) -> None:
        large = (".onnx", ".safetensors")
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(large) else "regular",
                "shouldIgnore": False,
            }
            for file in asked["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, asked: dict[str, Any]) -> None:
        objects = [
            one | {"actions": {"upload": {"href": f"{self.server.address}/objects/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, lines: list[dict[str, Any]]) -> None:
        files = self.server.repositories[REPOSITORY]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        address = f"{self.server.address}/{REPOSITORY}/commit/{COMMIT}"
        self.answer(200, {"success": True, "commitOid": COMMIT, "commitUrl": address})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Stay silent."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine that this process takes for the only one; nobody is logged in."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to upload."""
    made = tmp_path / "export"
    made.mkdir()
    (made / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# Card\n")
    (made / "model.onnx").write_bytes(bytes(range(256)) * 100)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_is_uploaded_whole_and_again(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (folder / "old.onnx").write_bytes(b"small")
    address = push_folder(folder, REPOSITORY, private=True)
    assert address == f"{hub.address}/{REPOSITORY}"
    assert hub.private == [True]
    assert hub.repositories[REPOSITORY] == contents(folder)
    # A graph that is no longer in the folder would be of another model.
    (folder / "old.onnx").unlink()
    (folder / "model.onnx").write_bytes(b"another")
    push_folder(folder, REPOSITORY)
    assert hub.repositories[REPOSITORY] == contents(folder)


@pytest.mark.parametrize(
    ("token", "repository", "message"),
    [
        (None, REPOSITORY, "nobody is logged in to the hub: run `hf auth login`"),
        ("hf_unknown", REPOSITORY, "the hub does not know this token: run `hf auth login`"),
        (TOKEN, "other/voices", "this token may not write to other/voices"),
        (TOKEN, "voices", "'voices' can't be a repository: give USER/NAME"),
    ],
)
def test_a_refusal_says_what_to_do_and_loses_nothing(
    token: str | None,
    repository: str,
    message: str,
    hub: Hub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    before = contents(folder)
    with pytest.raises(IntervoxError) as raised:
        push_folder(folder, repository)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert contents(folder) == before
    assert not hub.repositories


def test_a_hub_out_of_order_or_out_of_reach_is_said(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # the client waits between its tries
    hub.broken = True
    with pytest.raises(IntervoxError, match=rf"the hub refused {REPOSITORY} .*{folder} is complete"):
        push_folder(folder, REPOSITORY)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(IntervoxError, match="the hub can't be reached .*look at the network") as raised:
        push_folder(folder, REPOSITORY)
    assert "\n" not in str(raised.value)
    with pytest.raises(IntervoxError, match=r"someone/unseen is not a folder here.*can't be reached"):
        SubspaceModel.from_pretrained("someone/unseen")


@pytest.mark.parametrize("name", ["", "a/b/c", "a b/c", "a/b--c", "a/.b", "https://a/b"])
def test_names_that_no_repository_has(name: str) -> None:
    with pytest.raises(IntervoxError, match="can't be a repository: give USER/NAME"):
        check_repository(name)


@pytest.mark.slow
@pytest.mark.long
def test_the_command_exports_uploads_and_others_load_it(hub: Hub, tmp_path: Path) -> None:
    model = family_model("hubert-base", tmp_path / "backbone")
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("---\nlicense: mit\n---\n\n# Measured\n\nEER 7 %\n")

    def python(code: str, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
        }
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=300,
        )

    words = ["export", "--model", "model", "--out", "out", "--push-to-hub"]
    done = python(COMMAND, *words, "no name")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "error: 'no name' can't be a repository: give USER/NAME, of letters, digits, '-', '_' and '.'"
    )
    assert not (tmp_path / "out").exists()
    done = python(COMMAND, *words, REPOSITORY)
    assert done.returncode == 2
    assert "error: nobody is logged in to the hub" in done.stderr.splitlines()[-1]
    assert (tmp_path / "out" / "model.onnx").exists()
    done = python(COMMAND, *words, REPOSITORY, "--int8", "--json", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["hub"] == f"{hub.address}/{REPOSITORY}"
    assert hub.repositories[REPOSITORY] == contents(tmp_path / "out")
    card = hub.repositories[REPOSITORY]["README.md"].decode()
    assert "license: mit" in card
    assert "EER 7 %" in card
    assert "weights of eight bits" in card

    # Somebody else, who has the name alone.
    load = f"""
import numpy as np
from intervox import SubspaceModel
from intervox.export.folder import own_card
model = SubspaceModel.from_pretrained("{REPOSITORY}")
np.save("z.npy", model.encode([np.sin(np.arange(16_000) / 20).astype(np.float32)])["speaker"])
print(own_card(model))
"""
    done = python(load, HF_HOME=str(tmp_path / "another home"))
    assert done.returncode == 0, done.stderr
    wave = np.sin(np.arange(16_000) / 20).astype(np.float32)
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), model.encode([wave])["speaker"], atol=1e-6)
    assert "EER 7 %" in done.stdout
    assert "## In ONNX" not in done.stdout
