"""Corpora of one's own: a folder with a manifest, and lists of trials beside it.

``manifest.csv``, ``.jsonl`` or ``.parquet`` as :mod:`intervox.manifest` has it; ``trials.txt`` and any
further ``trials-<name>.txt`` hold lines ``1 enrol test`` (or ``0``), with paths as in the manifest.
"""

from glob import escape
from pathlib import Path

from intervox.evaluation.protocols.base import Corpus
from intervox.evaluation.protocols.trials import read_trials
from intervox.evaluation.trials import TrialList
from intervox.manifest import FORMATS, Row, read_manifest


def folders(base: Path) -> list[str]:
    """Return the names of the folders that hold a manifest."""
    return sorted({path.parent.name for format in FORMATS for path in base.glob(f"*/manifest{format}")})


def corpus(name: str) -> Corpus:
    """Describe the folder of that name."""
    return Corpus((escape(name),), "as its owner states", "", _read, _lists)


def _read(folder: Path) -> list[Row]:
    found = [path for format in FORMATS if (path := folder / f"manifest{format}").is_file()]
    return read_manifest(found[0]) if found else []


def _lists(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
    clips = {str(row.path): index for index, row in enumerate(rows)}
    return {
        path.stem: read_trials(path, clips, lambda clip: str(folder / clip))
        for path in sorted(folder.glob("trials*.txt"))
    }
