"""RAVDESS: two sentences in eight emotions and two intensities by 24 actors; the speech, not the songs.

``Actor_<n>/03-01-<emotion>-<intensity>-<sentence>-<repetition>-<actor>.wav``; actors of even number are
women. Song files (``03-02-…``) and video are left out.

Source: https://zenodo.org/record/1188976; S. R. Livingstone and F. A. Russo, "The Ryerson
audio-visual database of emotional speech and song (RAVDESS)", PLoS ONE 13(5), 2018.
"""

import re
from pathlib import Path

from intervox.clips.manifest import Row, as_labels
from intervox.evaluation.protocols.base import CorpusReader, audio_files

_NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])[a-z]?")
_WOMEN = {"08", "09", "13", "14", "16"}
_EMODB_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
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
    rows = []
    for path in audio_files(folder):
        if match := _NAME.fullmatch(path.stem):
            speaker, sentence, emotion = match.groups()
            gender = "female" if speaker in _WOMEN else "male"
            labels = as_labels(emotion=_EMODB_EMOTIONS[emotion], gender=gender)
            text = EMODB_SENTENCES.get(sentence, "")
            rows.append(Row(path, speaker, sentence, text, language="de", labels=labels))
    return rows


EMODB = CorpusReader(
    ("emodb", "EmoDB", "emo-db"),
    "CC0 1.0",
    "http://emodb.bilderbar.info/download/download.zip",
    _read_emodb,
)


_RAVDESS_EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
_INTENSITIES = ("normal", "strong")
RAVDESS_SENTENCES = ("Kids are talking by the door.", "Dogs are sitting by the door.")


def _read_ravdess(folder: Path) -> list[Row]:
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
