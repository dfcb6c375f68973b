"""Turns: of commands that write the same files, one works and the others wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_turn(lock: Path, owner: Path) -> Iterator[None]:
    """Hold a lock while the block runs; the same process may take it again within.

    The system releases it when the process ends, however it ends. The empty file stays.

    Parameters
    ----------
    lock
        File that the processes agree on; its folder must be there.
    owner
        What is locked, as the user named it.

    Raises
    ------
    OSError
        The lock can't be made; ``owner`` is its file name.
    """
    from filelock import FileLock, Timeout

    held = FileLock(lock, is_singleton=True)
    try:
        lock.touch()  # where it can't be made, `acquire` waits for ever
        try:
            held.acquire(timeout=1)
        except Timeout:
            from intervox.progress import console  # brings Rich, for this alone

            console.print(f"another command is writing {owner}: waiting for it to end", soft_wrap=True)
            held.acquire()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(owner)) from error
    try:
        yield
    finally:
        held.release()
