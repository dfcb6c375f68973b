"""Free Spoken Digit Dataset: ten digits, six speakers, 8 kHz.

``recordings/<digit>_<speaker>_<n>.wav``; recordings 0 to 4 of each digit are the official test set.

Source: https://github.com/Jakobovski/free-spoken-digit-dataset (README).
"""

from pathlib import Path

from intervox.evaluation.protocols.base import DIGITS, Corpus
from intervox.manifest import Row

_TEST = ("0", "1", "2", "3", "4")


def _read(folder: Path) -> list[Row]:
    rows = []
    for path in folder.glob("**/[0-9]_*_*.wav"):
        digit, speaker, take = path.stem.split("_")[:3]
        split = "test" if take in _TEST else "train"
        rows.append(Row(path, speaker, digit, text=DIGITS[int(digit)], split=split))
    return rows


FSDD = Corpus(
    ("fsdd", "free-spoken-digit-dataset"),
    "CC BY-SA 4.0",
    "https://github.com/Jakobovski/free-spoken-digit-dataset",
    _read,
)
