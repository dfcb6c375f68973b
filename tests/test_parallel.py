"""Jobs over processes and over a local Ray cluster, with a worker killed in the middle."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from intervox import parallel
from intervox.clips.corpus import shard_path
from intervox.clips.schema import read_cells
from intervox.corpus.render.shard import Shard, ShardJob, render_shard
from intervox.corpus.render.synthesis import empty_job, synthesise
from intervox.errors import IntervoxError
from intervox.parallel import LOCAL_RAY, Pool, run_jobs
from intervox.recipe.corpus import BlockSettings, ConditionSettings, CorpusRecipe, TextSettings
from intervox.recipe.engines import EspeakSettings

SMALL = CorpusRecipe(
    engines=(EspeakSettings(voices=20),),
    texts=TextSettings(count=60),
    train=BlockSettings(blocks=4, speakers=4, contents=4),
    test=BlockSettings(blocks=0),
    conditions=ConditionSettings(rooms=2),
    shard_size=16,
)


def square(number: int) -> int:
    return number * number


def render_or_die(job: tuple[ShardJob, str]) -> Shard:
    """Render a shard, but kill the worker of the second one the first time, as a full memory does."""
    shard, marker = job
    if shard.index == 1 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return render_shard(shard)


def die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def fail(number: int) -> int:
    raise IntervoxError(f"job {number} can't be done")


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    # Workers unpickle functions of this file by name.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


@pytest.mark.parametrize("pool", [Pool(1), Pool(2)])
def test_every_job_is_done_once(pool: Pool) -> None:
    done: list[int] = []
    run_jobs(square, iter(range(9)), 9, pool, done.append)
    assert sorted(done) == [number * number for number in range(9)]


def who(_: int) -> int:
    return os.getpid()


@pytest.mark.slow
def test_processes_are_replaced_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_JOBS_A_PROCESS", 2)
    processes: list[int] = []
    run_jobs(who, iter(range(9)), 9, Pool(2), processes.append)
    assert len(processes) == 9
    assert len(set(processes)) >= 3


def test_a_killed_process_and_an_unknown_pool_say_so() -> None:
    with pytest.raises(IntervoxError, match="a worker process was killed"):
        run_jobs(die, range(4), 4, Pool(2), lambda _: None)
    with pytest.raises(IntervoxError, match="unknown engine pool 'slurm'"):
        run_jobs(square, range(2), 2, Pool(2, "slurm"), lambda _: None)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("ray_here")
def test_ray_makes_the_same_corpus_and_survives_a_killed_worker(tmp_path: Path) -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        here = synthesise(SMALL, 0, tmp_path / "here", Pool(1))
        there = synthesise(SMALL, 0, tmp_path / "there", Pool(2, LOCAL_RAY))
        for shard in sorted((here.folder / "audio").iterdir()):
            assert shard.read_bytes() == (there.folder / "audio" / shard.name).read_bytes()
        job = empty_job(SMALL, 0, here.folder)
        jobs = [
            (
                replace(job, index=index, cells=read_cells(here.cells.slice(16 * index, 16))),
                str(tmp_path / "killed"),
            )
            for index in range(here.shard_count)
        ]
        shards: dict[int, bytes] = {}
        run_jobs(
            render_or_die, jobs, len(jobs), Pool(2, LOCAL_RAY), lambda s: shards.update({s.index: s.data})
        )
        assert (tmp_path / "killed").exists()
        for index, data in shards.items():
            assert data == shard_path(here.folder, index).read_bytes()
        assert len(shards) == here.shard_count
        with pytest.raises(IntervoxError, match="job 0 can't be done"):
            run_jobs(fail, range(1), 1, Pool(2, LOCAL_RAY), lambda _: None)
    finally:
        ray.shutdown()


@pytest.mark.usefixtures("ray_here")
def test_an_absent_cluster_is_named() -> None:
    with pytest.raises(IntervoxError, match="no Ray cluster answers at ray://127.0.0.1:9"):
        run_jobs(square, range(2), 2, Pool(2, "ray://127.0.0.1:9"), lambda _: None)


NAMES = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OPENBLAS_THREAD_TIMEOUT", "OMP_NUM_THREADS")


def environment(_: int) -> dict[str, str]:
    return dict(os.environ)


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell of a user who has set nothing."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def environment_after(code: str) -> dict[str, str]:
    begin = "import json, os, sys; sys.argv = ['intervox', '--help']; before = dict(os.environ)"
    script = f"{begin}\n{code}\nprint(json.dumps(dict(os.environ)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


COMMAND = """
from intervox.cli.app import main
assert not {"numpy", "torch"} & set(sys.modules), "too late for what they read when they are loaded"
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.usefixtures("untouched")
def test_threads_of_a_command_and_its_workers_wait_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "4"}
    command = environment_after(COMMAND)
    assert quiet.items() <= command.items()
    assert command["OMP_NUM_THREADS"] == str(parallel.default_workers())
    workers: list[dict[str, str]] = []
    # A command's workers inherit what it has chosen for itself, which is no wish of the user's.
    monkeypatch.setattr(parallel, "_chosen_here", {"OMP_NUM_THREADS"})
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    run_jobs(environment, range(2), 2, Pool(2), workers.append)
    for worker in workers:
        assert (quiet | {"OMP_NUM_THREADS": "1"}).items() <= worker.items()


@pytest.mark.usefixtures("untouched")
def test_what_the_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "3"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    workers: list[dict[str, str]] = []
    run_jobs(environment, range(2), 2, Pool(2), workers.append)
    for found in (environment_after(COMMAND), *workers):
        assert own.items() <= found.items()


@pytest.mark.usefixtures("untouched")
def test_importing_intervox_changes_no_environment() -> None:
    environment_after(
        "import intervox; from intervox import IntervoxError, load_recipe; assert dict(os.environ) == before"
    )


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)])
def test_a_container_s_quota_counts(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(parallel, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert parallel.default_workers() == cores
