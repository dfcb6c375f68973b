"""Lists of clips: paths one a line, Kaldi's ``wav.scp`` and ``utt2spk``. Nothing in them is ever executed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from intervox.errors import IntervoxError

Clip = tuple[str, str]
"""A clip's name and its path."""


def read_scp(path: Path) -> Iterator[Clip]:
    """Read Kaldi's ``wav.scp``: lines of a name and a path, one after the other as they are needed.

    Raises
    ------
    IntervoxError
        The file is missing, a line has no path, or it is a shell command, which is not run.
    """
    for number, line in _lines(path):
        yield _entry(line, f"{path}, line {number}")


def read_list(lines: Iterable[str], name: str) -> Iterator[Clip]:
    """Read clips from lines that are each a path, or a name and a path as in ``wav.scp``.

    Parameters
    ----------
    lines
        Such as an open file, or standard input; read as they are needed. Empty ones are left out.
    name
        Of the list, for messages.

    Raises
    ------
    IntervoxError
        A line is a shell command, which is not run.
    """
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text:
            yield _entry(text, f"{name}, line {number}", alone=True)


def read_kaldi_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Read the clips of a Kaldi data folder and who speaks in each, ready for ``SpeakerVerifier.fit``.

    Returns
    -------
    clips
        The paths of ``wav.scp``, in its order.
    speakers
        Of ``utt2spk``, one a clip.

    Raises
    ------
    IntervoxError
        A file is missing or has a line that is none of it, or a clip has no speaker.
    """
    speakers = dict(_entry(line, f"{folder / 'utt2spk'}, line {n}") for n, line in _lines(folder / "utt2spk"))
    clips = list(read_scp(folder / "wav.scp"))
    if unknown := [name for name, _ in clips if name not in speakers]:
        raise IntervoxError(
            f"{folder / 'utt2spk'} lacks {unknown[0]}: say who speaks in each clip of wav.scp"
        )
    return [path for _, path in clips], [speakers[name] for name, _ in clips]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if text := line.strip():
                    yield number, text
    except FileNotFoundError:
        raise IntervoxError(f"{path} is missing: give the path of a list of clips") from None
    except UnicodeDecodeError:
        raise IntervoxError(f"{path} is no list of clips: save it as text, in UTF-8") from None


def _entry(line: str, place: str, alone: bool = False) -> Clip:
    """Take a line apart; with ``alone`` it may be nothing but a path, even one with spaces."""
    if "\0" in line:
        raise IntervoxError(f"{place} is no text: give a list of paths, one a line")
    if line.startswith("|") or line.endswith("|"):
        raise IntervoxError(
            f"{place} is a shell command, which is never run: write its output to a file and list that file"
        )
    name, *rest = line.split(maxsplit=1)
    if alone and (not rest or Path(line).is_file()):
        return line, line
    if not rest:
        raise IntervoxError(f"{place} is {line!r} alone: write a name and a path")
    return name, rest[0]
