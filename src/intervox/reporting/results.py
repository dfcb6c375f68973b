"""What an evaluation leaves behind: ``metrics.json``, the trials behind it, and the report."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intervox.evaluation.evaluate import Compared
from intervox.evaluation.results import METRICS
from intervox.evaluation.test_sets import CLEAN, TestSet
from intervox.reporting import REPORT
from intervox.reporting.formats import markdown
from intervox.reporting.report import Made, MapSource, write_report
from intervox.reporting.tables import headline_tables
from intervox.reporting.trials import FOLDER, shown_names, trial_path, trial_table, write_trials
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


def model_card(metrics: dict[str, Any], corpus: dict[str, Any]) -> str:
    """Write the card from ``metrics.json`` and ``corpus.json``."""
    engines = [
        f"Speech by {name} {about['version']}: {about['licence']}."
        for name, about in corpus["engines"].items()
    ]
    return _CARD.format(
        backbone=metrics["backbone"]["name"],
        fingerprint=metrics["backbone"]["fingerprint"],
        recipe=metrics["recipe"],
        seed=metrics["seed"],
        hours=corpus["hours"],
        engines="\n".join(engines),
        tables=markdown(headline_tables(metrics)),
    )
