"""What an evaluation leaves behind: ``metrics.json``, the trials behind it, and the report."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intervox.evaluation.evaluate import Compared
from intervox.evaluation.test_sets import CLEAN, TestSet
from intervox.reporting import METRICS, REPORT
from intervox.reporting.report import Made, MapSource, write_report
from intervox.reporting.trial_files import FOLDER, shown_names, trial_path, trial_table, write_trials
from intervox.storage import write_json


def forget_results(folder: Path) -> None:
    """Remove an earlier evaluation: of its trials, some may be of sets that this one has not."""
    for name in (METRICS, REPORT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def write_results(
    folder: Path,
    metrics: dict[str, Any],
    compared: Compared,
    test_sets: Sequence[TestSet],
    made: Made | None,
    recordings: bool,
) -> None:
    """Write the trials, the report and, when all else is there, the metrics.

    Parameters
    ----------
    made
        How the model came to be, where it is ours.
    recordings
        Whether the report holds the recordings of the worst errors.
    """
    by_name = {representation.name: representation for representation in compared.representations}
    maps = []
    for test_set in test_sets:
        for condition in test_set.whole:
            names = shown_names(metrics, test_set.name, condition, by_name)
            vectors = {name: by_name[name].vectors(test_set, condition) for name in names}
            table = trial_table(test_set.clips, test_set.trials, vectors)
            write_trials(trial_path(folder, test_set.name, condition), table)
        own = {space: by_name[space].vectors(test_set, CLEAN) for space in compared.spaces}
        maps.append(MapSource(test_set.name, test_set.clips, own))
    write_report(folder / REPORT, metrics, maps, made, recordings)
    write_json(folder / METRICS, metrics)
