"""What is said where a model can't be loaded: one sentence, of the package's own kind."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from intervox.errors import IntervoxError
from intervox.model.loading import default_model_folder
from intervox.model.model import SubspaceModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the packaged model."""
    return shutil.copytree(default_model_folder(), tmp_path / "model")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def without_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors["mean"]
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", Path.unlink, "holds no refined model"),
        ("model.safetensors", Path.unlink, "holds no refined model"),
        ("config.json", half, "is damaged"),
        ("config.json", lambda path: path.write_text("[]"), "is damaged"),
        ("config.json", lambda path: path.write_text('{"backbone": "b"}'), "is damaged"),
        ("model.safetensors", half, "is damaged"),
        ("model.safetensors", without_a_tensor, "is damaged .*"),
    ],
)
def test_a_folder_that_lacks_something(
    folder: Path, file: str, change: Callable[[Path], Any], message: str
) -> None:
    change(folder / file)
    with pytest.raises(IntervoxError, match=message) as raised:
        SubspaceModel.from_pretrained(folder)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "/no/such/folder", "a/b/c", "not an id"])
def test_a_name_that_leads_nowhere(name: str) -> None:
    with pytest.raises(IntervoxError, match="holds no refined model"):
        SubspaceModel.from_pretrained(name)


def answer(error: type[Exception]) -> Exception:
    """Make an error of the hub without its answer, which the class may want."""
    return error.__new__(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.RepositoryNotFoundError, "the hub has no model 'someone/unseen' that this machine may see"),
        (errors.GatedRepoError, "open to some only: ask for access"),
        (errors.RemoteEntryNotFoundError, "holds no refined model"),
        (errors.LocalEntryNotFoundError, "the hub.*can't be reached"),
        (errors.OfflineModeIsEnabled, "the hub.*can't be reached"),
    ],
)
def test_what_the_hub_refuses(error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> str:
        raise answer(error)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(IntervoxError, match=message) as raised:
        SubspaceModel.from_pretrained("someone/unseen")
    assert raised.value.__cause__ is not None


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(IntervoxError, match=r"config\.json can't be read: allow it"):
        SubspaceModel.from_pretrained(folder)


def test_options_of_the_hub_are_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def download(_name: str, file: str, **options: Any) -> str:
        asked.append(options)
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    model = SubspaceModel.from_pretrained("someone/seen", revision="v1", device="cpu")
    assert asked == [{"revision": "v1"}] * 2
    assert model.name == "someone/seen"
