"""Read sentences: AN4, CMU Arctic, Common Voice, LibriSpeech, VCTK."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from intervox.clips.manifest import Row, as_labels
from intervox.clips.text_files import open_text, read_lines
from intervox.errors import IntervoxError
from intervox.evaluation.protocols.base import AUDIO, GENDERS, CorpusReader, audio_files

_LINE = re.compile(r"(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\((\S+)\)")
_SPLITS = {"an4_clstk": "train", "an4test_clstk": "test"}


def _read_an4(folder: Path) -> list[Row]:
    """Read AN4, the census corpus: names spelled, dates, numbers and commands, in NIST SPHERE files.

    ``wav/an4_clstk/<speaker>/<utterance>.sph`` for training, ``wav/an4test_clstk/`` of the same shape for
    the test; ``etc/an4_train.transcription`` and ``etc/an4_test.transcription`` have lines ``<s> TEXT </s>
    (<utterance>)``. libsndfile reads SPHERE, but not what ``shorten`` compressed; AN4 is not.

    Source: README of http://www.speech.cs.cmu.edu/databases/an4/ and ESPnet's preparation; A. Acero,
    "Acoustical and environmental robustness in automatic speech recognition", Kluwer, 1993.
    """
    texts = dict(_texts_of_an4(folder / "etc"))
    rows = []
    for part, split in _SPLITS.items():
        for path in audio_files(folder / "wav" / part, (".sph", *AUDIO)):
            text = texts.get(path.stem, "")
            rows.append(Row(path, path.parent.name, text or path.stem, text, split=split))
    return rows


def _texts_of_an4(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.glob("an4_*.transcription"):
        for line in read_lines(path):
            if match := _LINE.fullmatch(line.strip()):
                yield match[2], match[1]


AN4 = CorpusReader(
    ("an4",),
    "free of charge, none stated (CMU)",
    "http://www.speech.cs.cmu.edu/databases/an4/",
    _read_an4,
)


_SPEAKERS = {
    "aew": ("male", "US"), "ahw": ("male", "German"), "aup": ("male", "Indian"), "awb": ("male", "Scottish"),
    "axb": ("female", "Indian"), "bdl": ("male", "US"), "clb": ("female", "US"), "eey": ("female", "US"),
    "fem": ("male", "Irish"), "gka": ("male", "Indian"), "jmk": ("male", "Canadian"),
    "ksp": ("male", "Indian"), "ljm": ("female", "US"), "lnh": ("female", "US"), "rms": ("male", "US"),
    "rxr": ("male", "Dutch"), "slp": ("female", "Indian"), "slt": ("female", "US"),
}  # fmt: skip
_PROMPT = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')


def _read_cmu_arctic(folder: Path) -> list[Row]:
    """Read CMU ARCTIC: about 1,150 prompts read by each of eighteen speakers, one folder a speaker.

    ``cmu_us_<speaker>_arctic/wav/arctic_<prompt>.wav`` and ``etc/txt.done.data``, lines ``( arctic_a0001
    "Author of the danger trail, Philip Steels, etc." )``. A prompt has the same name with every speaker.

    Source: http://www.festvox.org/cmu_arctic/ and torchaudio's ``datasets/cmuarctic.py``; the speakers'
    gender and accent as in pyroomacoustics' ``datasets/cmu_arctic.py``; J. Kominek and A. W. Black, "CMU
    ARCTIC databases for speech synthesis", CMU-LTI-03-177, 2003.
    """
    return [row for home in folder.glob("cmu_us_*_arctic") for row in _of_speaker(home)]


def _of_speaker(home: Path) -> Iterator[Row]:
    speaker = home.name.split("_")[2]
    gender, accent = _SPEAKERS.get(speaker, ("", ""))
    prompts = home / "etc" / "txt.done.data"
    texts = dict(_PROMPT.findall(prompts.read_text(encoding="utf-8"))) if prompts.is_file() else {}
    for path in home.glob("wav/*.wav"):
        labels = as_labels(gender=gender, accent=accent)
        yield Row(path, speaker, path.stem, texts.get(path.stem, ""), labels=labels)


CMU_ARCTIC = CorpusReader(
    ("cmu_arctic", "CMU_ARCTIC", "ARCTIC"),
    "free for any use with its notice (CMU)",
    "http://www.festvox.org/cmu_arctic/packed/",
    _read_cmu_arctic,
)


_TABLES = {"test.tsv": "test", "dev.tsv": "validation", "train.tsv": "train", "validated.tsv": ""}
_NEEDED = ("client_id", "path", "sentence")


def _read_common_voice(folder: Path) -> list[Row]:
    """Read Mozilla Common Voice: sentences read by volunteers, in many languages.

    ``<release>/<locale>/clips/*.mp3`` with ``train.tsv``, ``dev.tsv``, ``test.tsv`` and ``validated.tsv``:
    tab-separated, unquoted, with a header that names ``client_id``, ``path``, ``sentence`` and, from release
    to release, ``gender``, ``age``, ``accents`` (or ``accent``) and ``locale``. The first three tables are
    the official splits; what is in ``validated.tsv`` alone has none. Every locale of the folder is read, and
    of the clips only their names in the tables.

    Source: https://commonvoice.mozilla.org/datasets and torchaudio's ``datasets/commonvoice.py``; R. Ardila
    et al., "Common Voice: a massively-multilingual speech corpus", LREC 2020.
    """
    # Stop where the first are found: one level below them lie the clips.
    for pattern in ("clips", "*/clips", "*/*/clips"):
        if homes := sorted(path.parent for path in folder.glob(pattern)):
            return [row for home in homes for row in _of_locale(home)]
    return []


def _of_locale(home: Path) -> Iterator[Row]:
    seen: set[str] = set()
    for table, split in _TABLES.items():
        if (home / table).is_file():
            for row in _of_table(home / table, split):
                if row.path.name not in seen:
                    seen.add(row.path.name)
                    yield row


def _of_table(path: Path, split: str) -> Iterator[Row]:
    clips, locale = path.parent / "clips", path.parent.name
    with open_text(path, "a table of clips", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
        if missing := sorted(set(_NEEDED) - set(reader.fieldnames or ())):
            raise IntervoxError(f"{path} lacks the columns {', '.join(missing)}: unpack the release again")
        for record in reader:
            name = record["path"].removesuffix(".mp3") + ".mp3"
            labels = as_labels(
                gender=record.get("gender", "").split("_")[0],
                age=record.get("age", ""),
                accent=record.get("accents") or record.get("accent", ""),
            )
            language = record.get("locale") or locale
            text = record["sentence"]
            yield Row(
                clips / name, record["client_id"], text, text, language=language, split=split, labels=labels
            )


COMMON_VOICE = CorpusReader(
    ("common_voice", "CommonVoice", "cv-corpus-*"),
    "CC0 1.0",
    "https://commonvoice.mozilla.org/datasets",
    _read_common_voice,
)


def librispeech(name: str, automatic: bool) -> CorpusReader:
    """Describe one of the sets, such as ``test-other``."""
    return CorpusReader(
        (f"librispeech/{name}", f"LibriSpeech/{name}"),
        "CC BY 4.0",
        "https://www.openslr.org/12/",
        _read_librispeech,
        automatic=automatic,
    )


def _read_librispeech(folder: Path) -> list[Row]:
    """Read LibriSpeech: read books, a few chapters a speaker.

    ``<set>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac``, with the chapter's texts beside the clips in
    ``<speaker>-<chapter>.trans.txt``, a line ``<utterance> TEXT`` each, and ``SPEAKERS.TXT`` next to the
    sets: ``id | sex | set | minutes | name``. No two utterances count as the same content.

    Source: https://www.openslr.org/12/ and its README; V. Panayotov et al., "LibriSpeech: an ASR corpus based
    on public domain audio books", ICASSP 2015.
    """
    texts = dict(_texts_of_librispeech(folder))
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


def _texts_of_librispeech(folder: Path) -> Iterator[tuple[str, str]]:
    for path in audio_files(folder, (".trans.txt",)):
        for line in read_lines(path):
            utterance, _, text = line.partition(" ")
            yield utterance, text


def _sexes(path: Path) -> Iterator[tuple[str, str]]:
    lines = read_lines(path) if path.is_file() else []
    for line in lines:
        if not line.startswith(";"):
            speaker, sex, *_ = (part.strip() for part in line.split("|"))
            yield speaker, GENDERS[sex.lower()]


def _read_vctk(folder: Path) -> list[Row]:
    """Read VCTK: 110 English speakers of many accents, about 400 read sentences each.

    Version 0.92: ``wav48_silence_trimmed/<speaker>/<speaker>_<n>_mic1.flac`` (and ``mic2``, the same
    readings, left out). Version 0.80: ``wav48/<speaker>/<speaker>_<n>.wav``. Both:
    ``txt/<speaker>/<speaker>_<n>.txt`` and ``speaker-info.txt``, columns of speaker (with or without ``p``),
    age, gender, accent and region. Equal numbers are not equal sentences, so the content is the text, and
    each clip's text file is read.

    Source: https://doi.org/10.7488/ds/2645 (README) and torchaudio's ``datasets/vctk.py``; J. Yamagishi,
    C. Veaux, K. MacDonald, "CSTR VCTK Corpus (version 0.92)", University of Edinburgh, 2019.
    """
    about = dict(_speakers(folder / "speaker-info.txt"))
    texts = dict(_texts_of_vctk(folder / "txt"))
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


def _texts_of_vctk(folder: Path) -> Iterator[tuple[str, str]]:
    for path in audio_files(folder, (".txt",)):
        yield path.stem, path.read_text(encoding="utf-8").strip()


def _speakers(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    lines = read_lines(path)[1:] if path.is_file() else []
    for line in lines:
        speaker, _, gender, accent, *_ = line.split()
        yield speaker.removeprefix("p"), (GENDERS.get(gender.lower(), ""), accent)


VCTK = CorpusReader(
    ("vctk", "VCTK", "VCTK-Corpus-0.92", "VCTK-Corpus"),
    "CC BY 4.0 (version 0.92; ODC-By 1.0 before)",
    "https://doi.org/10.7488/ds/2645",
    _read_vctk,
)
