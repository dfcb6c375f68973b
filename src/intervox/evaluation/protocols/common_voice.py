"""Mozilla Common Voice: sentences read by volunteers, in many languages.

``<release>/<locale>/clips/*.mp3`` with ``train.tsv``, ``dev.tsv``, ``test.tsv`` and ``validated.tsv``:
tab-separated, unquoted, with a header that names ``client_id``, ``path``, ``sentence`` and, from release to
release, ``gender``, ``age``, ``accents`` (or ``accent``) and ``locale``. The first three tables are the
official splits; what is in ``validated.tsv`` alone has none. Every locale of the folder is read, and of
the clips only their names in the tables.

Source: https://commonvoice.mozilla.org/datasets and torchaudio's ``datasets/commonvoice.py``; R. Ardila et
al., "Common Voice: a massively-multilingual speech corpus", LREC 2020.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from intervox.errors import IntervoxError
from intervox.evaluation.protocols.base import Corpus
from intervox.manifest import Row, as_labels

_TABLES = {"test.tsv": "test", "dev.tsv": "validation", "train.tsv": "train", "validated.tsv": ""}
_NEEDED = ("client_id", "path", "sentence")


def _read(folder: Path) -> list[Row]:
    # Stop where the first are found: one level below them lie the clips.
    for pattern in ("clips", "*/clips", "*/*/clips"):
        if homes := sorted(path.parent for path in folder.glob(pattern)):
            return [row for home in homes for row in _of_locale(home)]
    return []


def _of_locale(home: Path) -> Iterator[Row]:
    seen: set[str] = set()
    for table, split in _TABLES.items():
        if (home / table).is_file():
            for row in _of_table(home / table, split):
                if row.path.name not in seen:
                    seen.add(row.path.name)
                    yield row


def _of_table(path: Path, split: str) -> Iterator[Row]:
    clips, locale = path.parent / "clips", path.parent.name
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
        if missing := sorted(set(_NEEDED) - set(reader.fieldnames or ())):
            raise IntervoxError(f"{path} lacks the columns {', '.join(missing)}: unpack the release again")
        for record in reader:
            name = record["path"].removesuffix(".mp3") + ".mp3"
            labels = as_labels(
                gender=record.get("gender", "").split("_")[0],
                age=record.get("age", ""),
                accent=record.get("accents") or record.get("accent", ""),
            )
            language = record.get("locale") or locale
            text = record["sentence"]
            yield Row(
                clips / name, record["client_id"], text, text, language=language, split=split, labels=labels
            )


COMMON_VOICE = Corpus(
    ("common_voice", "CommonVoice", "cv-corpus-*"),
    "CC0 1.0",
    "https://commonvoice.mozilla.org/datasets",
    _read,
)
