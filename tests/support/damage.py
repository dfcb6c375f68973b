"""Damaged sound files, each made again from its seed, and what becomes of them, in a process of its own."""

import io
import json
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from intervox.audio import AudioSource, load_audio
from intervox.audio.limits import MAX_PEAK
from intervox.errors import IntervoxError
from tests.support.sounds import MEDIA_KINDS, encoded, voiced

SECONDS = 2.0
"""Of a core, that a damaged clip may take at most: the process is killed then."""

BYTES = 2**30
"""That it may take beside what Python and the libraries have."""

_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in one or a few ways: flipped bits, cuts, splices, extreme integers in its header."""
    content = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        way = rng.choice(["flip", "head", "cut", "splice", "fill", "integer", "repeat"])
        size = len(content)
        if size < 64:
            break
        head = min(size, 512 if rng.random() < 0.7 else size)
        place = int(rng.integers(0, size - 32))
        if way == "flip":
            for at in rng.integers(0, size, int(rng.integers(1, 50))):
                content[at] ^= 1 << int(rng.integers(0, 8))
        elif way == "head":
            for at in rng.integers(0, head, int(rng.integers(1, 6))):
                content[at] = int(rng.integers(0, 256))
        elif way == "cut":
            del content[place:]
        elif way == "splice":
            length = int(rng.integers(1, size // 2))
            del content[place : place + length]
        elif way == "fill":
            length = int(rng.integers(1, 64))
            content[place : place + length] = bytes([int(rng.choice([0, 255]))]) * length
        elif way == "repeat":
            length = int(rng.integers(1, size // 4))
            content[place:place] = content[place : place + length]
        else:
            value, width = int(rng.choice(_EXTREMES)), int(rng.choice([1, 2, 4, 8]))
            order = "little" if rng.random() < 0.5 else "big"
            at = int(rng.integers(0, head - 8))
            content[at : at + width] = (value % 256**width).to_bytes(width, order)
    return bytes(content)


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x8000_0000 else 0)
        table.append(value & 0xFFFF_FFFF)
    return table


_CRC = _crc_table()


def sealed(data: bytes) -> bytes:
    """Give each page of a damaged OGG file its right checksum, so that the decoder sees the damage."""
    content = bytearray(data)
    start = content.find(b"OggS")
    while start >= 0:
        end = content.find(b"OggS", start + 4)
        page = content[start : end if end >= 0 else len(content)]
        if len(page) > 27:
            page[22:26] = bytes(4)
            crc = 0
            for byte in page:
                crc = (crc << 8 & 0xFFFF_FFFF) ^ _CRC[crc >> 24 ^ byte]
            content[start + 22 : start + 26] = crc.to_bytes(4, "little")
        start = end
    return bytes(content)


def originals(kind: str) -> list[bytes]:
    """Make what is damaged: mono and, where the kind has it, stereo."""
    wave = voiced(3.0 if kind in ("ogg", "opus") else 1.0)  # some pages
    if kind in MEDIA_KINDS:
        return [encoded(kind, wave)]
    return [encoded(kind, wave), encoded(kind, np.stack([wave, voiced(4.0)[-len(wave) :]], 1))]


def outcome(data: bytes, seed: int, folder: Path, kind: str) -> str:
    """Load a damaged file, one time as a path, one as bytes, one as an open file."""
    path = folder / f"clip.{kind.split('-')[0]}"
    path.write_bytes(data)
    try:
        sources: list[AudioSource] = [path, data, io.BytesIO(data)]
        wave = load_audio(sources[seed % 3])
    except IntervoxError as error:
        sentence = str(error)
        return "refused" if "\n" not in sentence and 20 < len(sentence) < 300 else f"says {sentence!r}"
    except MemoryError:
        return f"takes over {BYTES >> 20} MB"
    except Exception as error:
        return f"raises {error!r}"
    sound = np.isfinite(wave).all() and np.abs(wave).max() <= 2 * MAX_PEAK and wave.dtype == np.float32
    return "read" if sound else "gives samples that are no sound"


def main(kind: str, first: int, count: int) -> None:
    """Print a line before each file, so that the seed of a crash is known, and one after it."""
    files = originals(kind)
    load_audio(files[0])  # everything is imported before memory is counted
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            rng = np.random.default_rng([seed, *kind.encode()])
            data = damaged(files[seed % len(files)], rng)
            if seed % 4 < 3:  # by far most damage to an OGG file is found by its checksums
                data = sealed(data)
            print(json.dumps({"seed": seed}), flush=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            started = time.process_time()
            found = outcome(data, seed, Path(folder), kind)
            seconds = time.process_time() - started
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps({"seed": seed, "outcome": found, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
