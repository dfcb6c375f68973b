"""The C library of eSpeak NG, as the wheel ``espeakng-loader`` brings it, loaded anew for each use."""

import _ctypes
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from intervox.errors import IntervoxError, missing_extra

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000

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
    with _lock:
        library = ctypes.CDLL(str(path))
        try:
            sample_rate = library.espeak_Initialize(
                _AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), _INITIALIZE_DONT_EXIT
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
