"""Dask, with a scheduler and two worker processes of our own: what runs there, and what becomes of it when they die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from goflow_trio import ConstantDelay, Dask, DefinitionError, Job, Task, open_engine
from tests import servers
from tests.executors import work

pytest.importorskip("distributed", reason="needs the extra dask")

ROOT = Path(__file__).parents[2]


class Cluster:
    """A scheduler and workers with one thread each, as processes on 127.0.0.1."""

    def __init__(self):
        port = servers.free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        answers = lambda: socket.create_connection(("127.0.0.1", port), 5).close()
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
        self.scheduler = self._server("dask_scheduler", options, port, answers)
        self.workers = []

    @staticmethod
    def _server(program, options, port, ready):
        folder = servers.new_folder()
        environment = ["env", f"PYTHONPATH={ROOT}", f"DASK_TEMPORARY_DIRECTORY={folder}"]
        command = [*environment, sys.executable, "-m", f"distributed.cli.{program}", *options]
        return servers.Server(program, folder, command, port, ready, stop_signal=signal.SIGTERM)

    def start(self):
        self.scheduler.start()
        for _ in range(2):
            options = [self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            worker = self._server("dask_worker", [*options, "--memory-limit", "0"], 0, lambda: None)
            self.workers.append(worker)
            worker.start()

    def kill(self, pid):
        assert pid in {server.pid for server in [self.scheduler, *self.workers]}
        os.kill(pid, signal.SIGKILL)

    def close(self):
        for server in [*self.workers, self.scheduler]:
            server.close()


@contextmanager
def running_cluster():
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def dask():
    """A cluster that the tests leave as it is."""
    with running_cluster() as cluster:
        yield cluster


async def until(condition):
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110  # another process makes it true
            await trio.sleep(0.02)


def begun(folder):
    """Return the process of each attempt that has begun, by `item-attempt`."""
    files = [file for file in folder.iterdir() if file.name != "go"]
    return {file.name: int(text) for file in files if (text := file.read_text())}


def waiting_job(executor, folder, items=6, **options):
    job = Job("job", params={"folder": str(folder)})
    job.map("each", work.wait_for_go, over=range(items), executor=executor, **options)
    return job


async def test_results_output_and_errors(dask):
    job = Job("job")
    for function in (work.where, work.talk, work.fail, work.fail_particularly, work.leave, work.lock):
        job.add(Task(function.__name__, function, executor=Dask(dask.address)))
    job.add(Task("last", lambda context: context.results["where"]["pid"], executor=Dask(dask.address)))
    job.set_downstream("where", "last")
    async with open_engine(jobs=[job]) as engine:
        record = await (await engine.submit("job")).wait()
        talk = await engine.output(record.id, "talk")
    tasks = record.tasks
    assert tasks["where"].result["pid"] in {worker.pid for worker in dask.workers}
    assert tasks["last"].result == tasks["where"].result["pid"]
    lines = [b"printed", b"to stderr", b"WARNING some.library: logged", b"a line of mine", b"\xff raw"]
    assert (tasks["talk"].result, talk.data.splitlines()) == ("talked", lines)
    assert (tasks["fail"].error.type, tasks["fail"].error.message) == ("ValueError", "no luck")
    assert "in fail\n" in tasks["fail"].error.traceback
    assert "in inner\n" in tasks["fail"].error.traceback
    assert "distributed" not in tasks["fail"].error.traceback
    assert tasks["fail_particularly"].error.type == "Particular"
    assert tasks["leave"].error.type == "SystemExit"
    assert tasks["lock"].error.message.startswith("the result, of type lock, cannot be sent back")


def test_the_example(dask):
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "dask_cluster.py"), dask.address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=2 * 60)
    assert done.stdout.splitlines() == ["total: 285", "printed there: squaring 3"]


async def test_cancel_tells_what_goes_on(dask, tmp_path):
    async with open_engine(jobs=[waiting_job(Dask(dask.address), tmp_path)]) as engine:
        execution = await engine.submit("job")
        await until(lambda: len(begun(tmp_path)) == 2)
        await execution.cancel()
        record = await execution.wait()
    items = [record.tasks[f"each[{index}]"] for index in range(6)]
    went_on = {f"{item.index}-1" for item in items if item.attempts and "abandoned" in item.attempts[0].reason}
    assert record.state == "cancelled"
    assert went_on == set(begun(tmp_path))
    (tmp_path / "go").touch()
    job = Job("job")
    job.map("each", work.where, over=range(4), executor=Dask(dask.address))
    async with open_engine(jobs=[job]) as engine:  # both workers are free again, and nothing else had been queued
        assert (await (await engine.submit("job")).wait()).state == "successful"
    assert len(begun(tmp_path)) == 2


@pytest.mark.parametrize("retries", [0, 2])
async def test_a_worker_is_killed_in_the_middle_of_a_map(retries, tmp_path):
    """What it was given fails, and is not run again behind the engine's back; retries run on the other worker."""
    with running_cluster() as cluster:
        delay = ConstantDelay(0.01)
        job = waiting_job(Dask(cluster.address), tmp_path, retries=retries, retry_delay=delay)
        async with open_engine(jobs=[job]) as engine:
            execution = await engine.submit("job")
            await until(lambda: len(set(begun(tmp_path).values())) == 2)
            (victim, pid), _ = begun(tmp_path).items()
            cluster.kill(pid)
            failed = f"each[{victim.partition('-')[0]}]"
            await until(lambda: execution.record.tasks[failed].attempts[0].error is not None)
            (tmp_path / "go").touch()
            with trio.fail_after(60):
                record = await execution.wait()
            kept = await engine.output(record.id, failed)
    items = [task for name, task in record.tasks.items() if name != "each"]
    lost = [task for task in items if task.attempts[0].error is not None]
    assert failed in {task.name for task in lost}
    assert {task.attempts[0].error.type for task in lost} == {"WorkerLost"}
    assert lost[0].attempts[0].error.message.endswith("died before the work was done")
    if retries:
        assert record.state == "successful"
        assert record.tasks["each"].result == [0, 10, 20, 30, 40, 50]
        assert kept.data.decode() == f"item {record.tasks[failed].item}\n"
    else:
        assert record.state == "failed"
        assert [task.result for task in items if task not in lost] == [
            task.index * 10 for task in items if task not in lost
        ]
        assert not any(name.endswith("-2") for name in begun(tmp_path))
    print(f"retries={retries}: {record.state}, lost {len(lost)} of 6, attempts {[len(t.attempts) for t in items]}")


async def test_a_scheduler_that_is_lost_is_an_error_and_so_is_one_that_is_not_there(tmp_path):
    with running_cluster() as cluster:
        dask = Dask(cluster.address)
        job = waiting_job(dask, tmp_path, items=2)
        async with open_engine(jobs=[job]) as engine:
            execution = await engine.submit("job", {"folder": str(tmp_path)})
            await until(lambda: len(begun(tmp_path)) == 2)
            cluster.kill(cluster.scheduler.pid)
            dask._timeout = 1  # from now on nobody is there
            with trio.fail_after(60):
                record = await execution.wait()
                again = await (await engine.submit("job")).wait()
        (tmp_path / "go").touch()
    error = record.tasks["each[0]"].error
    assert error.type == "ExecutorUnavailable"
    assert error.message.startswith(f"the Dask scheduler at {cluster.address} was lost before the work was done")
    error = again.tasks["each[0]"].error
    assert error.type == "ExecutorUnavailable"
    assert error.message.startswith(f"the Dask scheduler at {cluster.address} cannot be reached: ")


async def test_what_cannot_run_there_is_refused():
    with pytest.raises(DefinitionError, match="Dask takes its scheduler's address"):
        Dask("127.0.0.1:8786")
    job = Job("job")
    job.add(Task("task", partial(print, threading.Lock()), executor=Dask("tcp://127.0.0.1:1")))
    with pytest.raises(DefinitionError, match="cannot be sent to another process"):
        async with open_engine(jobs=[job]):
            pass
