import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from intervox.errors import IntervoxError
from intervox.storage import atomic_path, map_npy, read_json, restore_text, scratch_folder, stable_hash


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.write_text("old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert target.read_text() == "old"


def test_a_write_that_fails_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "lost" / "found.parquet"
    table = pa.table({"a": [1]})

    def write_as_the_folder_goes(write: Callable[[Path], object]) -> None:
        with atomic_path(target) as temporary:
            shutil.rmtree(target.parent)
            write(temporary)

    for write in (lambda path: path.write_text("x"), lambda path: pq.write_table(table, path)):
        with pytest.raises(FileNotFoundError) as lost:
            write_as_the_folder_goes(write)
        assert lost.value.filename == str(target)
        assert ".tmp" not in str(lost.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IntervoxError, match="folder is a folder"), atomic_path(tmp_path / "folder"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


LIMITED = """
import resource, signal
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from safetensors.numpy import save_file
from intervox.errors import IntervoxError
from intervox.storage import atomic_path

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
values = np.random.default_rng(0).normal(size=5000)
for write in (
    lambda path: path.write_bytes(values.tobytes()),
    lambda path: pq.write_table(pa.table({"x": values}), path),
    lambda path: save_file({"x": values}, path),
):
    try:
        with atomic_path(Path("file")) as temporary:
            write(temporary)
    except IntervoxError as error:
        print(error)
"""


def test_a_file_that_gets_too_large_is_named_whoever_writes_it(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], cwd=tmp_path, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert len(said) == 3, done.stderr
    assert all(
        line.startswith("file gets larger than its file system or `ulimit -f` allows") for line in said
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "zeroed", "no Python"])
def test_a_damaged_array_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "frames.npy"
    np.save(path, np.arange(100))
    assert (map_npy(path) == np.arange(100)).all()
    whole = path.read_bytes()
    path.unlink()
    broken = {"empty": b"", "cut": whole[:200], "zeroed": bytes(500), "no Python": whole.replace(b"}", b"(")}
    if damage != "absent":
        path.write_bytes(broken[damage])
    with pytest.raises(IntervoxError, match=r"frames\.npy is damaged or missing: delete its folder"):
        map_npy(path)


def test_hashes_are_of_the_value_and_broken_json_is_named(tmp_path: Path) -> None:
    assert stable_hash({"a": 1, "b": [2]}) == stable_hash({"b": [2], "a": 1})
    assert stable_hash({"a": 1}) != stable_hash({"a": 2})
    for text in ("{", "[]"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(IntervoxError, match=r"x\.json is not"):
            read_json(tmp_path / "x.json")


def test_what_a_killed_process_left_goes_with_the_next_writer(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from intervox.storage import *\n"
        f"with atomic_path(Path({str(tmp_path)!r}, 'f')), scratch_folder(Path({str(tmp_path)!r}, 'v.npz')):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    # A process that lives, and one of another machine, of which nothing is known here, keep theirs.
    kept = {f".f.1@{socket.gethostname()}.tmp", ".f.99999999@elsewhere.tmp"}
    for name in kept:
        (tmp_path / name).touch()
    with atomic_path(tmp_path / "f") as temporary:
        temporary.write_text("new")
    with scratch_folder(tmp_path / "v.npz") as folder:
        (folder / "part").touch()
    assert {path.name for path in tmp_path.iterdir()} == kept | {"f"}


def test_a_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    before = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "t.safetensors") as temporary:
            save_file({"a": np.zeros(1)}, temporary)
        with scratch_folder(tmp_path / "folder") as folder:
            assert folder.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)
    assert (tmp_path / "t.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (None, "# Card\n\nwhole\n"),
        (b"", "# Card\n\nwhole\n"),
        (b"# Card\n\nwho", "# Card\n\nwhole\n"),
        (b"# Card\n" + bytes(8), "# Card\n\nwhole\n"),
        (b"# Card\n\nwhole\n", "# Card\n\nwhole\n"),
        (b"# My card\n", "# My card\n"),
        (b"# My card, without a line's end", "# My card, without a line's end"),
        (b"# Card\n\nwhole, and more", "# Card\n\nwhole, and more"),
    ],
)
def test_a_torn_text_is_written_again_and_an_edited_one_stays(
    found: bytes | None, left: str, tmp_path: Path
) -> None:
    path = tmp_path / "README.md"
    if found is not None:
        path.write_bytes(found)
    restore_text(path, lambda: "# Card\n\nwhole\n")
    assert path.read_text() == left
