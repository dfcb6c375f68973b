"""What an evaluation leaves behind: ``metrics.json``, its trials, the report and the model's card."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from intervox.clips.schema import CorpusFacts
from intervox.evaluation.evaluate import Compared
from intervox.evaluation.findings import Backbone
from intervox.evaluation.results import METRICS, Metrics
from intervox.evaluation.test_sets import CLEAN, TestSet
from intervox.model.files import FILES, RUNS_MODEL
from intervox.reporting import REPORT
from intervox.reporting.report import Made, MapSource, write_report
from intervox.reporting.tables import headline_tables
from intervox.reporting.trials import FOLDER, shown_names, trial_path, trial_table, write_trials
from intervox.storage import file_sha256, read_json, write_json
from intervox.tables import markdown

_RECORD = "evaluation.json"

_CARD = """---
library_name: intervox
license: apache-2.0
tags: [speech, speaker-verification, keyword-spotting]
---

# Intervox subspaces of {backbone}

Recipe `{recipe}`, seed {seed}; trained on {hours} hours of synthetic speech and no human recording.
Backbone weights: fingerprint `{fingerprint}`, not part of `model.safetensors`.

```python
from intervox import SubspaceModel

z = SubspaceModel.from_pretrained("this folder or hub id").encode(["a.wav", "b.wav"])
```

{engines}

## What was measured

{tables}
"""


def forget_results(folder: Path) -> None:
    """Remove an earlier evaluation: of its trials, some may be of sets that this one has not."""
    for name in (_RECORD, METRICS, REPORT):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def finish_results(folder: Path, key: str) -> None:
    """Note what an evaluation depended on and what it left, its model's calibration among it."""
    write_json(folder / _RECORD, {"key": key, "files": _left(folder)})


def finished_results(folder: Path, key: str) -> Metrics | None:
    """Return the metrics of an evaluation with this key, if what it left is as it was."""
    record = read_json(folder / _RECORD) if (folder / _RECORD).exists() else {}
    whole = record.get("key") == key and record.get("files") == _left(folder)
    return Metrics.read(folder / METRICS) if whole else None


def _left(folder: Path) -> dict[str, str]:
    """Hash the files of an evaluation, those that are there."""
    model = [folder / RUNS_MODEL / name for name in FILES]
    paths = [folder / METRICS, folder / REPORT, *folder.glob(f"{FOLDER}/*"), *model]
    return {str(path.relative_to(folder)): file_sha256(path) for path in sorted(paths) if path.is_file()}


def write_results(
    folder: Path,
    metrics: Metrics,
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
        for condition in test_set.whole if test_set.trials else ():
            names = shown_names(metrics, test_set.name, condition, by_name)
            vectors = {name: by_name[name].vectors(test_set, condition) for name in names}
            table = trial_table(test_set.clips, test_set.trials, vectors)
            write_trials(trial_path(folder, test_set.name, condition), table)
        own = {space: by_name[space].vectors(test_set, CLEAN) for space in compared.spaces}
        maps.append(MapSource(test_set.name, test_set.clips, own))
    write_report(folder / REPORT, metrics, maps, made, recordings)
    metrics.write(folder / METRICS)


def model_card(metrics: Metrics, backbone: Backbone, corpus: CorpusFacts) -> str:
    """Write the card from the metrics, the backbone and ``corpus.json``."""
    engines = [
        f"Speech by {name} {about.version}: {about.licence}." for name, about in corpus.engines.items()
    ]
    return _CARD.format(
        backbone=backbone.name,
        fingerprint=backbone.fingerprint,
        recipe=metrics.recipe,
        seed=metrics.seed,
        hours=corpus.hours,
        engines="\n".join(engines),
        tables=markdown(headline_tables(metrics)),
    )
