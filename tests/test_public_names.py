"""``import intervox`` costs nothing, and a type checker knows what its names are."""

import subprocess
import sys
from pathlib import Path

import pytest

import intervox
from tests.conftest import ROOT

USER = """
import intervox
from intervox import SpeakerVerifier, SubspaceModel

model = SubspaceModel.from_pretrained("default", device="cpu")
reveal_type(model)
reveal_type(intervox.SubspaceModel)
reveal_type(model.compare("a.wav", "b.wav").accepted)
reveal_type(model.encode(["a.wav"], show_progress=True)["speaker"].shape)
model.encode(["a.wav"], batch_seconds="many")
SpeakerVerifier(model).verify("who.wav", 3)
intervox.no_such_name
"""


def test_every_public_name_is_there() -> None:
    for name in intervox.__all__:
        assert getattr(intervox, name) is not None
    assert set(dir(intervox)) == set(intervox.__all__) == {"__version__", *intervox._HOMES}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        intervox.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_import_is_lazy() -> None:
    code = "import sys, intervox; print({'torch', 'numpy', 'transformers', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.slow
def test_a_user_of_the_package_gets_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = tmp_path / "user.py"
    script.write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), str(script)],
        cwd=ROOT,
        env={"MYPYPATH": str(ROOT / "src"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    said = [
        # By its name: a result from the cache has the path of the run before.
        line.split(":", 2)[2].strip()
        for line in done.stdout.splitlines()
        if f"{script.name}:" in line
    ]
    types = [line.split('"')[1] for line in said if "Revealed type" in line]
    assert types, done.stdout + done.stderr
    assert types[0] == "intervox.model.model.SubspaceModel"
    assert "SubspaceModel" in types[1]
    assert types[1] != "Any"
    assert types[2] == "bool"
    assert types[3].startswith("tuple[")
    errors = [line for line in said if line.startswith("error")]
    assert len(errors) == 3, done.stdout
    assert 'No overload variant of "encode"' in errors[0]
    assert 'incompatible type "int"; expected "str"' in errors[1]
    assert 'has no attribute "no_such_name"' in errors[2]
