"""Which cells each variant of the ingredients keeps."""

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from intervox.evaluation.studies.ingredients import TrainingPlan, variants

VOICES = ("e1", "e2", "e3", "k1", "k1*0.50+k2*0.50", "k3*0.50+k4*0.50")


def plan(blocks: int = 12, texts: int = 6, copies: int = 3) -> TrainingPlan:
    """Two engines with three voices each in every block, one preset and two mixtures of the second."""
    rows: list[dict[str, Any]] = []
    for block, voice, text, copy in product(range(blocks), VOICES, range(texts), range(copies)):
        rows.append(
            {
                "split": "train",
                "block": block,
                "engine": "espeak" if voice.startswith("e") else "kokoro",
                "voice": voice,
                "speaker": voice,
                "content": f"{block}-{text}",
                "copy": copy,
                "condition": "noise" if copy else "clean",
            }
        )
    rows.append(rows[-1] | {"split": "test", "block": blocks})
    return TrainingPlan(pa.Table.from_pylist(rows))


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, Any]]:
    """Return, for each variant, the columns of the cells that it keeps."""
    whole = plan()
    return {
        f"{variant.group}: {variant.name}": {
            name: values[whole.train & variant.mask] for name, values in whole.columns.items()
        }
        for variant in variants(whole)
    }


def sizes(cells: dict[str, Any]) -> dict[str, int]:
    return {name: len(np.unique(cells[name])) for name in ("block", "speaker", "content", "copy", "engine")}


def test_groups_have_equal_numbers_of_cells(kept: dict[str, dict[str, Any]]) -> None:
    total = 12 * 6 * 6 * 3
    count = {name: len(cells["block"]) for name, cells in kept.items()}
    assert {count[f"engine: {name}"] for name in ("espeak alone", "kokoro alone", "all engines")} == {
        total // 2
    }
    mixtures = [number for name, number in count.items() if name.startswith("mixtures")]
    assert len(mixtures) == 3
    assert max(mixtures) - min(mixtures) <= total / 12
    conditions = [number for name, number in count.items() if name.startswith("conditions")]
    assert conditions == [total // 3] * 3
    shapes = [number for name, number in count.items() if name.startswith("block shape")]
    assert shapes == [total // 3] * 3
    amounts = [number for name, number in count.items() if name.startswith("amount")]
    assert amounts == [total, total // 2, total // 4]


def test_variants_keep_what_they_say(kept: dict[str, dict[str, Any]]) -> None:
    assert sizes(kept["engine: espeak alone"]) == {
        "block": 12, "speaker": 3, "content": 72, "copy": 3, "engine": 1,
    }  # fmt: skip
    assert sizes(kept["block shape: a third of the voices"])["content"] == 72
    for block in range(12):
        here = kept["block shape: a third of the voices"]["block"] == block
        assert set(kept["block shape: a third of the voices"]["engine"][here]) == {"espeak", "kokoro"}
    assert sizes(kept["block shape: a third of the texts"])["content"] == 24
    assert sizes(kept["block shape: a third of the blocks"])["content"] == 24
    assert not any("*" in voice for voice in kept["mixtures: no mixtures"]["voice"])
    swapped = kept["mixtures: mixtures in place of presets"]["voice"]
    mixed = {voice for voice in swapped if voice.startswith("k")}
    assert mixed
    assert mixed <= set(VOICES[4:])
    assert set(kept["conditions: clean"]["copy"]) == {0}


def test_a_corpus_of_one_engine_has_no_engine_group() -> None:
    whole = plan()
    whole.columns["engine"][:] = "espeak"
    whole.columns["voice"][:] = "e1"
    assert {variant.group for variant in variants(whole)} == {"conditions", "block shape", "amount"}


def test_without_a_dry_copy_clean_cells_are_no_group() -> None:
    whole = plan()
    whole.columns["condition"][3] = "noise"
    assert "conditions" not in {variant.group for variant in variants(whole)}


def test_a_tiny_corpus_leaves_empty_variants_out() -> None:
    whole = plan(blocks=1, texts=2, copies=1)
    assert all((variant.mask & whole.train).any() for variant in variants(whole))
