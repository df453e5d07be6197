"""Every executor: what it returns, how it fails, what it prints, and how it ends."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import trio

from goflow_trio import DefinitionError, Function, Futures, Job, Process, Task, Thread, open_engine
from goflow_trio.executors import Executor
from goflow_trio.testing import assert_no_leaks
from tests.executors import work

pytest.importorskip("trio_parallel", reason="needs the extra process")


def spawn(workers=1):
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


class Here:
    """The smallest executor there can be."""

    def check(self, prepared, task):
        pass

    async def run(self, prepared, context):
        return prepared.call(context) if prepared.takes_context else prepared.call()

    async def aclose(self):
        pass


MAKERS = {
    "thread": Thread,
    "process": lambda: Process(1),
    "futures, processes": lambda: Futures(spawn),
    "futures, threads": lambda: Futures(lambda: ThreadPoolExecutor(1)),
}
ELSEWHERE = ["process", "futures, processes"]


def job_of(executor, *functions, **options):
    job = Job("job", params={"file": "", "seconds": 60})
    for function in functions:
        job.add(Task(function.__name__, function, executor=executor, **options))
    return job


async def run(job, **params):
    """Run a job; return its record, and what its tasks printed by task."""
    async with open_engine(jobs=[job]) as engine:
        record = await (await engine.submit("job", params)).wait()
        outputs = {name: await engine.output(record.id, name) for name in record.tasks}
    return record, outputs


async def until(condition, seconds=60):
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110  # another process makes it true
            await trio.sleep(0.02)


async def until_written(path):
    await until(path.exists)
    return path.read_text()


def is_gone(pid):
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_each_is_an_executor():
    for make in [*MAKERS.values(), Here]:
        assert isinstance(make(), Executor)


@pytest.mark.parametrize("kind", MAKERS)
async def test_results_output_and_errors(kind):
    job = job_of(MAKERS[kind](), work.where, work.talk, work.fail, work.fail_particularly, work.leave)
    record, outputs = await run(job)
    tasks = record.tasks

    seen = tasks["where"].result
    assert (seen["pid"] != os.getpid()) == (kind in ELSEWHERE)
    assert (seen["job"], seen["attempt"], seen["params"]["seconds"]) == ("job", 1, 60)

    assert tasks["talk"].result == "talked"
    lines = outputs["talk"].data.splitlines()
    assert lines == [b"printed", b"to stderr", b"WARNING some.library: logged", b"a line of mine", b"\xff raw"]
    assert {piece.stream for piece in outputs["talk"].pieces} == {"stdout", "stderr", "log"}

    error = tasks["fail"].error
    assert (error.type, error.message) == ("ValueError", "no luck")
    assert "in fail\n" in error.traceback
    assert "in inner\n" in error.traceback
    assert "goflow_trio/" not in error.traceback
    assert outputs["fail"].data.decode() == error.traceback

    error = tasks["fail_particularly"].error
    assert (error.type, error.message) == ("Particular", "very special (7)")
    assert "in fail_particularly" in error.traceback
    assert tasks["leave"].error.type == "SystemExit"


@pytest.mark.parametrize("kind", ELSEWHERE)
async def test_what_travels(kind):
    """Results of upstreams, a deadline in seconds, lambdas; what cannot travel is an error that says so."""
    executor = MAKERS[kind]()
    job = job_of(executor, work.lock)
    first = job.add(Task("first", lambda: [1, 2], executor=executor))
    job.add(Task("where", Function(work.where), executor=executor, timeout=59))
    job.set_downstream(first, "where")
    job.add(Task("part", partial(pow, 2, 5), executor=executor))
    record, _ = await run(job)
    assert record.tasks["where"].result["results"] == {"first": [1, 2]}
    assert record.tasks["where"].result["soon"]
    assert record.tasks["part"].result == 32
    assert record.tasks["lock"].error.message.startswith("the result, of type lock, cannot be sent back: TypeError")


@pytest.mark.parametrize("how", ["cancel", "time-out"])
async def test_a_process_is_killed(how, tmp_path):
    file = tmp_path / "pid"
    job = job_of(Process(1), work.note_and_sleep, timeout=None if how == "cancel" else 3)
    with assert_no_leaks():
        async with open_engine(jobs=[job]) as engine:
            execution = await engine.submit("job", {"file": str(file)})
            if how == "cancel":
                pid = await until_written(file)
                receipt = await execution.cancel()
                assert (receipt.tasks, receipt.processes, receipt.killed) == (1, 1, 1)
            record = await execution.wait()
            if how == "time-out":
                assert record.tasks["note_and_sleep"].error.message == "it took longer than 3 s"
                pid = file.read_text() if file.exists() else None  # on a busy machine it did not even begin
            if pid:
                await until(partial(is_gone, pid))
    assert not file.exists() or file.read_text() == pid


@pytest.mark.parametrize("kind", ELSEWHERE)
async def test_a_dead_worker_is_an_error_and_the_next_attempt_has_another(kind):
    executor = MAKERS[kind]()
    record, _ = await run(job_of(executor, work.die))
    error = record.tasks["die"].error
    assert error.type == "WorkerLost"
    assert error.message.startswith(("the worker process died", "a worker of the pool died"))
    record, _ = await run(job_of(executor, work.where))
    assert record.state == "successful"


async def test_a_process_tells_how_it_died():
    record, _ = await run(job_of(Process(1), work.die))
    assert record.tasks["die"].error.message == "the worker process died before the work was done, by signal 9"


async def test_a_pool_cannot_stop_what_it_began_and_that_is_told(tmp_path):
    begun, never = tmp_path / "begun", tmp_path / "never"
    go_on = threading.Event()

    def first():
        begun.write_text("")
        go_on.wait(60)

    with ThreadPoolExecutor(1) as pool:
        second = Job("second")
        second.add(Task("second", lambda: never.write_text(""), executor=Futures(pool)))
        async with open_engine(jobs=[job_of(Futures(pool), first), second]) as engine:
            execution = await engine.submit("job")
            await until_written(begun)
            queued = await engine.submit("second")
            await until(lambda: pool._work_queue.qsize() == 1)
            await queued.cancel()
            await execution.cancel()
            record = await execution.wait()
            output = await engine.output(record.id, "first")
        go_on.set()
        assert record.state == "cancelled"
        assert record.tasks["first"].attempts[0].reason == "cancelled; abandoned"
        assert b"it had begun, and goes on where it runs" in output.data
        assert queued.record.tasks["second"].attempts[0].reason == "cancelled"
        assert pool.submit(int).result() == 0  # it is its giver's, and was not shut down
    assert not never.exists()


async def test_a_pool_that_is_shut_down_is_an_error():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    record, _ = await run(job_of(Futures(pool), work.fail))
    assert record.tasks["fail"].error.type == "ExecutorUnavailable"


async def test_names_and_own_executors():
    job = Job("job")
    for executor in ("here", "thread", "process", Here()):
        job.add(Task(f"t{len(job)}", os.getpid, executor=executor))
    record, _ = await run(job)
    pids = [task.result for task in record.tasks.values()]
    assert [pid == os.getpid() for pid in pids] == [True, True, False, True]


async def test_a_map_and_its_retries_run_there():
    job = Job("job")
    job.map("each", lambda context: (context.item, context.index), over=[10, 20], executor=Process(2))
    record, _ = await run(job)
    assert record.tasks["each[1]"].result in ([20, 1], (20, 1))


async def asynchronous():
    pass


def holding():
    held = threading.Lock()
    return lambda: held


@pytest.mark.parametrize(
    ("executor", "operator", "message"),
    [
        ("thread", asynchronous, "asynchronous is async and runs in the engine's loop only; make it a plain function"),
        ("process", asynchronous, "is async"),
        (Futures(spawn), holding(), "its work cannot be sent to another process: TypeError: cannot pickle"),
        ("process", holding(), "use a function of a module, and open files, locks and connections inside of it"),
    ],
)
async def test_what_cannot_run_there_is_refused_when_the_job_is_registered(executor, operator, message):
    job = Job("job")
    job.add(Task("task", operator, executor=executor))
    with pytest.raises(DefinitionError, match=message):
        async with open_engine(jobs=[job]):
            pass


@pytest.mark.parametrize("executor", ["dask", Process, object(), 3])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises(DefinitionError, match="executor must be 'here', 'thread', 'process' or an object such as"):
        Task("task", work.fail, executor=executor)


async def test_a_missing_extra_is_one_line(monkeypatch):
    monkeypatch.setattr("goflow_trio.executors.base.find_spec", lambda name: None)
    with pytest.raises(DefinitionError, match=r"needs the package trio-parallel; install goflow-trio\[process\]$"):
        async with open_engine(jobs=[job_of("process", work.fail)]):
            pass


def test_functions_of_a_file_of_jobs_travel(tmp_path):
    """The file is no module that a worker could import."""
    file = tmp_path / "my_jobs.py"
    file.write_text(
        "import os\nfrom goflow_trio import Job\n"
        "class Mine(Exception): pass\n"
        "def helper(): return 'a helper'\n"
        "job = Job('job')\n"
        "@job.task(executor='process')\ndef work(): return helper()\n"
        "@job.task(executor='process', upstream=[work])\ndef bad(): raise Mine('mine')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "goflow_trio", "run", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Mine: mine" in done.stdout + done.stderr
    assert done.returncode == 1


async def test_workers_end_with_a_server_that_is_killed(tmp_path):
    file = tmp_path / "pid"
    code = (
        "import sys, trio\nfrom goflow_trio import Job, Task, open_engine\nfrom tests.executors import work\n"
        "async def main():\n"
        "    job = Job('job', params={'file': sys.argv[1], 'seconds': 60})\n"
        "    job.add(Task('task', work.note_and_sleep, executor='process'))\n"
        "    async with open_engine(jobs=[job]) as engine:\n"
        "        await (await engine.submit('job')).wait()\n"
        "if __name__ == '__main__':\n    trio.run(main)\n"
    )
    script = tmp_path / "server.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    server = subprocess.Popen([sys.executable, str(script), str(file)], env=env)  # noqa: ASYNC220
    try:
        pid = await until_written(file)
        assert not is_gone(pid)
    finally:
        server.kill()
        server.wait()
    await until(partial(is_gone, pid))


async def test_workers_end_with_the_engine(tmp_path):
    file = tmp_path / "pid"
    with assert_no_leaks():
        async with open_engine(jobs=[job_of("process", work.note_and_sleep)]) as engine:
            await engine.submit("job", {"file": str(file)})
            pid = await until_written(file)
        assert is_gone(pid)


async def test_a_worker_that_dies_at_once_when_it_is_killed_leaves_nothing_open(tmp_path, monkeypatch):
    """`multiprocessing` keeps the pipes of a process that was not joined until another one starts."""
    kill = multiprocessing.Process.kill

    def kill_and_see_it_dead(process):
        kill(process)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "kill", kill_and_see_it_dead)
    file = tmp_path / "pid"
    with assert_no_leaks():
        async with open_engine(jobs=[job_of("process", work.note_and_sleep)]) as engine:
            await engine.submit("job", {"file": str(file)})
            await until_written(file)
