import subprocess
import sys
import time
from pathlib import Path

import pytest

from intervox.locks import in_turn

HOLD = """
import sys, time
from pathlib import Path
from intervox.locks import in_turn
folder = Path(sys.argv[1])
with in_turn(folder / ".lock", folder):
    (folder / "held").touch()
    time.sleep(float(sys.argv[2]))
    (folder / "done").touch()
"""


def hold(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder, str(seconds)])
    while not (folder / "held").exists():
        time.sleep(0.01)
    return process


def test_one_waits_for_the_other_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = hold(tmp_path, 1.5)
    with in_turn(tmp_path / ".lock", tmp_path), in_turn(tmp_path / ".lock", tmp_path):
        assert (tmp_path / "done").exists()
    assert other.wait() == 0
    assert f"another command is writing {tmp_path}: waiting" in capsys.readouterr().err


def test_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    other = hold(tmp_path, 600)
    other.kill()
    other.wait()
    with in_turn(tmp_path / ".lock", tmp_path):
        assert not (tmp_path / "done").exists()


def test_where_no_lock_can_be_made_the_owner_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught, in_turn(Path("/proc/.lock"), Path("/proc/mine")):
        pass
    assert caught.value.filename == "/proc/mine"
