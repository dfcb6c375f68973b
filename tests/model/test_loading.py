"""What is said where a model can't be loaded: one sentence, of the package's own kind."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from intervox.backbones import load
from intervox.errors import IntervoxError
from intervox.model import files
from intervox.model.files import default_model_folder
from intervox.model.model import SubspaceModel
from tests.backbones.test_backbones import save_family
from tests.conftest import Speech


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
    monkeypatch.setattr(files, "hub_answers", lambda *_arguments: True)
    with pytest.raises(IntervoxError, match=message) as raised:
        SubspaceModel.from_pretrained("someone/unseen")
    assert raised.value.__cause__ is not None


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(IntervoxError, match=r"config\.json can't be read \(permission denied\): allow it"):
        SubspaceModel.from_pretrained(folder)


def test_options_of_the_hub_are_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def download(_name: str, file: str, **options: Any) -> str:
        asked.append(options)
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(files, "hub_answers", lambda *_arguments: True)
    model = SubspaceModel.from_pretrained("someone/seen", revision="v1", device="cpu")
    assert asked == [{"revision": "v1"}] * 2
    assert model.name == "someone/seen"


@pytest.mark.parametrize(
    "name", ["nope", "a.wav", "a.wav/b", "runs/mini/model", "./x", "../x", "x y/z", "", "a\0b"]
)
def test_what_can_be_no_hub_id_is_never_looked_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()
    monkeypatch.setattr(files, "hub_answers", asked)
    for find in (SubspaceModel.from_pretrained, load.load_backbone):
        with pytest.raises(IntervoxError):
            find(name)


def test_a_hub_that_is_out_of_reach_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[dict[str, Any]] = []

    def head(_address: str, **options: Any) -> None:
        tries.append(options)
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub.utils, "get_session", lambda: SimpleNamespace(head=head))
    for find in (SubspaceModel.from_pretrained, load.load_backbone):
        with pytest.raises(
            IntervoxError, match="someone/unseen.* is not a folder here, and the hub.*can't be reached"
        ):
            find("someone/unseen")
    assert [options["timeout"] < 5 for options in tries] == [True, True]


@pytest.mark.parametrize("name", [None, 5, ["a"]])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(IntervoxError, match="can't be"):
        load.load_backbone(name)


def test_a_runs_folder_serves_as_its_model(folder: Path) -> None:
    model = SubspaceModel.from_pretrained(folder.parent)
    assert model.name == str(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("backbone", 5, "`backbone` is 5: it must be text"),
        ("backbone", None, "`backbone` is None: it must be text"),
        ("layers", "six", "`layers` is 'six': it must be a whole number"),
        ("layers", 0, "`layers` is 0: it must be at least 1"),
        ("dim", 1.5, "`dim` is 1.5: it must be a whole number"),
        ("window_seconds", [], r"`window_seconds` is \[\]: it must be a number"),
        ("fingerprint", 1, "`fingerprint` is 1: it must be text"),
        ("subspaces", [], "must be a mapping"),
        ("subspaces", {"speaker": {"factor": 1}}, "`subspaces.speaker.factor` is 1: it must be text"),
        ("subspaces", {"speaker": 3}, "`subspaces.speaker` is 3: it must be a mapping"),
        ("calibration", {"speaker": [1]}, "calibration.speaker"),
        ("calibration", 3, "`calibration` is 3: it must be a mapping"),
        ("references", {"speaker": 2}, "`references.speaker` is 2: it must be text"),
    ],
)
def test_a_wrong_value_in_the_configuration_is_named(
    folder: Path, field: str, value: Any, message: str
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(IntervoxError, match=message) as raised:
        SubspaceModel.from_pretrained(folder)
    assert str(path) in str(raised.value)
    assert "should be" not in str(raised.value)


def test_a_backbone_that_was_a_local_folder_goes_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: Speech
) -> None:
    save_family("hubert-base", tmp_path / "made" / "checkpoints")
    monkeypatch.chdir(tmp_path / "made")
    settings = {"speaker": {"factor": "speaker", "dim": 4, "shrinkage": 0.1}}
    model = SubspaceModel("checkpoints", 4, 32, settings, load.load_backbone("checkpoints").fingerprint)
    clips = [speech(1.0, 0)]
    expected = model.encode(clips)["speaker"]
    model.save_pretrained("model")
    shutil.move("model", tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("made")
    moved = SubspaceModel.from_pretrained("moved")
    np.testing.assert_array_equal(moved.encode(clips)["speaker"], expected)
    moved.save_pretrained("again")
    shutil.rmtree("moved")
    np.testing.assert_array_equal(SubspaceModel.from_pretrained("again").encode(clips)["speaker"], expected)
    shutil.rmtree("again/backbone")
    with pytest.raises(IntervoxError, match="again lacks its backbone, ./backbone: copy the whole folder"):
        SubspaceModel.from_pretrained("again")


def test_whoever_may_read_the_configuration_may_read_the_weights(tmp_path: Path) -> None:
    model = SubspaceModel.from_pretrained()
    before = os.umask(0o027)
    try:
        model.save_pretrained(tmp_path / "model")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o640}
