"""Independent jobs over worker processes, on this machine or on a Ray cluster."""

import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlsplit

from intervox.errors import IntervoxError, missing_extra

Job = TypeVar("Job")
Result = TypeVar("Result")

PROCESSES = "processes"
LOCAL_RAY = "ray"
_RETRIES = 3
_JOBS_A_PROCESS = 100
_PATIENCE = 10.0
"""Seconds to wait for a cluster's first answer."""


@dataclass(frozen=True)
class Pool:
    """Where jobs run.

    Attributes
    ----------
    workers
        How many at a time; by default one a core, on a Ray cluster as many as it has CPUs.
    where
        ``processes`` of this machine, a local ``ray``, or the ``ray://host:port`` of a cluster
        whose machines have the same packages installed.
    """

    workers: int | None = None
    where: str = PROCESSES

    def __post_init__(self) -> None:
        if self.where not in (PROCESSES, LOCAL_RAY) and not self.where.startswith("ray://"):
            raise IntervoxError(f"unknown engine pool {self.where!r}: give processes, ray or ray://host:port")


def default_workers() -> int:
    """Return how many processes this machine's cores can feed."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    count: int,
    pool: Pool,
    on_result: Callable[[Result], None],
) -> None:
    """Run ``work`` on every job.

    Jobs are taken as workers become free, so that queued ones cost no memory, and results arrive
    in the order in which they finish. An error or an interrupt cancels what has not begun.

    Parameters
    ----------
    count
        How many jobs there are: no more workers than that are started.

    Raises
    ------
    IntervoxError
        A worker process was killed, most often for want of memory; Ray tries such a job again
        three times first.
    """
    workers = pool.workers or default_workers()
    if pool.where != PROCESSES:
        results = _on_ray(work, iter(jobs), pool)
    elif workers <= 1 or count <= 1:
        results = map(work, jobs)
    else:
        results = _on_fresh_processes(work, iter(jobs), min(workers, count), count)
    for result in results:
        on_result(result)


def _on_fresh_processes(
    work: Callable[[Job], Result], jobs: Iterator[Job], workers: int, count: int
) -> Iterator[Result]:
    """Replace the processes now and then: native libraries lose a little memory at every call."""
    size = workers * _JOBS_A_PROCESS
    for _ in range(0, count, size):
        yield from _on_processes(work, islice(jobs, size), workers)


def _on_processes(work: Callable[[Job], Result], jobs: Iterator[Job], workers: int) -> Iterator[Result]:
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _exit_with_parent)
    pending = set()
    try:
        for job in jobs:
            pending.add(pool.submit(work, job))
            if len(pending) > workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise IntervoxError(
            "a worker process was killed (out of memory?): run the same command again with fewer "
            "workers; finished shards are kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_ray(work: Callable[[Job], Result], jobs: Iterator[Job], pool: Pool) -> Iterator[Result]:
    ray, started = _connect(pool)
    try:
        # max_retries covers workers and machines that die; a mistake in the job is not tried again.
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(work)
        workers = pool.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        pending: list[Any] = []
        for job in jobs:
            pending.append(task.remote(job))
            if len(pending) > workers:
                done, pending = ray.wait(pending)
                yield from ray.get(done)
        while pending:
            done, pending = ray.wait(pending)
            yield from ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise IntervoxError(
            f"a Ray worker was killed {_RETRIES + 1} times on the same job: give its machine more memory "
            "and run the same command again; what is finished is kept"
        ) from error
    finally:
        if started:
            ray.shutdown()


def _connect(pool: Pool) -> tuple[Any, bool]:
    """Return the module and whether this call started or joined a cluster that it must leave."""
    try:
        import ray
    except ImportError:
        raise missing_extra("ray", "ray", f"the engine pool {pool.where}") from None
    if ray.is_initialized():
        return ray, False
    if pool.where == LOCAL_RAY:
        ray.init(num_cpus=pool.workers or default_workers(), include_dashboard=False, log_to_driver=False)
        return ray, True
    _knock(pool.where)
    try:
        ray.init(pool.where)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise IntervoxError(f"the Ray cluster at {pool.where} can't be used: {error}") from None
    return ray, True


def _knock(address: str) -> None:
    """See that something listens: Ray itself tries for minutes before it says so."""
    target = urlsplit(address)
    try:
        socket.create_connection((target.hostname or "", target.port or 10001), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise IntervoxError(f"no Ray cluster answers at {address} ({error}): start it first") from None


def _exit_with_parent() -> None:
    """End this worker when its parent is killed, which leaves no one to close its queue."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
