"""Text to phonemes in the international phonetic alphabet, by eSpeak NG's rules for the language."""

import _ctypes
import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from intervox.errors import IntervoxError, missing_extra

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_LONGEST = 140
"""Bytes of the data's path, to which the library appends names of files in a buffer of 160."""

_IPA = 0x02
_TIED = 0x80
_TIE_SHIFT = 8

_ALIASES = {"en": "en-us", "en-gb": "en", "zh": "cmn"}
"""Tags that eSpeak NG spells in another way: its plain ``en`` is British."""

_ASCII_MARKS = str.maketrans("。，、！？：；।؟،؛…", ".,,!?:;.?,;.")
# eSpeak NG reads one character past the clause.
_CLAUSE_END = re.compile(r"([,.!?;:])\W*\w?$")
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")

# A second user of the loaded library would keep it from being unloaded, and so keep its globals.
_lock = Lock()


def library_files(purpose: str) -> tuple[Path, Path]:
    """Return the paths of the library and of its data folder.

    Parameters
    ----------
    purpose
        What needs them, for the message.

    Raises
    ------
    IntervoxError
        The wheel is not installed.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise missing_extra("espeakng-loader", "espeak", purpose) from None
    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())


@contextmanager
def fresh_library(purpose: str) -> Iterator[tuple[ctypes.CDLL, int]]:
    """Load, start, and unload the library: 2 ms that buy reproducible results.

    Its globals remember the utterances before (echo, phase, the last voice's settings), and
    ``espeak_Terminate`` does not clear them; unloading does. So everything in the process that uses
    the library does it through here, one after the other, and none of it nests.

    Yields
    ------
    tuple
        The library and its sample rate in Hz.

    Raises
    ------
    IntervoxError
        The wheel is not installed, or the library does not start.
    """
    path, data = library_files(purpose)
    with _lock, _short(data) as shown:
        library = ctypes.CDLL(str(path))
        try:
            sample_rate = library.espeak_Initialize(
                _AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(shown), _INITIALIZE_DONT_EXIT
            )
            if sample_rate <= 0:
                raise IntervoxError(
                    f"eSpeak NG could not start from {data}: reinstall it with "
                    "pip install --force-reinstall espeakng-loader"
                )
            yield library, sample_rate
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)


@contextmanager
def _short(data: Path) -> Iterator[Path]:
    """Give a long path another name: eSpeak NG copies it into ``_LONGEST`` bytes, and ends the process."""
    if len(os.fsencode(data)) < _LONGEST:
        yield data
        return
    with TemporaryDirectory() as folder:
        link = Path(folder, data.name)
        if len(os.fsencode(link)) >= _LONGEST:
            raise IntervoxError(
                f"the paths {data} and {folder} are too long for eSpeak NG: set TMPDIR to a folder with a "
                f"path below {_LONGEST - 40} bytes"
            )
        link.symlink_to(data, target_is_directory=True)
        yield link


@lru_cache(maxsize=4096)
def phonemise(text: str, language: str, tie: str = "") -> str:
    """Transcribe ``text``: words apart by spaces, clauses ended by one of ``,.!?;:``.

    Parameters
    ----------
    text
        What would be said; several clauses and sentences are fine.
    language
        BCP 47 tag, such as ``en``, ``en-gb`` or ``pt-br``; a region that eSpeak NG does not know
        falls back to its language.
    tie
        One character put between the letters of a diphthong or an affricate, as ``^`` in ``a^ɪ``.

    Returns
    -------
    str
        IPA with stress marks; empty where nothing in the text is spoken.

    Raises
    ------
    IntervoxError
        eSpeak NG is not installed or does not know the language.
    """
    mode = _IPA | (_TIED | ord(tie) << _TIE_SHIFT if tie else 0)
    with fresh_library("phonemes of a text") as (library, _):
        _set_language(library, language.lower().replace("_", "-"))
        clauses = list(_clauses(library, text.replace("\0", " "), mode))
    spoken = [(ipa, mark) for ipa, mark in clauses if ipa]
    joined = " ".join(ipa + (mark or ",") for ipa, mark in spoken)
    return joined if not spoken or spoken[-1][1] else joined[:-1]


def _set_language(library: ctypes.CDLL, language: str) -> None:
    tag = language
    while tag:
        if library.espeak_SetVoiceByName(_ALIASES.get(tag, tag).encode()) == 0:
            return
        tag = tag.rpartition("-")[0]
    raise IntervoxError(f"eSpeak NG has no language {language!r}: give a BCP 47 tag such as en, en-gb or fr")


def _clauses(library: ctypes.CDLL, text: str, mode: int) -> Iterator[tuple[str, str]]:
    """Yield each clause's transcription and the punctuation mark that ended it."""
    transcribe = library.espeak_TextToPhonemes
    transcribe.restype = ctypes.c_char_p
    transcribe.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    data = text.encode()
    buffer = ctypes.create_string_buffer(data)
    start = ctypes.addressof(buffer)
    position = ctypes.c_void_p(start)
    begin = 0
    while position.value is not None:
        ipa: bytes = transcribe(ctypes.byref(position), _CHARS_UTF8, mode) or b""
        end = len(data) if position.value is None else position.value - start
        source = data[begin:end].decode(errors="ignore").translate(_ASCII_MARKS)
        found = _CLAUSE_END.search(source)
        yield _LANGUAGE_SWITCH.sub("", ipa.decode()).strip(), found[1] if found else ""
        begin = end
