"""VOiCES: LibriSpeech played in rooms with distractors and recorded by many microphones.

``distant-16k/speech/…/Lab41-SRI-VOiCES-<room>-<distractor>-sp<speaker>-ch<chapter>-sg<segment>-mc<id>-
<kind>-<place>-dg<degrees>.wav`` and ``source-16k/…/Lab41-SRI-VOiCES-src-sp…-ch…-sg….wav``; the devkit has
``train`` and ``test`` above the rooms, and texts in ``references/filename_transcripts`` (CSV of number,
file, text). Clips of one segment share their content, clips of one room, distractor and microphone
their session. The trials of the 2019 challenge's development set are
``sid_dev_lists_and_keys/dev-trial-keys.lst``, lines ``<enrolment> sid_dev/sp<speaker>/<file>.wav tgt``
(or ``imp``), an enrolment being one file without its suffix.

Source: https://iqtlabs.github.io/voices/ (README of the corpus), and Kaldi's and ESPnet's preparations of
the challenge and the devkit; C. Richey et al., "Voices Obscured in Complex Environmental Settings
(VOiCES) corpus", Interspeech 2018.
"""

import csv
import re
from pathlib import Path

from intervox.evaluation.protocols.base import Corpus, audio_files
from intervox.evaluation.protocols.trials import by_stem, read_trials, stem
from intervox.evaluation.trials import TrialList
from intervox.manifest import Row, as_labels

_NAME = re.compile(
    r"Lab41-SRI-VOiCES-(?:src|(?P<room>[^-]+)-(?P<distractor>[^-]+))-sp(?P<speaker>\d+)-"
    r"(?P<segment>ch\d+-sg\d+)(?:-(?P<microphone>mc\d+)-(?P<kind>[^-]+)-(?P<place>[^-]+)-dg\d+)?"
)
_FACTORS = ("room", "distractor", "microphone", "kind", "place")


def _read(folder: Path) -> list[Row]:
    texts = _texts(folder / "references" / "filename_transcripts")
    rows = []
    for path in audio_files(folder):
        if match := _NAME.fullmatch(path.stem):
            about = {factor: match[factor] or "" for factor in _FACTORS}
            session = "-".join(about[factor] for factor in _FACTORS[:3]) if about["room"] else "source"
            content = f"{match['speaker']}-{match['segment']}"
            inside = path.parts[len(folder.parts) :]
            split = next((part for part in ("train", "test") if part in inside), "")
            text = texts.get(path.stem, "")
            rows.append(
                Row(path, match["speaker"], content, text, session, split=split, labels=as_labels(**about))
            )
    return rows


def _texts(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {stem(name): text for _, name, text in csv.reader(file)}


def _lists(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
    path = folder / "sid_dev_lists_and_keys" / "dev-trial-keys.lst"
    clips = by_stem(row.path for row in rows)
    return {"challenge_2019_dev": read_trials(path, clips, stem, (2, 0, 1))} if path.is_file() else {}


VOICES = Corpus(
    ("voices", "VOiCES", "VOiCES_devkit", "VOiCES_release"),
    "CC BY 4.0",
    "https://iqtlabs.github.io/voices/downloads/",
    _read,
    _lists,
)
