"""EmoDB: ten German sentences in seven emotions by ten actors.

``wav/<speaker><sentence><emotion><version>.wav``, such as ``03a01Fa.wav``: speaker 03, sentence a01,
Freude, version a.

Source: http://emodb.bilderbar.info/docu/; the licence as audEERING publishes the database;
F. Burkhardt et al., "A database of German emotional speech", Interspeech 2005.
"""

import re
from pathlib import Path

from intervox.evaluation.protocols.base import Corpus, audio_files
from intervox.manifest import Row, as_labels

_NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])[a-z]?")
_WOMEN = {"08", "09", "13", "14", "16"}
_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
SENTENCES = {
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


def _read(folder: Path) -> list[Row]:
    rows = []
    for path in audio_files(folder):
        if match := _NAME.fullmatch(path.stem):
            speaker, sentence, emotion = match.groups()
            gender = "female" if speaker in _WOMEN else "male"
            labels = as_labels(emotion=_EMOTIONS[emotion], gender=gender)
            text = SENTENCES.get(sentence, "")
            rows.append(Row(path, speaker, sentence, text, language="de", labels=labels))
    return rows


EMODB = Corpus(
    ("emodb", "EmoDB", "emo-db"),
    "CC0 1.0",
    "http://emodb.bilderbar.info/download/download.zip",
    _read,
)
