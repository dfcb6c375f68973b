"""AudioMNIST: ten digits fifty times by each of sixty speakers, each on one occasion in one room.

``data/<speaker>/<digit>_<speaker>_<n>.wav`` and ``data/audioMNIST_meta.txt``, JSON from speaker to
``accent``, ``age``, ``gender``, ``native speaker``, ``origin``, ``recordingdate`` and ``recordingroom``.

Source: https://github.com/soerenab/AudioMNIST (README, ``preprocess_data.py``); S. Becker et al.,
"AudioMNIST: exploring explainable artificial intelligence for audio analysis on a simple benchmark",
Journal of the Franklin Institute 361, 2024 (arXiv 1807.03418).
"""

import json
from pathlib import Path
from typing import Any

from intervox.evaluation.protocols.base import DIGITS, Corpus
from intervox.manifest import Row, as_labels


def _read(folder: Path) -> list[Row]:
    meta = next(folder.glob("**/audioMNIST_meta.txt"), None)
    speakers: dict[str, dict[str, Any]] = json.loads(meta.read_text(encoding="utf-8")) if meta else {}
    rows = []
    for path in folder.glob("**/[0-9]_*_*.wav"):
        digit, speaker = path.stem.split("_")[:2]
        about = speakers.get(speaker, {})
        labels = as_labels(
            gender=about.get("gender", ""),
            accent=about.get("accent", "").lower(),
            native=about.get("native speaker", ""),
            room=about.get("recordingroom", ""),
        )
        session = about.get("recordingdate", "")
        rows.append(Row(path, speaker, digit, DIGITS[int(digit)], session, labels=labels))
    return rows


AUDIOMNIST = Corpus(("audiomnist", "AudioMNIST"), "MIT", "https://github.com/soerenab/AudioMNIST", _read)
