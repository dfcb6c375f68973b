"""What visitors give, how it is read, and what they are told where it won't do."""

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from shutil import which
from typing import TypeVar

from intervox.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Waveform, load_audio, stream_audio
from intervox.audio.media import MEDIA_SUFFIXES, is_media
from intervox.demo import answers
from intervox.errors import IntervoxError
from intervox.parallel import give_back_memory

Shown = TypeVar("Shown")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a visitor may give: the size of a file, the length of a clip."""

    megabytes: float = 25.0
    minutes: float = 10.0

    @property
    def bytes(self) -> int:
        """The size in bytes; a megabyte has 2^20, as the browser counts."""
        return round(self.megabytes * 2**20)


def read_clip(path: str | None, name: str, limits: Limits) -> Waveform:
    """Read an uploaded clip: mono at 16 kHz.

    Parameters
    ----------
    path
        Where the page's server put it; None where the visitor gave nothing.
    name
        What to call it in messages, such as ``the first clip``.

    Raises
    ------
    IntervoxError
        The clip is missing, too large, too long, undecodable, empty, silent or not finite.
    """
    if path is None:
        raise IntervoxError(f"{name} is missing: upload or record it")
    try:
        clip = io.BytesIO(Path(path).read_bytes())
    except OSError:
        raise IntervoxError(f"{name} is no longer here: give it again") from None
    if clip.getbuffer().nbytes > limits.bytes:
        raise IntervoxError(f"{name} is larger than {limits.megabytes:g} MB: give a smaller file")
    if is_media(clip.getvalue()[:32]) and not _reads_media():
        # The error of the reader says how to install what is lacking, and from which folder.
        raise IntervoxError(f"{name} is of a kind that can't be read here: give WAV, FLAC, OGG or MP3")
    clip.name = name
    most = round(60 * limits.minutes * SAMPLE_RATE)
    # A few megabytes may decode to days: count first, and stop counting at the limit.
    if any(length > most for length in accumulate(map(len, stream_audio(clip, strict=True)))):
        minutes = limits.minutes
        length = f"{minutes:g} minutes" if minutes > 1 else f"{60 * minutes:g} seconds"
        raise IntervoxError(f"{name} is longer than {length}: give a shorter piece")
    clip.seek(0)
    return load_audio(clip, strict=True)


def readable_suffixes() -> list[str]:
    """Return the suffixes of files that can be read here: those for FFmpeg only where there is one."""
    return sorted(AUDIO_SUFFIXES if _reads_media() else AUDIO_SUFFIXES - MEDIA_SUFFIXES)


def _reads_media() -> bool:
    return find_spec("av") is not None or which("ffmpeg") is not None


def explained(answer: Callable[..., Shown], show: Callable[[str], Shown]) -> Callable[..., Shown]:
    """Let an answer that fails become an explanation in the page.

    The visitor's mistakes are shown; everything else is kept in the server's log.

    Parameters
    ----------
    show
        From HTML to what the answer would have returned.
    """

    @wraps(answer)
    def call(*given: object) -> Shown:
        try:
            return answer(*given)
        except IntervoxError as error:
            return show(answers.problem(str(error)))
        except Exception:
            _log.exception("an answer failed")
            return show(answers.problem("something went wrong here, and the server's log says what"))
        finally:
            give_back_memory()  # each visitor's thread would keep hundreds of megabytes for its next answer

    return call
