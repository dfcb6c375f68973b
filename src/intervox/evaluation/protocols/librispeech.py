"""LibriSpeech: read books, a few chapters a speaker.

``<set>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac``, with the chapter's texts beside the clips in
``<speaker>-<chapter>.trans.txt``, a line ``<utterance> TEXT`` each, and ``SPEAKERS.TXT`` next to the
sets: ``id | sex | set | minutes | name``. No two utterances count as the same content.

Source: https://www.openslr.org/12/ and its README; V. Panayotov et al., "LibriSpeech: an ASR corpus based
on public domain audio books", ICASSP 2015.
"""

from collections.abc import Iterator
from pathlib import Path

from intervox.evaluation.protocols.base import Corpus, audio_files
from intervox.manifest import Row, as_labels

_SEXES = {"F": "female", "M": "male"}


def librispeech(name: str, automatic: bool) -> Corpus:
    """Describe one of the sets, such as ``test-other``."""
    return Corpus(
        (f"librispeech/{name}", f"LibriSpeech/{name}"),
        "CC BY 4.0",
        "https://www.openslr.org/12/",
        _read,
        automatic=automatic,
    )


def _read(folder: Path) -> list[Row]:
    texts = dict(_texts(folder))
    sexes = dict(_sexes(folder.parent / "SPEAKERS.TXT"))
    rows = []
    for path in audio_files(folder, (".flac",)):
        speaker, _, rest = path.stem.partition("-")
        chapter, dash, _ = rest.partition("-")
        if dash:
            text = texts.get(path.stem, "")
            labels = as_labels(gender=sexes.get(speaker, ""))
            rows.append(Row(path, speaker, path.stem, text, chapter, labels=labels))
    return rows


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in audio_files(folder, (".trans.txt",)):
        for line in path.read_text(encoding="utf-8").splitlines():
            utterance, _, text = line.partition(" ")
            yield utterance, text


def _sexes(path: Path) -> Iterator[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        if not line.startswith(";"):
            speaker, sex, *_ = (part.strip() for part in line.split("|"))
            yield speaker, _SEXES[sex]
