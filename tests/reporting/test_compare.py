from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intervox.errors import IntervoxError
from intervox.reporting.compare import (
    Comparison,
    Difference,
    Value,
    compare,
    comparison_panels,
    comparison_tables,
    write_comparison,
)
from intervox.storage import write_json
from tests.support.intervals import ends
from tests.support.metrics import sample_metrics
from tests.support.trials import small_clips, write_small_trials

CLEAN = "EER, clean, different text"


def write_run(folder: Path, noise: float | None, shift: float = 0.0) -> Path:
    """A run with one human protocol, and its trials unless there is no noise to draw them with."""
    metrics = sample_metrics()
    for part in ("protocols", "verification", "keywords"):
        metrics[part] = {"fsdd": metrics[part]["fsdd"]}
    result = metrics["verification"]["fsdd"]["speaker"]["clean"]["different_text"]
    result["eer"] = round(result["eer"] + shift, 5)
    write_json(folder / "metrics.json", metrics)
    if noise is not None:
        write_small_trials(folder, small_clips(), "fsdd", noise)
    return folder


def differences(found: Comparison) -> dict[str, Difference]:
    return {row.figure: row for row in found.differences}


def test_a_run_against_itself(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, 1.0) for name in "ab"]
    found = compare(runs, repeats=40)
    assert len(found.differences) == 3
    for row in found.differences:
        assert (row.difference, row.interval, row.p, row.note) == (0, "all resamples equal", None, "")
    (figures,) = (row for row in found.figures if row.figure == CLEAN)
    assert figures.values[0] == figures.values[1] == Value(0.205, (0.17425, 0.2296))


def test_a_worse_run_is_worse_beyond_doubt(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "good", 0.7), write_run(tmp_path / "bad", 3.0)]
    row = differences(compare(runs, repeats=100))[CLEAN]
    assert row.run == str(runs[1])
    assert row.difference > 0.15
    assert ends(row.interval)[0] > 0
    assert row.p is not None
    assert row.p < 0.05
    assert differences(compare(runs[::-1], repeats=100))[CLEAN].difference == -row.difference


def test_other_trials_are_compared_without_p(tmp_path: Path) -> None:
    first, bare, other = (write_run(tmp_path / name, None, 0.02 * i) for i, name in enumerate("abc"))
    clips = small_clips()
    write_small_trials(first, clips, "fsdd", 1.0)
    write_small_trials(other, clips.take(np.arange(80)), "fsdd", 1.0)
    found = compare([first, bare, other], repeats=10)
    notes = [(row.run, row.difference, row.p, row.note) for row in found.differences[::3]]
    assert notes == [(str(bare), 0.02, None, "no trial files"), (str(other), 0.04, None, "the trials differ")]


def test_a_corpus_that_lies_elsewhere_has_the_same_trials(tmp_path: Path) -> None:
    here, there, swapped = (write_run(tmp_path / name, None, 0.02 * i) for i, name in enumerate("abc"))
    clips = small_clips()
    moved = np.array([f"/mnt/corpora/{path}" for path in clips.paths])
    write_small_trials(here, clips, "fsdd", 1.0)
    write_small_trials(there, replace(clips, paths=moved), "fsdd", 1.0)
    write_small_trials(swapped, replace(clips, paths=clips.paths[::-1].copy()), "fsdd", 1.0)
    found = compare([here, there, swapped], repeats=10)
    assert [row.note for row in found.differences[::3]] == ["", "the trials differ"]


def test_tables_and_page(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, None, 0.01 * i) for i, name in enumerate("ab")]
    found = compare(runs)
    side, paired = comparison_tables(found)
    assert side.header == ["protocol", "figure", *map(str, runs)]
    assert ["fsdd", CLEAN, "20.5 [17.4, 23.0]", "21.5 [17.4, 23.0]"] in side.rows
    assert ["fsdd", CLEAN, str(runs[1]), "1.0", "–", "no trial files"] in paired.rows
    write_comparison(tmp_path / "compare.html", found)
    page = (tmp_path / "compare.html").read_text()
    assert "2 runs side by side" in page
    assert page.index('class="panel"') < page.index("What each claims") < page.index("<h2>Figures")
    assert "21.5" in page


def test_the_chart_has_a_bar_a_run_on_one_scale(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, None, 0.01 * i) for i, name in enumerate("ab")]
    (panel,) = comparison_panels(compare(runs))
    assert [bar.title for bar in panel.bars] == [str(run) for run in runs]
    assert [bar.rates["clean"].value for bar in panel.bars] == [0.205, 0.215]
    assert panel.bars[0].rates["cross_condition"].bounds == (0.2686, 0.35392)
    assert len({bar.kind for bar in panel.bars}) == 2


def test_one_run_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="name two runs or more"):
        compare([write_run(tmp_path, None)])
    with pytest.raises(IntervoxError, match="does not exist"):
        compare([tmp_path, tmp_path / "nowhere"])
