"""Independent jobs over worker processes."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from intervox.errors import IntervoxError

Job = TypeVar("Job")
Result = TypeVar("Result")


def default_workers() -> int:
    """Return how many processes this machine's cores can feed."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    on_result: Callable[[Result], None],
) -> None:
    """Run ``work`` on every job, in this process or in ``workers`` spawned ones.

    Results arrive in the order in which they finish. An error or an interrupt cancels what has not
    begun; what has finished stays on disk, so that the same call goes on from there.

    Raises
    ------
    IntervoxError
        A worker was killed, most often for want of memory.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            on_result(work(job))
        return
    pool = ProcessPoolExecutor(
        min(workers, len(jobs)), multiprocessing.get_context("spawn"), _exit_with_parent
    )
    try:
        _drain(pool, work, iter(jobs), 2 * workers, on_result)
    except BrokenProcessPool as error:
        raise IntervoxError(
            "a worker process was killed (out of memory?): run the same command again with fewer "
            "workers; finished shards are kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(
    pool: ProcessPoolExecutor,
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    window: int,
    on_result: Callable[[Result], None],
) -> None:
    """Keep at most ``window`` jobs in flight, so that queued jobs cost no memory."""
    pending = set()
    for job in jobs:
        pending.add(pool.submit(work, job))
        if len(pending) < window:
            continue
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            on_result(future.result())
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            on_result(future.result())


def _exit_with_parent() -> None:
    """End this worker when its parent is killed, which leaves no one to close its queue."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
