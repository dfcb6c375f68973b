import csv
from pathlib import Path

import numpy as np
import pytest

from intervox.errors import IntervoxError
from intervox.evaluation.verification import verify
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.metrics.trials import PAIR_COLUMNS
from intervox.metrics.vectors import cosine
from intervox.reporting.trials import (
    read_trials,
    representations,
    select_trials,
    strata,
    stratum_scores,
    stratum_trials,
    trial_path,
    trial_table,
    write_trials_csv,
)
from tests.support.trials import small_clips, small_trials, small_vectors, write_small_trials


def test_a_file_holds_every_trial_once_and_gives_the_same_error_rates(tmp_path: Path) -> None:
    clips = small_clips()
    trials = small_trials(clips)
    write_small_trials(tmp_path, clips, "people", 1.0)
    table = read_trials(tmp_path, "people")
    assert table.column_names == [*PAIR_COLUMNS, *trials, "speaker", "raw.1"]
    assert strata(table) == list(trials)
    assert representations(table) == ["speaker", "raw.1"]
    pairs = set(zip(table["enrol"].to_pylist(), table["test"].to_pylist(), strict=True))
    assert len(pairs) == table.num_rows
    verified = verify({"clean": small_vectors(clips, 1.0)}, trials, clips, 0, 0)
    for stratum, result in verified.conditions["clean"].items():
        targets, impostors = stratum_scores(table, "speaker", stratum)
        assert (len(targets), len(impostors)) == (result.targets, result.impostors)
        assert equal_error_rate(*error_rates(targets, impostors)) == pytest.approx(result.eer, abs=1e-5)


def test_a_row_names_its_clips() -> None:
    clips = small_clips()
    vectors = small_vectors(clips, 1.0)
    table = trial_table(clips, small_trials(clips), {"speaker": vectors})
    place = {path: index for index, path in enumerate(clips.paths)}
    for row in table.slice(0, 200).to_pylist():
        enrol, test = place[row["enrol"]], place[row["test"]]
        assert row["enrol_speaker"] == clips.speakers[enrol]
        assert row["test_content"] == clips.contents[test]
        assert row["target"] == (clips.speakers[enrol] == clips.speakers[test])
        assert row["speaker"] == pytest.approx(float(vectors[enrol] @ vectors[test]), abs=1e-6)
        if row["different_text"]:
            assert row["enrol_content"] != row["test_content"]


def test_trials_can_be_scored_anew() -> None:
    clips = small_clips()
    table = trial_table(clips, small_trials(clips), {"speaker": small_vectors(clips, 1.0)})
    trials, speakers = stratum_trials(table, "same_text_impostors")
    assert (speakers[trials.targets[:, 0]] == speakers[trials.targets[:, 1]]).all()
    assert (speakers[trials.impostors[:, 0]] != speakers[trials.impostors[:, 1]]).all()
    # The clips' paths are sorted, so the numbers of the table are those of the clips.
    scores = stratum_scores(table, "speaker", "same_text_impostors")
    for pairs, found in zip((trials.targets, trials.impostors), scores, strict=True):
        np.testing.assert_allclose(cosine(small_vectors(clips, 1.0), pairs), found, atol=1e-6)


def test_the_worst_errors_come_first(tmp_path: Path) -> None:
    table = write_small_trials(tmp_path, small_clips(), "people", 1.0)
    chosen = select_trials(tmp_path, "people", worst=6)
    targets, impostors = stratum_scores(table, "speaker", "different_text")
    assert chosen["target"].to_pylist() == [False] * 3 + [True] * 3
    scores = chosen["speaker"].to_pylist()
    assert scores[:3] == sorted(impostors.tolist(), reverse=True)[:3]
    assert scores[3:] == sorted(targets.tolist())[:3]
    # As many as were asked for, however they are shared.
    for count in (1, 7, 2 * len(targets) + 1, len(targets) + len(impostors), 10**6):
        found = select_trials(tmp_path, "people", worst=count)["target"].to_pylist()
        assert len(found) == min(count, len(targets) + len(impostors))
        assert (
            len(found) - sum(found) >= sum(found) or sum(found) == len(targets) or count > 2 * len(impostors)
        )
    by_raw = select_trials(tmp_path, "people", "cross_condition", "same_text_impostors", "raw.1", 1)
    assert by_raw["enrol_content"][0].as_py() == by_raw["test_content"][0].as_py()


def test_trials_as_csv(tmp_path: Path) -> None:
    write_small_trials(tmp_path, small_clips(), "people", 1.0)
    chosen = select_trials(tmp_path, "people", stratum="same_text_impostors")
    write_trials_csv(tmp_path / "trials.csv", chosen)
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == chosen.num_rows
    assert rows[0]["enrol"] == chosen["enrol"][0].as_py()
    assert float(rows[-1]["speaker"]) == pytest.approx(chosen["speaker"][-1].as_py())


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="run `intervox evaluate` first"):
        read_trials(tmp_path, "people")
    clips = small_clips()
    write_small_trials(tmp_path, clips, "people", 1.0)
    with pytest.raises(IntervoxError, match=r"no trials of crowd, clean: it has people-clean, people-cross"):
        select_trials(tmp_path, "crowd")
    with pytest.raises(IntervoxError, match="no stratum 'twins': choose from all, different_text"):
        select_trials(tmp_path, "people", stratum="twins")
    with pytest.raises(IntervoxError, match=r"no space 'content': choose from speaker, raw\.1"):
        select_trials(tmp_path, "people", space="content")
    trial_path(tmp_path, "people", "clean").write_bytes(b"nothing")
    with pytest.raises(IntervoxError, match="is no trial file"):
        read_trials(tmp_path, "people")
