"""The worst errors of a representation: as rows, and as pairs to listen to."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import soundfile as sf

from intervox.audio import SAMPLE_RATE, load_audio
from intervox.errors import IntervoxError
from intervox.reporting.trial_files import main_stratum, read_trials, representations, strata

MAX_SECONDS = 12
"""A recording is cut after this, so that a page stays small."""


@dataclass
class AudioBudget:
    """Recordings as data URIs, until a page holds enough of them.

    Attributes
    ----------
    left
        Bytes of base64 that may still be added; 0 leaves every recording out.
    """

    left: int

    def embed(self, path: str) -> str:
        """Return a recording as an MP3 data URI, or nothing where it is not here or no room is left.

        MP3, because every browser plays it, those of telephones too; 5 kB a second.
        """
        if not self.left or not Path(path).is_file():
            return ""
        try:
            wave = load_audio(path)
        except IntervoxError:
            return ""
        buffer = io.BytesIO()
        sf.write(buffer, wave[: MAX_SECONDS * SAMPLE_RATE], SAMPLE_RATE, format="MP3")
        coded = base64.b64encode(buffer.getvalue()).decode()
        if len(coded) > self.left:
            return ""
        self.left -= len(coded)
        return f"data:audio/mpeg;base64,{coded}"


def listen(table: pa.Table, space: str, audio: AudioBudget) -> list[dict[str, Any]]:
    """Make trials ready for the page: who says what, the score, and both recordings.

    Returns
    -------
    list of dict
        A trial each: ``score`` and ``clips``, two dicts of ``path``, ``speaker``, ``content``, ``audio``.
    """
    return [
        {
            "score": row[space],
            "clips": [
                {
                    "path": row[role],
                    "speaker": row[f"{role}_speaker"],
                    "content": row[f"{role}_content"],
                    "audio": audio.embed(row[role]),
                }
                for role in ("enrol", "test")
            ],
        }
        for row in table.to_pylist()
    ]


def select_trials(
    run: Path,
    protocol: str,
    condition: str = "clean",
    stratum: str | None = None,
    space: str | None = None,
    worst: int | None = None,
) -> pa.Table:
    """Pick trials of a run: all of a stratum, or its worst errors.

    Parameters
    ----------
    stratum
        By default the one that the report's figures show.
    space
        The representation whose scores decide; by default the first.
    worst
        Keep this many of the highest-scoring impostors, then as many of the lowest-scoring targets.

    Raises
    ------
    IntervoxError
        The run has no such protocol, condition, stratum or representation.
    """
    table = read_trials(run, protocol, condition)
    stratum = stratum or main_stratum(table)
    space = space or representations(table)[0]
    for what, asked, there in (("stratum", stratum, strata(table)), ("space", space, representations(table))):
        if asked not in there:
            raise IntervoxError(f"{protocol} has no {what} {asked!r}: choose from {', '.join(there)}")
    chosen = table.filter(table[stratum])
    if worst is None:
        return chosen
    return pa.concat_tables([worst_impostors(chosen, space, worst), worst_targets(chosen, space, worst)])


def worst_impostors(table: pa.Table, space: str, count: int) -> pa.Table:
    """Return the impostors that score highest, worst first."""
    found = table.filter(pc.invert(table["target"]))
    return found.take(pc.sort_indices(found, [(space, "descending")])[:count])


def worst_targets(table: pa.Table, space: str, count: int) -> pa.Table:
    """Return the targets that score lowest, worst first."""
    found = table.filter(table["target"])
    return found.take(pc.sort_indices(found, [(space, "ascending")])[:count])
