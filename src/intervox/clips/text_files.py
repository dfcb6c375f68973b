"""Text from anyone's files: UTF-8, or UTF-16 where a byte order mark says so; lines end where a line ends.

``str.splitlines`` also splits at U+2028, U+0085 and others, which texts contain; nothing here does.
"""

import codecs
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from intervox.errors import IntervoxError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def as_text(file: BinaryIO, errors: str = "strict", newline: str | None = None) -> TextIO:
    """Decode an open file, which may be a pipe, without its byte order mark.

    Parameters
    ----------
    errors, newline
        As for ``open``.
    """
    begin = cast(io.BufferedReader, file).peek(2)[:2]
    encoding = "utf-16" if begin in _UTF_16 else "utf-8-sig"
    return io.TextIOWrapper(file, encoding, errors, newline)


@contextmanager
def open_text(path: Path, what: str, errors: str = "strict", newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file, plain or ``.gz``, and say in one sentence why it can't be read.

    Parameters
    ----------
    what
        What the file should be, for messages: "a list of clips".
    errors, newline
        As for ``open``.

    Raises
    ------
    IntervoxError
        The file is missing or not text, also where that is noticed only as it is read.
    """
    file = _opened(path, what)
    try:
        with file, as_text(file, errors, newline) as text:
            yield text
    except UnicodeError:
        raise IntervoxError(f"{path} is not UTF-8 text: save it as text, in UTF-8") from None
    except (gzip.BadGzipFile, EOFError) as error:
        raise IntervoxError(f"{path} is not a whole gzip file ({error}): compress it again") from None


def _opened(path: Path, what: str) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
    except FileNotFoundError:
        raise IntervoxError(f"{path} is missing: give the path of {what}") from None
    except OSError as error:
        reason = str(error.strerror).lower()
        raise IntervoxError(f"{path} can't be read ({reason}): give the path of {what}") from None


def read_lines(path: Path, what: str = "a text file") -> list[str]:
    """Return the lines of a text file without their ends; raises as ``open_text`` does."""
    with open_text(path, what) as text:
        return [line.rstrip("\n") for line in text]
