"""Rows of other toolkits' JSON manifests in our columns: NeMo's, and lhotse's cuts.

A row must be a whole file. A stretch of one is refused: nothing behind a manifest would read only that.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from intervox.audio import duration_seconds
from intervox.errors import IntervoxError

PATH_COLUMNS = ("path", "audio_filepath")
"""What the column of paths is called, by us and by NeMo."""

_SLACK = 0.1
"""Seconds by which a file may be longer than its manifest says, for rounding and MP3's padding."""

_CUT_FIRST = "write it to a file of its own and list that"


def as_our_columns(where: str, folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object's values under our columns; one that is neither NeMo's nor lhotse's stays.

    Parameters
    ----------
    where
        The row's place, for messages.
    folder
        The manifest's, to which paths are relative; for these two toolkits also to the working folder.

    Raises
    ------
    IntervoxError
        The row is a stretch of a file, or its sound is in no file.
    """
    read: Callable[[str, Path, dict[str, Any]], dict[str, Any]] | None = None
    if "path" in values:
        return values
    if "audio_filepath" in values:
        read = _of_nemo
    elif str(values.get("type", "")).endswith("Cut") or {"recording", "supervisions"} <= values.keys():
        read = _of_lhotse
    if read is None:
        return values
    try:
        return read(where, folder, values)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise IntervoxError(
            f"{where} lacks or misspells a field of its toolkit ({error!r}): regenerate the file"
        ) from None


def _of_nemo(where: str, folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    named = {"audio_filepath": "path", "lang": "language"}
    found = {named.get(name, name): value for name, value in values.items()}
    found["path"] = _place(folder, str(found["path"]))
    offset, seconds = float(found.pop("offset", None) or 0), found.pop("duration", None)
    there = duration_seconds(folder / found["path"]) if seconds is not None and not offset else 0.0
    if offset or (there and float(seconds) < there - _SLACK):
        raise IntervoxError(f"{where} is a stretch of {found['path']}, not all of it: {_CUT_FIRST}")
    return found


def _of_lhotse(where: str, folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    kind = values.get("type", "MonoCut")
    if kind != "MonoCut" or "recording" not in values:
        raise IntervoxError(f"{where} is a {kind}, not a MonoCut with its recording: {_CUT_FIRST}")
    recording = values["recording"]
    (source,) = recording["sources"]
    if source["type"] != "file":
        raise IntervoxError(
            f"{where} has a source of type {source['type']!r}, which is never read or run: {_CUT_FIRST}"
        )
    shorter = float(values["duration"]) < float(recording["duration"]) - _SLACK
    if float(values.get("start", 0)) or shorter or len(source["channels"]) > 1 or recording.get("transforms"):
        raise IntervoxError(
            f"{where} is a stretch, a channel or a transformation of {source['source']}: write the cuts to "
            "files with lhotse's save_audios and list those"
        )
    return {"path": _place(folder, source["source"]), **_of_supervisions(where, values["supervisions"])}


def _of_supervisions(where: str, given: list[dict[str, Any]]) -> dict[str, Any]:
    if len(given) > 1:
        raise IntervoxError(f"{where} has {len(given)} supervisions: trim the cuts to one each")
    names = ("speaker", "text", "language", "gender")
    return {name: supervision.get(name) for supervision in given for name in names}


def _place(folder: Path, clip: str) -> str:
    """Return a path that counts from the manifest's folder; their tools also start at the working folder."""
    from_here = Path(clip)
    return str(from_here.resolve()) if not (folder / clip).exists() and from_here.exists() else clip
