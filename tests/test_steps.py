import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intervox.errors import IntervoxError, IntervoxWarning
from intervox.steps import StepFolder

LARGE = 5 * 2**20


def test_a_step_is_continued_replaced_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    step = StepFolder(folder, "a")
    (folder / "shard").write_text("x")
    assert not step.complete
    step.finish()
    assert StepFolder(folder, "a").complete
    assert (folder / "shard").exists()
    assert not StepFolder(folder, "b").complete
    assert not (folder / "shard").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(IntervoxError, match="did not write"):
        StepFolder(foreign, "a")
    assert (foreign / "thesis.txt").exists()


def test_what_a_kill_leaves_can_be_resumed(tmp_path: Path) -> None:
    """Killed before the first rename, and killed while another key's folder was being removed."""
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / ".step.json.123.tmp").write_text("{")
    assert not StepFolder(tmp_path / "early", "a").complete
    half = tmp_path / ".late.discarded"
    half.mkdir()
    (half / "shard").write_text("old")
    assert not StepFolder(tmp_path / "late", "b").complete
    assert not half.exists()


def finished(folder: Path, **kept: bytes) -> StepFolder:
    step = StepFolder(folder, "a")
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    step.finish(but=["card"])
    return step


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def zero_the_end(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-4096] + bytes(4096))


def zero_the_start(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes(4096) + content[4096:])


@pytest.mark.parametrize("damage", [Path.unlink, empty, cut, zero_the_end, zero_the_start])
@pytest.mark.parametrize("size", [5000, LARGE])
def test_a_damaged_file_is_removed_and_the_step_goes_on(
    damage: Callable[[Path], None], size: int, tmp_path: Path
) -> None:
    finished(tmp_path / "step", whole=b"x" * size, damaged=b"x" * size)
    damage(tmp_path / "step" / "damaged")
    with pytest.warns(IntervoxWarning, match=r"not as it was written: .*step.damaged$"):
        step = StepFolder(tmp_path / "step", "a")
    assert not step.complete
    assert sorted(path.name for path in step.path.iterdir()) == ["step.json", "whole"]
    finished(tmp_path / "step", damaged=b"x" * size)
    assert StepFolder(tmp_path / "step", "a").complete


def test_what_others_may_change_is_not_damaged(tmp_path: Path) -> None:
    finished(tmp_path / "step", card=b"ours", data=b"x")
    (tmp_path / "step" / "card").write_text("a person's")
    (tmp_path / "step" / "graph").write_text("exported")
    assert StepFolder(tmp_path / "step", "a").complete
    assert (tmp_path / "step" / "card").read_text() == "a person's"


def test_a_changed_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    step = finished(tmp_path / "step", card=b"old", data=b"old", kept=b"kept")
    (step.path / "theirs").write_text("theirs")
    with step.changed(but=["card"]) as copy:
        for name in ("card", "data"):
            (copy / name).unlink()
            (copy / name).write_text("new")
        assert (step.path / "data").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["step"]
    again = StepFolder(tmp_path / "step", "a")
    assert again.complete
    assert {path.name: path.read_text() for path in again.path.iterdir() if path.name != "step.json"} == {
        "card": "new",
        "data": "new",
        "kept": "kept",
        "theirs": "theirs",
    }


def test_a_change_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    step = finished(tmp_path / "step", data=b"old")

    def interrupt() -> None:
        with step.changed() as copy:
            (copy / "data").unlink()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert [path.name for path in tmp_path.iterdir()] == ["step"]
    assert StepFolder(tmp_path / "step", "a").complete


def test_a_kill_between_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = finished(tmp_path / "step", data=b"old")

    class Killed(BaseException):
        pass

    rename = Path.rename

    def once(path: Path, target: Path) -> Path:
        if target == step.path:
            raise Killed
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(Killed), step.changed():
        pass
    monkeypatch.undo()
    assert not step.path.exists()
    again = StepFolder(tmp_path / "step", "a")
    assert again.complete
    assert (again.path / "data").read_text() == "old"


def test_a_record_without_checksums_is_taken_as_it_is(tmp_path: Path) -> None:
    """Those of earlier versions have none."""
    step = finished(tmp_path / "step", data=b"x")
    (step.path / "step.json").write_text('{"key": "a", "complete": true}')
    (step.path / "data").write_text("y")
    assert StepFolder(tmp_path / "step", "a").complete


@pytest.mark.parametrize("record", ["", "\0\0", '{"key": "a"}'])
def test_a_damaged_record_names_what_to_delete(record: str, tmp_path: Path) -> None:
    step = finished(tmp_path / "step", data=b"x")
    (step.path / "step.json").write_text(record)
    with pytest.raises(IntervoxError, match=r"step\.json is damaged: delete .*step and run"):
        StepFolder(step.path, "a")


@pytest.mark.parametrize("files", [[], {"../../precious": [0, 0]}, {"/precious": [0, 0]}, {"a\0b": [0, 0]}])
def test_a_record_reaches_nothing_outside_its_folder(files: Any, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    step = finished(tmp_path / "run" / "step", data=b"x")
    (step.path / "step.json").write_text(json.dumps({"key": "a", "complete": True, "files": files}))
    with pytest.raises(IntervoxError, match=r"step\.json is damaged"):
        StepFolder(step.path, "a")
    assert precious.read_text() == "mine"


def test_a_damaged_file_that_a_link_leads_to_stays(tmp_path: Path) -> None:
    step = StepFolder(tmp_path / "step", "a")
    (step.path / "data").mkdir()
    (step.path / "data" / "x").write_text("ours")
    step.finish()
    shutil.move(step.path / "data", tmp_path / "elsewhere")
    (step.path / "data").symlink_to(tmp_path / "elsewhere")
    assert StepFolder(step.path, "a").complete
    (tmp_path / "elsewhere" / "x").write_text("theirs")
    with pytest.raises(IntervoxError, match="lies elsewhere"):
        StepFolder(step.path, "a")
    assert (tmp_path / "elsewhere" / "x").read_text() == "theirs"


def test_what_others_put_there_is_never_removed(tmp_path: Path) -> None:
    step = finished(tmp_path / "step", data=b"x")
    for name in ("notes", ".hidden"):
        (step.path / name).write_text("theirs")
    with step.changed():
        pass
    for name in ("notes", ".hidden"):
        (step.path / name).write_text("edited")
    assert StepFolder(step.path, "a").complete
    assert (step.path / "notes").read_text() == "edited"


def test_a_linked_folder_is_replaced_behind_its_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "step").symlink_to(tmp_path / "disk")
    with finished(tmp_path / "step", data=b"x").changed() as copy:
        (copy / "more").write_text("y")
    assert (tmp_path / "step").is_symlink()
    assert (tmp_path / "disk" / "more").read_text() == "y"
    assert not StepFolder(tmp_path / "step", "b").complete
    assert (tmp_path / "step").is_symlink()
    assert not (tmp_path / "disk" / "data").exists()
