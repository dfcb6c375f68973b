"""What is published runs: the wheel of the source archive, installed where no checkout is."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

pytest.importorskip("setuptools_scm", reason="the version of a wheel needs it: pip install intervox[dev]")

ARCHIVE = "import sys; from setuptools.build_meta import build_sdist; print(build_sdist(sys.argv[1]))"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*words: str | Path, cwd: Path) -> str:
    """Run a program that knows nothing of this checkout; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the archive from the files that git knows, and the wheel from the archive, where no git is."""
    if not shutil.which("git"):
        pytest.skip("the source archive is made of the files that git knows")
    folder = tmp_path_factory.mktemp("built")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=folder / "source", check=True)
    archive = run(sys.executable, "-c", ARCHIVE, folder, cwd=folder / "source").splitlines()[-1]
    made = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", "-q", "-w", folder)
    run(*PIP, *made, folder / archive, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it into an environment that sees this one's packages, and return the folder of its programs."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # Lines of a .pth file are searched last, and the .pth files in them are not read: no editable install.
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    Path(purelib, "environment.pth").write_text("\n".join(packages) + "\n")
    run(*PIP, "--python", python, "install", "--no-deps", "--no-index", "-q", wheel, cwd=folder)
    return folder / "bin"


def test_all_files_of_the_package_are_in_the_wheel(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True)
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    assert {name.removeprefix("src/") for name in tracked.stdout.split()} <= names
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert not any(name.startswith(("tests/", "docs/")) for name in names)


def test_the_version_is_that_of_the_wheel(installed: Path, wheel: Path, tmp_path: Path) -> None:
    said = run(installed / "intervox", "--version", cwd=tmp_path)
    assert said == f"intervox {wheel.name.split('-')[1]}\n"
    where = run(installed / "python", "-c", "import intervox; print(intervox.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(installed.parent)


def test_a_message_names_the_wheel_that_has_the_extra(installed: Path, wheel: Path, tmp_path: Path) -> None:
    code = "from intervox.errors import install_command; print(install_command('media'))"
    said = run(installed / "python", "-c", code, cwd=tmp_path)
    assert said == f"pip install 'intervox[media] @ {wheel.as_uri()}'\n"


@pytest.mark.end_to_end
@pytest.mark.long
def test_the_installed_wheel_runs_the_whole_path(installed: Path, tmp_path: Path) -> None:
    run(installed / "intervox", "run", "mini", cwd=tmp_path)
    assert (tmp_path / "runs" / "mini" / "report.html").stat().st_size > 10_000
