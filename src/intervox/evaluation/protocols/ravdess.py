"""RAVDESS: two sentences in eight emotions and two intensities by 24 actors; the speech, not the songs.

``Actor_<n>/03-01-<emotion>-<intensity>-<sentence>-<repetition>-<actor>.wav``; actors of even number are
women. Song files (``03-02-…``) and video are left out.

Source: https://zenodo.org/record/1188976; S. R. Livingstone and F. A. Russo, "The Ryerson
audio-visual database of emotional speech and song (RAVDESS)", PLoS ONE 13(5), 2018.
"""

from pathlib import Path

from intervox.evaluation.protocols.base import Corpus, audio_files
from intervox.manifest import Row, as_labels

_EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
_INTENSITIES = ("normal", "strong")
SENTENCES = ("Kids are talking by the door.", "Dogs are sitting by the door.")


def _read(folder: Path) -> list[Row]:
    rows = []
    for path in audio_files(folder):
        if path.name.startswith("03-01-") and path.stem.count("-") == 6:
            emotion, intensity, sentence, _, actor = path.stem.split("-")[2:]
            labels = as_labels(
                emotion=_EMOTIONS[int(emotion) - 1],
                intensity=_INTENSITIES[int(intensity) - 1],
                gender="male" if int(actor) % 2 else "female",
            )
            rows.append(Row(path, actor, sentence, SENTENCES[int(sentence) - 1], labels=labels))
    return rows


RAVDESS = Corpus(
    ("ravdess", "RAVDESS", "Audio_Speech_Actors_01-24"),
    "CC BY-NC-SA 4.0",
    "https://zenodo.org/record/1188976",
    _read,
)
