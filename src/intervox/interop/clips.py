"""What people name as clips: paths, patterns, folders of examples, lists, a pipe; and their embeddings."""

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from intervox.audio import AUDIO_SUFFIXES, SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.clips.batches import groups
from intervox.clips.manifest import read_paths
from intervox.clips.paths import find_path, is_clutter, match, warn_of_skipped
from intervox.clips.records import format_of
from intervox.clips.text_files import as_text, open_text
from intervox.errors import IntervoxError, unreadable_name
from intervox.interop.lists import Ahead, NamedPath, read_entries, read_scp
from intervox.metrics.vectors import Vectors

if TYPE_CHECKING:
    from intervox.model.embedder import Embedder

PIPE = "-"
"""Standard input."""


_ANY_NAME = "surrogateescape"
"""How Python itself holds names of files that are no UTF-8."""

_FIRST_SECONDS = 30.0
_MOST_SECONDS = 600.0
"""Sound that is embedded together: little at first, for an early result, then more, for speed."""


def expand(words: Iterable[str]) -> list[str]:
    """Return the paths that words stand for; a pattern that the shell left as it is becomes its files.

    Raises
    ------
    IntervoxError
        A pattern has no match, or a word is a folder.
    """
    paths: list[str] = []
    for word in map(find_path, words):
        check_path(word, "a clip")
        if Path(word).is_dir():
            raise IntervoxError(f"{word} is a folder: name its clips, as in '{word.rstrip('/')}/*.wav'")
        if word == PIPE or not has_magic(word) or Path(word).exists():
            paths.append(word)
        elif found := match(word):
            paths += found
        else:
            raise IntervoxError(f"no file matches {word!r}: check the folder and the suffix")
    return paths


def check_path(word: str, what: str) -> None:
    """Raise an ``IntervoxError`` for an empty path, which Python takes for the working folder."""
    if not word:
        raise IntervoxError(f"the path of {what} is empty: give one (is a variable of the shell unset?)")


def examples(words: Sequence[str]) -> dict[str, list[str]]:
    """Return keyword to clips, of words that are each a folder or ``NAME=PATTERN``.

    A folder of clips is named like its keyword; in a folder of folders each is a keyword. What else lies
    there is skipped with a warning.

    Raises
    ------
    IntervoxError
        A word is neither, or leads to no clips.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        check_path(word, "examples")
        name, sign, pattern = word.partition("=")
        folder = Path(find_path(word))
        if folder.is_dir():
            keywords = _keywords_in(folder)
        elif sign and name:
            keywords = {name: expand([pattern])}
        else:
            raise IntervoxError(f"{word} is not a folder of examples: give one, or NAME='FOLDER/*.wav'")
        if not keywords:
            raise IntervoxError(f"{word} holds no audio files: put a keyword's examples there")
        for keyword, files in keywords.items():
            found.setdefault(keyword, []).extend(files)
    return found


def _keywords_in(folder: Path) -> dict[str, list[str]]:
    clips, others = _sorted_out(folder)
    found, skipped = ({folder.resolve().name: clips}, others) if clips else _by_folder(others)
    warn_of_skipped(skipped, str(folder))
    return found


def names_in(folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Find the examples of names: each sub-folder of a folder is a name, its audio files are examples.

    Returns
    -------
    examples
        Name to clips, sorted.
    skipped
        What is not an audio file of a name: other files, and sub-folders without audio files.

    Raises
    ------
    IntervoxError
        No sub-folder holds audio files.
    """
    clips, others = _sorted_out(folder)
    found, skipped = _by_folder(sorted(clips + others))
    if not found:
        raise IntervoxError(
            f"{folder} has no sub-folders with audio files: make one for each name, with its examples, or "
            "give a name and its clips"
        )
    return found, skipped


def people_in(folder: Path) -> dict[str, list[str]]:
    """Find clips of people: a sub-folder for each or, where there are none, a clip for each.

    Raises
    ------
    IntervoxError
        There is no such folder, or no audio file in it.
    """
    if not folder.is_dir():
        raise IntervoxError(f"{folder} is not a folder: give one with a sub-folder of clips for each person")
    clips, others = _sorted_out(folder)
    found, skipped = ({clip: [clip] for clip in clips}, others) if clips else _by_folder(others)
    if not found:
        raise IntervoxError(f"{folder} holds no audio files: put a sub-folder for each person there")
    warn_of_skipped(skipped, str(folder))
    return found


def _by_folder(entries: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the clips of every folder by its name, and what is skipped."""
    found: dict[str, list[str]] = {}
    skipped = []
    for inner in map(Path, entries):
        clips, others = _sorted_out(inner) if inner.is_dir() else ([], [])
        if clips:
            found[inner.name] = clips
        skipped += others if clips else [str(inner)]
    return found, skipped


def _sorted_out(folder: Path) -> tuple[list[str], list[str]]:
    """Return a folder's audio files, and what else is there and is not hidden or looks like a clip."""
    entries = sorted(path for path in folder.iterdir() if is_clutter(path.name) or path.name[0] != ".")
    clips = [
        str(path)
        for path in entries
        if path.suffix.lower() in AUDIO_SUFFIXES and not is_clutter(path.name) and path.is_file()
    ]
    return clips, sorted({*map(str, entries)} - {*clips})


def listed(source: str) -> tuple[Iterable[NamedPath], int | None]:
    """Return the clips of a list file or of ``-``, read when needed, and how many where that is known."""
    if source == PIPE:
        return Ahead(_listed(PIPE)), None
    path = Path(find_path(source))
    if path.is_dir():
        raise IntervoxError(f"{path} is a folder: give a list of clips, or name them as '{path}/*.wav'")
    if not path.exists():
        raise IntervoxError(f"{path} is missing: give a list of clips, or - for standard input")
    if format_of(path):
        named = read_paths(path)
        return named, len(named)
    clips = read_scp(path) if path.suffix == ".scp" else _listed(str(path))
    if not path.is_file():
        # A pipe with a name, as a shell's <(...): it can be read but once.
        return Ahead(clips), None
    with open_text(path, "a list of clips", _ANY_NAME) as lines:
        return clips, sum(1 for line in lines if line.strip())


def _listed(source: str) -> Iterator[NamedPath]:
    if source != PIPE:
        with open_text(Path(source), "a list of clips", _ANY_NAME) as lines:
            yield from read_entries(lines, source, alone=True)
        return
    # A file object of its own: Python locks sys.stdin as it ends, where a thread may still read it.
    with open(sys.stdin.fileno(), "rb", closefd=False) as file, as_text(file, _ANY_NAME) as lines:
        yield from read_entries(lines, "standard input", alone=True)


def open_clip(path: str) -> AudioSource:
    """Return what ``load_audio`` takes for a path, or for ``-`` standard input to its end.

    Raises
    ------
    IntervoxError
        The path is not UTF-8, which Python itself could open, but libsndfile can't.
    """
    _check_text(path)
    if path != PIPE:
        return path
    clip = io.BytesIO(sys.stdin.buffer.read())
    clip.name = "standard input"
    return clip


def embed_clips(
    model: "Embedder", clips: Iterable[NamedPath], frames: bool = False
) -> Iterator[tuple[str, dict[str, Vectors] | IntervoxError, float]]:
    """Embed clips one after the other; in the place of one that can't be is what is wrong with it.

    Parameters
    ----------
    clips
        Names and paths, read as they are needed.
    frames
        Whether to embed every frame instead of every clip.

    Yields
    ------
    name
        Of the clip.
    found
        Space to a vector (dim,) or (frames, dim), or an ``IntervoxError``.
    seconds
        How long the clip is; 0 where it can't be read.
    """
    for group in _groups(clips):
        vectors = model.encode_iter(
            [wave for _, wave in group if not isinstance(wave, IntervoxError)], frames=frames
        )
        for name, wave in group:
            if isinstance(wave, IntervoxError):
                yield name, wave, 0.0
            else:
                yield name, next(vectors), len(wave) / SAMPLE_RATE


def _groups(clips: Iterable[NamedPath]) -> Iterator[list[tuple[str, Waveform | IntervoxError]]]:
    most = _FIRST_SECONDS

    def full(total: float) -> bool:
        nonlocal most
        waits = isinstance(clips, Ahead) and clips.waits
        if total < most and not waits:
            return False
        most = min(2 * most, _MOST_SECONDS)
        return True

    def seconds(clip: tuple[str, Waveform | IntervoxError]) -> float:
        return 0.0 if isinstance(clip[1], IntervoxError) else len(clip[1]) / SAMPLE_RATE

    return groups(map(_loaded, clips), seconds, full)


def _loaded(clip: NamedPath) -> tuple[str, Waveform | IntervoxError]:
    name, path = clip
    try:
        _check_text(name)
        return name, load_audio(open_clip(path))
    except IntervoxError as error:
        return name, error


def _check_text(name: str) -> None:
    if reason := unreadable_name(name):
        raise IntervoxError(f"the name {name!r} {reason}")
