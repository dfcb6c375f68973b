"""Corpora in which all say the same few words or sentences: digits, commands, acted emotions."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from intervox.clips.manifest import Row, as_labels
from intervox.evaluation.protocols.base import DIGITS, CorpusReader, audio_files


def _read_audiomnist(folder: Path) -> list[Row]:
    """Read AudioMNIST: ten digits fifty times by each of sixty speakers, each on one occasion in one room.

    ``data/<speaker>/<digit>_<speaker>_<n>.wav`` and ``data/audioMNIST_meta.txt``, JSON from speaker to
    ``accent``, ``age``, ``gender``, ``native speaker``, ``origin``, ``recordingdate`` and ``recordingroom``.

    Source: https://github.com/soerenab/AudioMNIST (README, ``preprocess_data.py``); S. Becker et al.,
    "AudioMNIST: exploring explainable artificial intelligence for audio analysis on a simple benchmark",
    Journal of the Franklin Institute 361, 2024 (arXiv 1807.03418).
    """
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


_FSDD_TEST = ("0", "1", "2", "3", "4")


def _read_fsdd(folder: Path) -> list[Row]:
    """Read Free Spoken Digit Dataset: ten digits, six speakers, 8 kHz.

    ``recordings/<digit>_<speaker>_<n>.wav``; recordings 0 to 4 of each digit are the official test set.

    Source: https://github.com/Jakobovski/free-spoken-digit-dataset (README).
    """
    rows = []
    for path in folder.glob("**/[0-9]_*_*.wav"):
        digit, speaker, take = path.stem.split("_")[:3]
        split = "test" if take in _FSDD_TEST else "train"
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
_MOST_HASHES = 2**27 - 1
_SPLIT_LISTS = {"testing_list.txt": "test", "validation_list.txt": "validation"}


def official_split(speaker: str) -> str:
    """Return the split of a speaker: a hash of the name puts 10 % each in test and validation."""
    percentage = (
        int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (_MOST_HASHES + 1) * (100 / _MOST_HASHES)
    )
    return "validation" if percentage < 10 else "test" if percentage < 20 else "train"


def _read_speech_commands(folder: Path) -> list[Row]:
    """Read Speech Commands v1 and v2: single words from many people, recorded at home.

    ``<word>/<speaker>_nohash_<n>.wav``; the ``n`` are takes of one word by one speaker, and which of them
    were recorded on one occasion is not known. ``testing_list.txt`` and ``validation_list.txt`` name the
    official splits, the rest is for training; where they are missing, the hash that made them decides.

    Three tasks: every word of the folder (35 in v2, 30 in v1); the ten commands; and the ten with the
    other words as ``unknown``, as many of them in each split as a command has on average. The twelfth
    class of that task, silence, is left out: it has no speaker, and what has none is not a recording of
    a manifest.

    Source: README of the corpus and ``which_set`` of TensorFlow's
    ``examples/speech_commands/input_data.py``; P. Warden, "Speech Commands: a dataset for limited-vocabulary
    speech recognition", arXiv 1804.03209.
    """
    listed = _listed(folder)
    rows = []
    for path in folder.glob("*/*_nohash_*"):
        word, speaker = path.parent.name, path.stem.partition("_nohash_")[0]
        split = listed.get(f"{word}/{path.stem}", "train") if listed else official_split(speaker)
        rows.append(Row(path, speaker, word, split=split))
    return rows


def _listed(folder: Path) -> dict[str, str]:
    if not all((folder / file).is_file() for file in _SPLIT_LISTS):
        return {}
    return {
        name.rpartition(".")[0]: split
        for file, split in _SPLIT_LISTS.items()
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


_ABOUT = (
    ("speech_commands", "speech_commands_v0.0[12]", "SpeechCommands/speech_commands_v0.0[12]"),
    "CC BY 4.0",
    "https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
)
SPEECH_COMMANDS = CorpusReader(*_ABOUT, _read_speech_commands)
SPEECH_COMMANDS_10 = CorpusReader(*_ABOUT, _read_commands, automatic=False)
SPEECH_COMMANDS_12 = CorpusReader(*_ABOUT, _read_with_unknown, automatic=False)


_EMODB_NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])[a-z]?")
_WOMEN = {"08", "09", "13", "14", "16"}
_EMODB_EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness",
    "N": "neutral",
}  # fmt: skip
EMODB_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def _read_emodb(folder: Path) -> list[Row]:
    """Read EmoDB: ten German sentences in seven emotions by ten actors.

    ``wav/<speaker><sentence><emotion><version>.wav``, such as ``03a01Fa.wav``: speaker 03, sentence a01,
    Freude, version a.

    Source: http://emodb.bilderbar.info/docu/; the licence as audEERING publishes the database;
    F. Burkhardt et al., "A database of German emotional speech", Interspeech 2005.
    """
    rows = []
    for path in audio_files(folder):
        if match := _EMODB_NAME.fullmatch(path.stem):
            speaker, sentence, emotion = match.groups()
            gender = "female" if speaker in _WOMEN else "male"
            labels = as_labels(emotion=_EMODB_EMOTIONS[emotion], gender=gender)
            text = EMODB_SENTENCES.get(sentence, "")
            rows.append(Row(path, speaker, sentence, text, language="de", labels=labels))
    return rows


EMODB = CorpusReader(
    ("emodb", "EmoDB", "emo-db"), "CC0 1.0", "http://emodb.bilderbar.info/download/download.zip", _read_emodb
)


_RAVDESS_EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
_INTENSITIES = ("normal", "strong")
RAVDESS_SENTENCES = ("Kids are talking by the door.", "Dogs are sitting by the door.")


def _read_ravdess(folder: Path) -> list[Row]:
    """Read RAVDESS: two sentences in eight emotions and two intensities by 24 actors; speech, not songs.

    ``Actor_<n>/03-01-<emotion>-<intensity>-<sentence>-<repetition>-<actor>.wav``; actors of even number are
    women. Song files (``03-02-…``) and video are left out.

    Source: https://zenodo.org/record/1188976; S. R. Livingstone and F. A. Russo, "The Ryerson
    audio-visual database of emotional speech and song (RAVDESS)", PLoS ONE 13(5), 2018.
    """
    rows = []
    for path in audio_files(folder):
        if path.name.startswith("03-01-") and path.stem.count("-") == 6:
            emotion, intensity, sentence, _, actor = path.stem.split("-")[2:]
            labels = as_labels(
                emotion=_RAVDESS_EMOTIONS[int(emotion) - 1],
                intensity=_INTENSITIES[int(intensity) - 1],
                gender="male" if int(actor) % 2 else "female",
            )
            rows.append(Row(path, actor, sentence, RAVDESS_SENTENCES[int(sentence) - 1], labels=labels))
    return rows


RAVDESS = CorpusReader(
    ("ravdess", "RAVDESS", "Audio_Speech_Actors_01-24"),
    "CC BY-NC-SA 4.0",
    "https://zenodo.org/record/1188976",
    _read_ravdess,
)
