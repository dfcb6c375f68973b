"""What the results' files hold, and that they read what they write."""

import json
from pathlib import Path

import pytest

from intervox.errors import IntervoxError
from intervox.evaluation.findings import Blocks
from intervox.evaluation.results import Ingredients, Metrics, Separation, Spaces, Sweep
from tests.support.metrics import sample_metrics


def test_metrics_read_what_they_write_leaf_by_leaf(tmp_path: Path) -> None:
    content = sample_metrics()
    metrics = Metrics.model_validate(content)
    metrics.write(tmp_path / "metrics.json")
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert _leaves(written) == _leaves(json.loads(json.dumps(content)))
    assert Metrics.read(tmp_path / "metrics.json") == metrics


def test_own_spaces_and_raw_layers_are_told_apart() -> None:
    found = Metrics.model_validate(sample_metrics()).verification["fsdd"]
    assert sorted(found.own) == ["content", "speaker"]
    assert found.own["speaker"]["clean"]["all"].eer == 0.205
    assert found.raw is not None
    assert found.raw.layers[found.raw.best_layer["clean"]]["clean"]["all"].eer == 0.239


def test_what_was_not_measured_is_absent_from_the_file() -> None:
    assert Separation(keyword_chance=0.1).model_dump(mode="json") == {"keyword_chance": 0.1}
    assert Spaces[int, int](own={"mine": 1}).model_dump(mode="json") == {"mine": 1}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({**sample_metrics(), "schema": 2}, "schema"),
        ({**sample_metrics(), "spaces": None}, "spaces"),
        ({**sample_metrics(), "surprise": 1}, "surprise"),
        ({"cells": 3}, "recipe"),
    ],
)
def test_another_file_or_version_is_one_sentence(
    tmp_path: Path, content: dict[str, object], named: str
) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(content))
    with pytest.raises(IntervoxError, match=rf"metrics\.json.*{named}.*again$") as caught:
        Metrics.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 3'])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(text)
    for kind in (Ingredients, Sweep, Metrics):
        with pytest.raises(IntervoxError, match=r"sweep\.json"):
            kind.read(path)


def test_a_summary_needs_both_of_its_figures() -> None:
    with pytest.raises(ValueError, match="mig"):
        Blocks.model_validate({"dci": None})


def _leaves(value: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Path to every value that is neither a mapping, a list nor null."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)  # type: ignore[assignment]
    else:
        return {} if value is None else {path: value}
    return {leaf: found for key, part in parts for leaf, found in _leaves(part, (*path, str(key))).items()}
