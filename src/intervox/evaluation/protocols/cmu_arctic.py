"""CMU ARCTIC: about 1,150 prompts read by each of eighteen speakers in a studio, one folder a speaker.

``cmu_us_<speaker>_arctic/wav/arctic_<prompt>.wav`` and ``etc/txt.done.data``, lines ``( arctic_a0001
"Author of the danger trail, Philip Steels, etc." )``. A prompt has the same name with every speaker.

Source: http://www.festvox.org/cmu_arctic/ and torchaudio's ``datasets/cmuarctic.py``; the speakers' gender
and accent as in pyroomacoustics' ``datasets/cmu_arctic.py``; J. Kominek and A. W. Black, "CMU ARCTIC
databases for speech synthesis", CMU-LTI-03-177, 2003.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from intervox.evaluation.protocols.base import Corpus
from intervox.manifest import Row, as_labels

_SPEAKERS = {
    "aew": ("male", "US"), "ahw": ("male", "German"), "aup": ("male", "Indian"), "awb": ("male", "Scottish"),
    "axb": ("female", "Indian"), "bdl": ("male", "US"), "clb": ("female", "US"), "eey": ("female", "US"),
    "fem": ("male", "Irish"), "gka": ("male", "Indian"), "jmk": ("male", "Canadian"),
    "ksp": ("male", "Indian"), "ljm": ("female", "US"), "lnh": ("female", "US"), "rms": ("male", "US"),
    "rxr": ("male", "Dutch"), "slp": ("female", "Indian"), "slt": ("female", "US"),
}  # fmt: skip
_PROMPT = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')


def _read(folder: Path) -> list[Row]:
    return [row for home in folder.glob("cmu_us_*_arctic") for row in _of_speaker(home)]


def _of_speaker(home: Path) -> Iterator[Row]:
    speaker = home.name.split("_")[2]
    gender, accent = _SPEAKERS.get(speaker, ("", ""))
    prompts = home / "etc" / "txt.done.data"
    texts = dict(_PROMPT.findall(prompts.read_text(encoding="utf-8"))) if prompts.is_file() else {}
    for path in home.glob("wav/*.wav"):
        labels = as_labels(gender=gender, accent=accent)
        yield Row(path, speaker, path.stem, texts.get(path.stem, ""), labels=labels)


CMU_ARCTIC = Corpus(
    ("cmu_arctic", "CMU_ARCTIC", "ARCTIC"),
    "free for any use with its notice (CMU)",
    "http://www.festvox.org/cmu_arctic/packed/",
    _read,
)
