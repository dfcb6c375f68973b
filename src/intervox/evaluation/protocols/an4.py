"""AN4, the census corpus: names spelled, dates, numbers and commands, in NIST SPHERE files.

``wav/an4_clstk/<speaker>/<utterance>.sph`` for training, ``wav/an4test_clstk/`` of the same shape for
the test; ``etc/an4_train.transcription`` and ``etc/an4_test.transcription`` have lines ``<s> TEXT </s>
(<utterance>)``. libsndfile reads SPHERE, but not what ``shorten`` compressed; AN4 is not.

Source: README of http://www.speech.cs.cmu.edu/databases/an4/ and ESPnet's preparation; A. Acero,
"Acoustical and environmental robustness in automatic speech recognition", Kluwer, 1993.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from intervox.evaluation.protocols.base import AUDIO, Corpus, audio_files
from intervox.manifest import Row

_LINE = re.compile(r"(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\((\S+)\)")
_SPLITS = {"an4_clstk": "train", "an4test_clstk": "test"}


def _read(folder: Path) -> list[Row]:
    texts = dict(_texts(folder / "etc"))
    rows = []
    for part, split in _SPLITS.items():
        for path in audio_files(folder / "wav" / part, (".sph", *AUDIO)):
            text = texts.get(path.stem, "")
            rows.append(Row(path, path.parent.name, text or path.stem, text, split=split))
    return rows


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.glob("an4_*.transcription"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := _LINE.fullmatch(line.strip()):
                yield match[2], match[1]


AN4 = Corpus(
    ("an4",),
    "free of charge, none stated (CMU)",
    "http://www.speech.cs.cmu.edu/databases/an4/",
    _read,
)
