"""The notebook runs from top to bottom, shows what it says, and is kept without outputs."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

TOUR = ROOT / "examples" / "tour.ipynb"


def kept() -> Any:
    return nbformat.read(TOUR, as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    notebook = kept()
    folder = tmp_path_factory.mktemp("tour")
    where = {"metadata": {"path": folder}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=where).execute()
    return notebook


def printed(notebook: Any, code: str) -> str:
    """Return what the cells that hold a piece of code printed."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and code in cell.source]
    assert cells, f"no cell has {code}"
    return "".join(output.text for cell in cells for output in cell.outputs if output.output_type == "stream")


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in kept().cells:
        if cell.cell_type == "code":
            assert cell.execution_count is None
            assert not cell.outputs


def test_the_site_has_the_notebook_of_the_examples() -> None:
    assert Path(ROOT / "docs" / "tour.ipynb").resolve() == TOUR.resolve()


def test_the_clips_are_told_apart_by_who_speaks(executed: Any) -> None:
    same, other = printed(executed, "model.compare(").splitlines()
    assert "accepted=True" in same
    assert "accepted=False" in other
    assert "['Anna' 'Ben' 'unknown']" in printed(executed, "verifier.predict(")


def test_the_keywords_are_found_in_their_order(executed: Any) -> None:
    found = [line.split()[0] for line in printed(executed, "spotter.scan(").splitlines()]
    assert found == ["computer", "butterfly"]


def test_three_plots_are_drawn(executed: Any) -> None:
    drawn = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(drawn) == 3
