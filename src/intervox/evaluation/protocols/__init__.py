"""Evaluation sets: folders as they are distributed, turned into one manifest.

A corpus is a reader in one of these files and one line of ``READERS``; any other one comes with a manifest
of its own. What is evaluated here must not be trained on: ``check_protocols_are_kept`` sees to it.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from pathlib import Path

import numpy as np

from intervox.clips.labels import Text
from intervox.clips.manifest import Row, read_manifest
from intervox.clips.paths import find_path
from intervox.clips.records import format_of
from intervox.corpus.plan.design import plan_cells
from intervox.corpus.plan.texts import reserved_texts
from intervox.engines.clone import CloneEngine
from intervox.engines.unlabelled import UnlabelledEngine
from intervox.errors import IntervoxError
from intervox.evaluation.protocols.base import (
    CorpusReader,
    Protocol,
    read_trials,
    why_no_keywords,
    why_no_verification,
)
from intervox.evaluation.protocols.closed_texts import (
    AUDIOMNIST,
    EMODB,
    FSDD,
    RAVDESS,
    SPEECH_COMMANDS,
    SPEECH_COMMANDS_10,
    SPEECH_COMMANDS_12,
)
from intervox.evaluation.protocols.lists import CNCELEB, VOICES, VOXCELEB1
from intervox.evaluation.protocols.read import AN4, CMU_ARCTIC, COMMON_VOICE, VCTK, librispeech
from intervox.metrics.trials import TrialList
from intervox.recipe import Recipe
from intervox.recipe.engines import CloneSettings, RecordingsSettings, UnlabelledSettings

__all__ = ["READERS", "CorpusReader", "Protocol", "TrialList", "data_folder", "find_protocols"]

READERS: dict[str, CorpusReader] = {
    "librispeech": librispeech("test-other", automatic=True),
    "librispeech_test_clean": librispeech("test-clean", automatic=True),
    "librispeech_dev_other": librispeech("dev-other", automatic=False),
    "librispeech_dev_clean": librispeech("dev-clean", automatic=False),
    "speech_commands": SPEECH_COMMANDS,
    "speech_commands_12": SPEECH_COMMANDS_12,
    "speech_commands_10": SPEECH_COMMANDS_10,
    "fsdd": FSDD,
    "audiomnist": AUDIOMNIST,
    "voxceleb1": VOXCELEB1,
    "voices": VOICES,
    "cnceleb": CNCELEB,
    "vctk": VCTK,
    "cmu_arctic": CMU_ARCTIC,
    "emodb": EMODB,
    "ravdess": RAVDESS,
    "an4": AN4,
    "common_voice": COMMON_VOICE,
}
_OURS = ("corpus", "synthetic")
_OWNERS = "as its owner states"
_MANIFESTS = ("manifest.csv", "manifest.jsonl", "manifest.parquet")
"""Any of them makes a folder a protocol; other names of manifests are also those of other things."""


def data_folder() -> Path:
    """Return where human corpora are looked for: ``$INTERVOX_DATA`` or ``../shared/corpora``."""
    return Path(os.environ.get("INTERVOX_DATA") or "../shared/corpora")


def find_protocols(
    names: tuple[str, ...], max_clips: int | None = None, partial: bool = False
) -> list[Protocol]:
    """Read the named protocols, or with ``auto`` every one that the data folder holds.

    Parameters
    ----------
    names
        Keys of ``READERS``, folders with a manifest, paths of manifests, or ``auto``.
    max_clips
        Keep about this many clips of each, evenly spaced over the sorted paths, and the trials
        between them.
    partial
        Whether a manifest may lack the speakers or the contents, as far as something can be measured.

    Raises
    ------
    IntervoxError
        A protocol that was asked for by name is not there, two have one name, nothing can be measured
        on one, or a list names clips that are not there.
    """
    base = data_folder()
    if "INTERVOX_DATA" in os.environ and not base.is_dir():
        raise IntervoxError(f"INTERVOX_DATA is {base}, which is not a folder: correct or unset it")
    found = [name for name, corpus in READERS.items() if corpus.automatic and corpus.find(base)]
    found += [name for name in _folders(base) if name not in READERS]
    wanted = [name for asked in names for name in (found if asked == "auto" else [asked])]
    protocols = [_thin(_read(name, base, partial), max_clips, partial) for name in dict.fromkeys(wanted)]
    for name, count in Counter(protocol.name for protocol in protocols).items():
        if count > 1:
            raise IntervoxError(f"{count} evaluation sets are named {name!r}: rename a manifest")
    return protocols


def _folders(base: Path) -> list[str]:
    """Return the names of the folders that hold a manifest."""
    return sorted({path.parent.name for name in _MANIFESTS for path in base.glob(f"*/{name}")})


def _corpus_of(name: str) -> CorpusReader:
    """Describe the folder of that name."""
    return CorpusReader((escape(name),), _OWNERS, "", _read_own, _lists_of_own)


def _read_own(folder: Path) -> list[Row]:
    found = [path for name in _MANIFESTS if (path := folder / name).is_file()]
    return read_manifest(found[0]) if found else []


def _lists_of_own(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
    clips = {str(row.path): index for index, row in enumerate(rows)}
    return {
        path.stem: read_trials(path, clips, lambda clip: find_path(str(folder / clip)))
        for path in sorted(folder.glob("trials*.txt"))
    }


def _read(name: str, base: Path, partial: bool) -> Protocol:
    if format_of(path := Path(name)) or path.is_file():
        return _of_manifest(path, partial)
    if not name or Path(name).name != name or name in _OURS:
        ours = " or ".join(map(repr, _OURS))
        raise IntervoxError(f"protocol {name!r}: give the name of a folder in {base}, not {ours}")
    corpus = READERS.get(name) or _corpus_of(name)
    folder = corpus.find(base)
    rows: list[Row] = []
    if folder:
        with _as_distributed(name, corpus, folder):
            rows = sorted(corpus.read(folder), key=lambda row: str(row.path))
    if folder is None or not rows:
        raise IntervoxError(
            f"protocol {name!r} has no recordings in {folder or base / corpus.folders[0]}: set INTERVOX_DATA "
            "to the folder that holds it"
        )
    _check_rows(f"protocol {name!r}", rows, partial=False)
    with _as_distributed(name, corpus, folder):
        lists = corpus.lists(folder, rows)
    return Protocol(name, corpus.licence, rows, lists, corpus.source)


def _of_manifest(path: Path, partial: bool) -> Protocol:
    """Take a manifest, wherever it lies, as a protocol of its file's name without the suffix."""
    if path.stem in _OURS:
        raise IntervoxError(f"{path} has a name that a run uses for its own cells: rename it")
    rows = sorted(read_manifest(path, partial), key=lambda row: str(row.path))
    if not rows:
        raise IntervoxError(f"{path} lists no recordings: write one per row")
    _check_rows(str(path), rows, partial)
    return Protocol(path.stem, _OWNERS, rows)


def _check_rows(name: str, rows: list[Row], partial: bool) -> None:
    """Refuse recordings that verification, or with ``partial`` nothing at all, can be measured on."""
    speakers, contents = [row.speaker for row in rows], [row.content for row in rows]
    verification = why_no_verification(speakers)
    if verification and not partial:
        raise IntervoxError(
            f"{name} needs at least two speakers, and two clips of one of them: it has {len(rows)} clips "
            f"of {len(set(speakers))}"
        )
    if verification and (keywords := why_no_keywords(speakers, contents)):
        both = verification if verification == keywords else f"{verification}, and {keywords}"
        raise IntervoxError(
            f"nothing can be measured on {name}: {both}; verification needs two speakers and two clips of "
            "one of them, keywords need contents that several speakers repeat"
        )


@contextmanager
def _as_distributed(name: str, corpus: CorpusReader, folder: Path) -> Iterator[None]:
    """Say which corpus is not as its reader expects it, instead of where the reader stumbled."""
    try:
        yield
    except (ValueError, LookupError, csv.Error) as error:
        raise IntervoxError(
            f"protocol {name!r}: the tables or file names in {folder} are not those of "
            f"{corpus.source or 'a manifest'} ({error}): unpack it again"
        ) from None


def _thin(protocol: Protocol, max_clips: int | None, partial: bool) -> Protocol:
    count = len(protocol.rows)
    if max_clips is None or count <= max_clips:
        return protocol
    kept = (np.arange(max_clips) * (count / max_clips)).astype(np.int64)
    mask = np.isin(np.arange(count), kept)
    rows = [protocol.rows[index] for index in kept]
    _check_rows(f"protocol {protocol.name!r}", rows, partial)
    lists = {name: trials.take(mask) for name, trials in protocol.lists.items()}
    return replace(protocol, rows=rows, lists={name: t for name, t in lists.items() if len(t)})


def _learnt_from(engine: RecordingsSettings | UnlabelledSettings | CloneSettings) -> tuple[Path, list[Path]]:
    """Return where an engine's recordings are listed, and their paths."""
    if isinstance(engine, RecordingsSettings):
        return engine.manifest, [row.path for row in read_manifest(engine.manifest)]
    if isinstance(engine, CloneSettings):
        return engine.references, CloneEngine(engine).paths
    return engine.files, UnlabelledEngine(engine).paths


def check_protocols_are_kept(recipe: Recipe) -> None:
    """Refuse to train on what is evaluated: recordings of a protocol, or its texts unless asked to.

    Raises
    ------
    IntervoxError
        It names one of them.
    """
    rows = [row for protocol in find_protocols(recipe.evaluation.protocols) for row in protocol.rows]
    for engine in recipe.corpus.engines:
        if isinstance(engine, RecordingsSettings | UnlabelledSettings | CloneSettings):
            source, learnt = _learnt_from(engine)
            measured = {row.path.resolve() for row in rows}
            if both := [path for path in learnt if path.resolve() in measured]:
                raise IntervoxError(
                    f"{source} trains on {len(both):,} recordings that are also evaluated, such as "
                    f"{both[0]}: name other evaluation.protocols"
                )
    if recipe.corpus.texts.protocol_texts:
        return
    planned = plan_cells(recipe.corpus, recipe.seed).group_by(["text", "language", "kind"]).aggregate([])
    texts = (Text(**row) for row in planned.to_pylist())
    reserved = reserved_texts({row.text or row.content for row in rows})
    if found := sorted(text.text for text in texts if text in reserved):
        raise IntervoxError(
            f"{len(found)} texts of the corpus are those of an evaluation protocol, such as {found[0]!r}: "
            "add them to corpus.texts.reserved (recorded ones: take them out of the manifest), or set "
            "corpus.texts.protocol_texts to true"
        )
