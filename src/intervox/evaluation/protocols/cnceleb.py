"""CN-Celeb: Chinese celebrities in eleven genres, the evaluation part.

``eval/enroll/<speaker>-enroll.flac``, a speaker's enrolment utterances in one file, and
``eval/test/<speaker>-<genre>-<session>-<n>.flac``. ``eval/lists/trials.lst`` has lines ``<speaker>-enroll
test/<file>.wav 1`` (or ``0``), with ``.wav`` also where the files are FLAC; ``enroll.lst`` names the
enrolment files alike. What is said is not known.

Source: https://www.openslr.org/82/ and Kaldi's ``egs/cnceleb/v1/local/make_cnceleb.sh``; Y. Fan et al.,
"CN-Celeb: a challenging Chinese speaker recognition dataset", ICASSP 2020.
"""

from pathlib import Path

from intervox.evaluation.protocols.base import Corpus, audio_files
from intervox.evaluation.protocols.trials import by_stem, read_trials, stem
from intervox.evaluation.trials import TrialList
from intervox.manifest import Row, as_labels


def _read(folder: Path) -> list[Row]:
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


def _lists(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
    path = folder / "eval" / "lists" / "trials.lst"
    clips = by_stem(row.path for row in rows)
    return {"E": read_trials(path, clips, stem, (2, 0, 1))} if path.is_file() else {}


CNCELEB = Corpus(
    ("cnceleb", "CN-Celeb_flac", "CN-Celeb", "cn-celeb"),
    "CC BY-SA 4.0",
    "https://www.openslr.org/82/",
    _read,
    _lists,
)
