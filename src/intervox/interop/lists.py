"""Lists of clips, line by line as they are needed: paths, Kaldi's ``wav.scp``, what comes through a pipe."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Queue
from threading import Thread

from intervox.clips.paths import find_path
from intervox.clips.text_files import open_text
from intervox.errors import IntervoxError

NamedPath = tuple[str, str]
"""A clip's name and its path."""


def read_scp(path: Path) -> Iterator[NamedPath]:
    """Read Kaldi's ``wav.scp``: lines of a name and a path, one after the other as they are needed.

    Raises
    ------
    IntervoxError
        The file is missing, a line has no path, or it is a shell command, which is not run.
    """
    with open_text(path, "a list of clips") as lines:
        yield from read_entries(lines, str(path))


def read_kaldi_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Read the clips of a Kaldi data folder and who speaks in each, ready for ``SpeakerVerifier.fit``.

    Returns
    -------
    clips
        The paths of ``wav.scp``, in its order.
    speakers
        Of ``utt2spk``, one per clip.

    Raises
    ------
    IntervoxError
        A file is missing or has a line that is none of it, or a clip has no speaker.
    """
    speakers = dict(read_scp(folder / "utt2spk"))
    clips = list(read_scp(folder / "wav.scp"))
    if unknown := [name for name, _ in clips if name not in speakers]:
        raise IntervoxError(
            f"{folder / 'utt2spk'} lacks {unknown[0]}: say who speaks in each clip of wav.scp"
        )
    return [path for _, path in clips], [speakers[name] for name, _ in clips]


def read_entries(lines: Iterable[str], name: str, alone: bool = False) -> Iterator[NamedPath]:
    """Take lines of a list apart as they are needed, empty ones left out.

    Parameters
    ----------
    name
        Of the list, for messages.
    alone
        Whether a line may be nothing but a path, even one with spaces.

    Raises
    ------
    IntervoxError
        A line lacks a path, or is a shell command, which is not run.
    """
    for number, line in enumerate(map(str.strip, lines), start=1):
        place = f"{name}, line {number}"
        if "\0" in line:
            raise IntervoxError(f"{place} is not text: give a list of paths, one per line")
        if line.startswith("|") or line.endswith("|"):
            raise IntervoxError(
                f"{place} is a shell command, which is never run: write its output to a file and list that"
            )
        first, *rest = line.split(maxsplit=1)[:2] or [""]
        if alone and line and not (rest and _is_pair(line, rest[0])):
            yield line, find_path(line)
        elif rest:
            yield first, find_path(rest[0])
        elif line:
            raise IntervoxError(f"{place} is {line!r} alone: write a name and a path")


def _is_pair(line: str, path: str) -> bool:
    """Say whether a line is a name and a path; a missing path with spaces is shown whole."""
    return not Path(find_path(line)).is_file() and Path(find_path(path)).is_file()


class Ahead:
    """Clips of a pipe, read in a thread, so that what has come can be embedded while more is awaited."""

    def __init__(self, clips: Iterable[NamedPath]) -> None:
        self._queue: Queue[NamedPath | Exception | None] = Queue(maxsize=1_000)
        Thread(target=self._fill, args=(clips,), daemon=True).start()

    @property
    def waits(self) -> bool:
        """Whether no further clip is there yet."""
        return self._queue.empty()

    def __iter__(self) -> Iterator[NamedPath]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _fill(self, clips: Iterable[NamedPath]) -> None:
        try:
            for clip in clips:
                self._queue.put(clip)
        except Exception as error:
            # To be raised where clips are taken.
            self._queue.put(error)
        self._queue.put(None)
