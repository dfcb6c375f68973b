"""How the machine is shared: threads that wait quietly, and jobs over processes or a Ray cluster."""

import ctypes
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar
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

_ENDED_BY = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers send; the exit code is 128 more."""

_GRACE_SECONDS = 0.6
"""What an interrupted command has to end by itself; its workers have half of it."""

_TRACKER_WARNING = "ignore::UserWarning:multiprocessing.resource_tracker"
"""The process that removes the locks of an interrupted command need not tell the user about them."""

_QUIET_THREADS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "OPENBLAS_THREAD_TIMEOUT": "4",
    # Clips of every length make oneDNN keep a compiled kernel per shape: hundreds of megabytes.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
}
"""PyTorch's OpenMP (GNU's, or LLVM's on macOS) and NumPy's OpenBLAS: threads without work sleep.

By default they spin for the next piece of work. Beside anything else that computes, that takes several
times the processor time of the work itself.
"""

_THREADS = "OMP_NUM_THREADS"
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Pool:
    """Where jobs run.

    Attributes
    ----------
    workers
        How many at a time; by default one per core, on a Ray cluster as many as it has CPUs.
    where
        ``processes`` of this machine, a local ``ray``, or the ``ray://host:port`` of a cluster
        whose machines have the same packages installed.
    """

    workers: int | None = None
    where: str = PROCESSES

    @property
    def on_ray(self) -> bool:
        """Whether jobs run in Ray's workers, which may be on other machines."""
        return self.where != PROCESSES

    def __post_init__(self) -> None:
        if self.where not in (PROCESSES, LOCAL_RAY) and not self.where.startswith("ray://"):
            raise IntervoxError(f"unknown engine pool {self.where!r}: give processes, ray or ray://host:port")


def default_workers() -> int:
    """Return how many cores this process may use: those of its affinity, or its container's quota of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        return cores


def quiet_threads() -> None:
    """Set how the numeric libraries use the cores, before any of them is loaded.

    For processes of our own alone, and never in place of what the user has set.
    """
    for name, value in _QUIET_THREADS.items():
        os.environ.setdefault(name, value)
    if _THREADS not in os.environ:
        os.environ[_THREADS] = str(default_workers())
        _chosen_here.add(_THREADS)


_chosen_here: set[str] = set()
"""The number of threads, unless the user has set it: workers get one each."""


def give_back_memory() -> None:
    """Return to the system what has been freed: glibc keeps it for each thread that once asked for it."""
    with suppress(OSError, AttributeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def ended_by_interrupt(say: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C or SIGTERM end the command that this process is for, whatever it computes, in a second.

    An interrupt is an exception in the main thread. It waits for native code to return, and then for
    the threads and workers of the step. Files are whole or absent, so nothing is lost by not waiting.

    Parameters
    ----------
    say
        Tells the user that the command was interrupted.
    """
    # The interpreter's own signal handler writes here at once, also while the main thread is busy.
    heard, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    once, ended = threading.Lock(), threading.Event()

    def end(code: int) -> None:
        # The interpreter itself would wait for all threads, and for libraries to take themselves apart.
        if once.acquire(blocking=False):
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h\r")  # the cursor, which a progress bar hides
            say()
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):  # nobody reads it, or it is closed
                    stream.flush()
            os._exit(code)

    def watch() -> None:
        while (number := heard.recv(1)) and number[0] not in _ENDED_BY:
            pass
        if number and not ended.wait(_GRACE_SECONDS):
            end(128 + number[0])

    sys.warnoptions.append(_TRACKER_WARNING)
    threading.Thread(target=watch, daemon=True).start()
    handlers = {
        signal.SIGINT: signal.signal(signal.SIGINT, _interrupt),
        # With an exception, what is half written is removed.
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number)),
    }
    try:
        yield
    except SystemExit as leaving:
        if leaving.code in [128 + number for number in _ENDED_BY]:  # Typer makes that of an interrupt
            end(int(leaving.code or 0))
        ended.set()
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        sys.warnoptions.remove(_TRACKER_WARNING)
        told.close()


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Interrupt the main thread, but in no import: an exception inside a native module's ends in an abort."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def run_jobs(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    count: int,
    pool: Pool,
    on_result: Callable[[Result], None],
) -> None:
    """Run ``work`` on every job.

    A job is sent with all that it needs; ``work`` is sent to a worker once.

    Jobs are taken as workers become free, so that queued ones cost no memory, and results arrive
    in the order in which they finish. An error or an interrupt ends all the others.

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
    if pool.on_ray:
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
    context = multiprocessing.get_context("spawn")
    # Open for as long as the workers are wanted: it closes with this process, however that ends.
    wanted, until = context.Pipe(duplex=False)
    threads = None if _THREADS in os.environ and _THREADS not in _chosen_here else "1"
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (wanted, threads))
    pending = set()
    try:
        for job in jobs:
            with _interrupts_held():
                pending.add(pool.submit(work, job))
            if len(pending) > workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
        pool.shutdown()
    except BrokenProcessPool as error:
        raise IntervoxError(
            "a worker process was killed (out of memory?): run the same command again with fewer "
            "workers; finished shards are kept"
        ) from error
    finally:
        until.close()
        pool.shutdown(wait=True, cancel_futures=True)
        wanted.close()


def _on_ray(work: Callable[[Job], Result], jobs: Iterator[Job], pool: Pool) -> Iterator[Result]:
    ray, started = _connect(pool)

    def one(job: Job) -> Result:  # Ray takes no partial, functions alone
        return work(job)

    try:
        # max_retries covers workers and machines that die; a mistake in the job is not tried again.
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(one)
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


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start workers that no Ctrl-C reaches: the parent decides what it means."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(wanted: Connection, threads: str | None) -> None:
    """Prepare a worker: its threads, and its end as soon as nobody waits for what it does.

    Parameters
    ----------
    wanted
        Closes at the other end when the parent has failed, was interrupted or was killed.
    threads
        How many the numeric libraries use here, where the user has not said.
    """
    if threads:
        os.environ[_THREADS] = threads
    quiet_threads()

    def watch() -> None:
        with suppress(EOFError, OSError):
            wanted.recv_bytes()
        # First as an exception, which ends what the job has started and removes its temporary files.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS / 2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    # Last: until there is a job, the signal may end the process as it is.
    signal.signal(signal.SIGTERM, _leave)


def _leave(_signal: int, _frame: object) -> NoReturn:
    # Where native code calls back, as when sound is encoded, the exception is ignored, but printed.
    sys.unraisablehook = lambda _unraisable: None
    sys.exit(1)
