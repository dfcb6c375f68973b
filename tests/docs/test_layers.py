"""The picture of the layers: drawn from the contract, and kept up to date."""

import runpy

from tests.conftest import ROOT

CONTRACT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
DRAWING = runpy.run_path(str(ROOT / "benchmarks" / "layers.py"))


def test_the_picture_is_that_of_the_contract() -> None:
    assert (ROOT / "docs" / "layers.svg").read_text(encoding="utf-8") == DRAWING["picture"](CONTRACT), (
        "run `make figures`"
    )


def test_every_package_has_a_layer() -> None:
    source = ROOT / "src" / "intervox"
    there = {
        path.stem for path in source.iterdir() if (path / "__init__.py").is_file() or path.suffix == ".py"
    }
    layered = {name for layer in DRAWING["layers"](CONTRACT) for name in layer}
    assert layered == there - {"__init__", "__main__"}
