"""Corpora with official verification lists: CN-Celeb, VOiCES, VoxCeleb1."""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from intervox.clips.manifest import Row, as_labels
from intervox.clips.text_files import open_text
from intervox.evaluation.protocols.base import GENDERS, CorpusReader, audio_files, by_stem, read_trials, stem
from intervox.metrics.trials import TrialList


def _read_cnceleb(folder: Path) -> list[Row]:
    """Read CN-Celeb: Chinese celebrities in eleven genres, the evaluation part.

    ``eval/enroll/<speaker>-enroll.flac``, a speaker's enrolment utterances in one file, and
    ``eval/test/<speaker>-<genre>-<session>-<n>.flac``. ``eval/lists/trials.lst`` has lines ``<speaker>-enroll
    test/<file>.wav 1`` (or ``0``), with ``.wav`` also where the files are FLAC; ``enroll.lst`` names the
    enrolment files alike. What is said is not known.

    Source: https://www.openslr.org/82/ and Kaldi's ``egs/cnceleb/v1/local/make_cnceleb.sh``; Y. Fan et al.,
    "CN-Celeb: a challenging Chinese speaker recognition dataset", ICASSP 2020.
    """
    rows = []
    for part in ("enroll", "test"):
        for path in audio_files(folder / "eval" / part):
            speaker, genre, *session = path.stem.split("-")
            known = part == "test" and len(session) == 2
            rows.append(
                Row(
                    path,
                    speaker,
                    path.stem,
                    session=f"{speaker}-{genre}-{session[0]}" if known else "",
                    language="zh",
                    split="test",
                    labels=as_labels(genre=genre if known else ""),
                )
            )
    return rows


def _list_at(name: str, place: str) -> Callable[[Path, list[Row]], dict[str, TrialList]]:
    """Read the one list of a corpus, lines ``<enrolment> <test> <verdict>`` of file names, if it is there."""

    def lists(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
        clips = by_stem(row.path for row in rows)
        path = folder / place
        return {name: read_trials(path, clips, stem, (2, 0, 1))} if path.is_file() else {}

    return lists


CNCELEB = CorpusReader(
    ("cnceleb", "CN-Celeb_flac", "CN-Celeb", "cn-celeb"),
    "CC BY-SA 4.0",
    "https://www.openslr.org/82/",
    _read_cnceleb,
    _list_at("E", "eval/lists/trials.lst"),
)


_NAME = re.compile(
    r"Lab41-SRI-VOiCES-(?:src|(?P<room>[^-]+)-(?P<distractor>[^-]+))-sp(?P<speaker>\d+)-"
    r"(?P<segment>ch\d+-sg\d+)(?:-(?P<microphone>mc\d+)-(?P<kind>[^-]+)-(?P<place>[^-]+)-dg\d+)?"
)
_FACTORS = ("room", "distractor", "microphone", "kind", "place")


def _read_voices(folder: Path) -> list[Row]:
    """Read VOiCES: LibriSpeech played in rooms with distractors and recorded by many microphones.

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
    texts = _texts_of_voices(folder / "references" / "filename_transcripts")
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


def _texts_of_voices(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with open_text(path, "a table of texts", newline="") as file:
        return {stem(name): text for _, name, text in csv.reader(file)}


VOICES = CorpusReader(
    ("voices", "VOiCES", "VOiCES_devkit", "VOiCES_release"),
    "CC BY 4.0",
    "https://iqtlabs.github.io/voices/downloads/",
    _read_voices,
    _list_at("challenge_2019_dev", "sid_dev_lists_and_keys/dev-trial-keys.lst"),
)


_LISTS = {
    "veri_test.txt": "O",
    "veri_test2.txt": "O_cleaned",
    "voxceleb1_o_cleaned.txt": "O_cleaned",
    "list_test_all.txt": "E",
    "list_test_all2.txt": "E_cleaned",
    "list_test_hard.txt": "H",
    "list_test_hard2.txt": "H_cleaned",
}
_SPLITS = {"dev": "train", "test": "test"}


def _read_voxceleb(folder: Path) -> list[Row]:
    """Read VoxCeleb1: interviews from the web, with the lists O, E and H.

    ``wav/<speaker>/<video>/<n>.wav``, or ``dev/wav/`` and ``test/wav/`` of the same shape. The lists lie in
    the corpus' folder or in ``meta/``, under their names of distribution, with lines ``1 enrol test``.
    Where there is a list, only the clips that the lists name are evaluated, of 153,516. A video is a
    session. ``vox1_meta.csv`` has tab-separated columns: speaker, name, gender, nationality and set.

    Source: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ (files under ``meta/``) and torchaudio's
    ``datasets/voxceleb1.py``; A. Nagrani et al., "VoxCeleb: a large-scale speaker identification dataset",
    Interspeech 2017; J. S. Chung et al., "VoxCeleb2: deep speaker recognition", Interspeech 2018 (E and H).
    """
    wanted = {name for path in _list_files(folder).values() for name in _named(path)}
    about = dict(_speakers(folder))
    rows = []
    for path in audio_files(folder):
        name, (speaker, video) = _name(path), path.parts[-3:-1]
        if not wanted or name in wanted:
            gender, nationality, split = about.get(speaker, ("", "", ""))
            labels = as_labels(gender=gender, nationality=nationality)
            rows.append(Row(path, speaker, name, session=video, split=split, labels=labels))
    return rows


def _lists_of_voxceleb(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
    clips = {_name(row.path): index for index, row in enumerate(rows)}
    return {name: read_trials(path, clips, _without_suffix) for name, path in _list_files(folder).items()}


def _list_files(folder: Path) -> dict[str, Path]:
    return {
        name: path
        for place in _places(folder)
        for file, name in _LISTS.items()
        if (path := place / file).is_file()
    }


def _places(folder: Path) -> tuple[Path, Path]:
    return folder, folder / "meta"


def _named(path: Path) -> Iterator[str]:
    with open_text(path, "a list of trials") as file:
        for line in file:
            yield from map(_without_suffix, line.split()[1:3])


def _name(path: Path) -> str:
    return _without_suffix("/".join(path.parts[-3:]))


def _without_suffix(name: str) -> str:
    return name.rpartition(".")[0]


def _speakers(folder: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for place in _places(folder):
        if (path := place / "vox1_meta.csv").is_file():
            with open_text(path, "a table of speakers", newline="") as file:
                for about in csv.DictReader(file, delimiter="\t"):
                    gender, split = GENDERS.get(about["Gender"], ""), _SPLITS.get(about["Set"], "")
                    yield about["VoxCeleb1 ID"], (gender, about["Nationality"], split)


VOXCELEB1 = CorpusReader(
    ("voxceleb1", "VoxCeleb1"),
    "CC BY 4.0 (the lists and labels; the recordings belong to the videos' owners)",
    "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/",
    _read_voxceleb,
    _lists_of_voxceleb,
)
