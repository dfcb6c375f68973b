"""Speech Commands v1 and v2: single words from many people, recorded at home.

``<word>/<speaker>_nohash_<n>.wav``; the ``n`` are takes of one word by one speaker, and which of them
were recorded on one occasion is not known. ``testing_list.txt`` and ``validation_list.txt`` name the
official splits, the rest is for training; where they are missing, the hash that made them decides.

Three tasks: every word of the folder (35 in v2, 30 in v1); the ten commands; and the ten with the
other words as ``unknown``, as many of them in each split as a command has on average. The twelfth
class of that task, silence, is left out: it has no speaker, and what has none is no recording of
a manifest.

Source: README of the corpus and ``which_set`` of TensorFlow's
``examples/speech_commands/input_data.py``; P. Warden, "Speech Commands: a dataset for limited-vocabulary
speech recognition", arXiv 1804.03209.
"""

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from intervox.clips.manifest import Row, as_labels
from intervox.evaluation.protocols.base import DIGITS, CorpusReader


def _read_audiomnist(folder: Path) -> list[Row]:
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


AUDIOMNIST = CorpusReader(
    ("audiomnist", "AudioMNIST"), "MIT", "https://github.com/soerenab/AudioMNIST", _read_audiomnist
)


_TEST = ("0", "1", "2", "3", "4")


def _read_fsdd(folder: Path) -> list[Row]:
    rows = []
    for path in folder.glob("**/[0-9]_*_*.wav"):
        digit, speaker, take = path.stem.split("_")[:3]
        split = "test" if take in _TEST else "train"
        rows.append(Row(path, speaker, digit, text=DIGITS[int(digit)], split=split))
    return rows


FSDD = CorpusReader(
    ("fsdd", "free-spoken-digit-dataset"),
    "CC BY-SA 4.0",
    "https://github.com/Jakobovski/free-spoken-digit-dataset",
    _read_fsdd,
)


COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN = "unknown"
_MOST = 2**27 - 1
_LISTS = {"testing_list.txt": "test", "validation_list.txt": "validation"}
_FOLDERS = (
    "speech_commands",
    "speech_commands_v0.0[12]",
    "SpeechCommands/speech_commands_v0.0[12]",
)


def official_split(speaker: str) -> str:
    """Return the split of a speaker: a hash of the name puts 10 % each in test and validation."""
    percentage = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (_MOST + 1) * (100 / _MOST)
    return "validation" if percentage < 10 else "test" if percentage < 20 else "train"


def _read_speech_commands(folder: Path) -> list[Row]:
    listed = _listed(folder)
    rows = []
    for path in folder.glob("*/*_nohash_*"):
        word, speaker = path.parent.name, path.stem.partition("_nohash_")[0]
        split = listed.get(f"{word}/{path.stem}", "train") if listed else official_split(speaker)
        rows.append(Row(path, speaker, word, split=split))
    return rows


def _listed(folder: Path) -> dict[str, str]:
    if not all((folder / file).is_file() for file in _LISTS):
        return {}
    return {
        name.rpartition(".")[0]: split
        for file, split in _LISTS.items()
        for name in (folder / file).read_text(encoding="utf-8").split()
    }


def _read_commands(folder: Path) -> list[Row]:
    return [row for row in _read_speech_commands(folder) if row.content in COMMANDS]


def _read_with_unknown(folder: Path) -> list[Row]:
    found = _read_speech_commands(folder)
    commands = [row for row in found if row.content in COMMANDS]
    wanted = Counter(row.split for row in commands)
    others = defaultdict(list)
    for row in sorted(found, key=_shuffled):
        if row.content not in COMMANDS:
            others[row.split].append(replace(row, content=UNKNOWN, text=row.content))
    return commands + [
        row for split, rows in others.items() for row in rows[: -(-wanted[split] // len(COMMANDS))]
    ]


def _shuffled(row: Row) -> str:
    """Order clips by a hash, so that any part of them is a fair draw, and always the same."""
    return hashlib.sha1(f"{row.content}/{row.path.stem}".encode()).hexdigest()


_ABOUT = (_FOLDERS, "CC BY 4.0", "https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz")
SPEECH_COMMANDS = CorpusReader(*_ABOUT, _read_speech_commands)
SPEECH_COMMANDS_10 = CorpusReader(*_ABOUT, _read_commands, automatic=False)
SPEECH_COMMANDS_12 = CorpusReader(*_ABOUT, _read_with_unknown, automatic=False)
