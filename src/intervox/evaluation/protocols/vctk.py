"""VCTK: 110 English speakers of many accents, about 400 read sentences each.

Version 0.92: ``wav48_silence_trimmed/<speaker>/<speaker>_<n>_mic1.flac`` (and ``mic2``, the same readings,
left out). Version 0.80: ``wav48/<speaker>/<speaker>_<n>.wav``. Both: ``txt/<speaker>/<speaker>_<n>.txt`` and
``speaker-info.txt``, columns of speaker (with or without ``p``), age, gender, accent and region. Equal
numbers are not equal sentences, so the content is the text, and each clip's text file is read.

Source: https://doi.org/10.7488/ds/2645 (README) and torchaudio's ``datasets/vctk.py``; J. Yamagishi,
C. Veaux, K. MacDonald, "CSTR VCTK Corpus (version 0.92)", University of Edinburgh, 2019.
"""

from collections.abc import Iterator
from pathlib import Path

from intervox.evaluation.protocols.base import Corpus, audio_files
from intervox.manifest import Row, as_labels

_GENDERS = {"F": "female", "M": "male"}


def _read(folder: Path) -> list[Row]:
    about = dict(_speakers(folder / "speaker-info.txt"))
    texts = dict(_texts(folder / "txt"))
    rows = []
    trimmed = folder / "wav48_silence_trimmed"
    for path in audio_files(trimmed if trimmed.is_dir() else folder / "wav48"):
        utterance, _, microphone = path.stem.partition("_mic")
        if microphone != "2":
            speaker = path.parent.name
            gender, accent = about.get(speaker.removeprefix("p"), ("", ""))
            text = texts.get(utterance, "")
            labels = as_labels(gender=gender, accent=accent)
            rows.append(Row(path, speaker, text or utterance, text, labels=labels))
    return rows


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in audio_files(folder, (".txt",)):
        yield path.stem, path.read_text(encoding="utf-8").strip()


def _speakers(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    for line in lines:
        speaker, _, gender, accent, *_ = line.split()
        yield speaker.removeprefix("p"), (_GENDERS.get(gender, ""), accent)


VCTK = Corpus(
    ("vctk", "VCTK", "VCTK-Corpus-0.92", "VCTK-Corpus"),
    "CC BY 4.0 (version 0.92; ODC-By 1.0 before)",
    "https://doi.org/10.7488/ds/2645",
    _read,
)
