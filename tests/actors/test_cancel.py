"""A cancel returns when nothing of it is left running, and says what that took."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from goflow_trio import Command, Job, Noop, Task, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core.messages import AttemptFailed, AttemptSucceeded, TaskError
from goflow_trio.errors import UnknownExecution, UnknownTask
from goflow_trio.operators import processes
from tests.patience import AGES, SOON, until

START = datetime(2026, 1, 1, tzinfo=UTC)
linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


def world():
    return virtual_environment(START)


async def sleep():
    await trio.sleep_forever()


async def started(engine, execution, count=1):
    """Wait until so many tasks run."""
    with trio.fail_after(SOON):
        while sum(task.state == "running" for task in execution.record.tasks.values()) < count:  # noqa: ASYNC110
            await trio.sleep(0.01)


@linux
async def test_a_hundred_sleeping_commands_end_without_waiting_for_the_grace(monkeypatch):
    monkeypatch.setattr(processes, "GRACE", AGES)
    job = Job("many")
    for number in range(100):
        job.add(Task(f"t{number}", Command("sleep", ["600"])))
    async with open_engine(jobs=[job]) as engine:
        execution = await engine.submit("many")
        await started(engine, execution, 100)
        with trio.fail_after(SOON):
            while len(await processes._census().take()) < 100:  # noqa: ASYNC110
                await trio.sleep(0.01)
        with trio.fail_after(SOON):
            receipt = await execution.cancel("enough")
        assert (receipt.tasks, receipt.processes, receipt.killed, receipt.threads_abandoned) == (100, 100, 0, 0)
        assert await processes._census().take() == {}
        record = await execution.wait()
        assert record.state == "cancelled"
        assert {task.reason for task in record.tasks.values()} == {"enough"}


@linux
async def test_what_does_not_end_when_told_is_killed_and_counted(monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.3)
    job = Job("stubborn")
    job.add(Task("t", Command("trap '' TERM; sleep 600 & sleep 600 & echo up; while :; do wait; done", shell=True)))
    async with open_engine(jobs=[job]) as engine, engine.subscribe(types=["task.output"]) as events:
        execution = await engine.submit("stubborn")
        await events.receive_batch()
        receipt = await execution.cancel()
    assert receipt.processes == 3
    assert receipt.killed >= 1


async def test_a_thread_that_cannot_be_stopped_is_counted_as_long_as_it_runs():
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()
    job = Job("thread")

    @job.task
    def work():
        begun.set()
        go_on.wait(SOON)
        done.set()

    async with open_engine(jobs=[job]) as engine:
        execution = await engine.submit("thread")
        await until(begun.is_set)
        receipt = await execution.cancel("enough")
        assert (receipt.tasks, receipt.threads_abandoned) == (1, 1)
        assert execution.record.tasks["work"].reason == "enough; abandoned"
        assert engine.threads_abandoned == 1
        go_on.set()
        await trio.to_thread.run_sync(done.wait, SOON)
        with trio.fail_after(SOON):
            while engine.threads_abandoned:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_one_task_of_several_and_what_comes_after_follows_its_rule(autojump_clock):
    job = Job("job")
    gone, waits = job.add(Task("gone", sleep)), job.add(Task("waits", sleep))
    gone >> job.add(Task("after", sleep))
    gone >> job.add(Task("clean-up", Noop(), trigger_rule="allDone"))
    waits >> job.add(Task("later", sleep))
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(1)
        receipt = await engine.cancel(execution.id, "not needed", task="gone")
        assert (receipt.tasks, receipt.seconds) == (1, 0)
        await engine.cancel(execution.id, task="later")  # it has not started
        await trio.sleep(1)
        states = {name: str(task.state) for name, task in execution.record.tasks.items()}
        assert states == {
            "gone": "cancelled",
            "waits": "running",
            "after": "skipped",
            "clean-up": "successful",
            "later": "cancelled",
        }
        assert execution.record.tasks["gone"].reason == "not needed"
        assert (await engine.cancel(execution.id, task="gone")).tasks == 0
        with pytest.raises(UnknownTask, match="no task 'x'"):
            await engine.cancel(execution.id, task="x")
        await engine.cancel(execution.id, task="waits")
        record = await execution.wait()
        assert (record.state, record.reason) == ("cancelled", "cancelled one by one: gone, waits, later")
        with pytest.raises(UnknownTask):
            await engine.cancel(execution.id, task="x")
        with pytest.raises(UnknownExecution):
            await engine.cancel("x", task="gone")


async def test_a_task_that_is_cancelled_is_not_tried_again_however_it_ends(autojump_clock):
    async def stubborn():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the middle of it")

    job = Job("job")
    job.add(Task("t", stubborn, retries=5))
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(1)
        await execution.cancel(task="t")
        record = await execution.wait()
    assert (record.tasks["t"].state, record.tasks["t"].attempt) == ("failed", 1)


async def test_a_final_state_is_never_overwritten_by_late_signals(autojump_clock):
    job = Job("job")
    job.add(Task("t", sleep))
    job.add(Task("other", sleep))
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(1)
        await execution.cancel("first", task="t")
        supervisor = engine.execution(execution.id)._supervisor
        before = execution.record.version
        supervisor.send(AttemptSucceeded("t", 1, "late"))
        supervisor.send(AttemptFailed("t", 1, TaskError("ValueError", "late")))
        await execution.cancel("second", task="t")
        assert execution.record.version == before
        assert execution.record.tasks["t"].reason == "first"
        await execution.cancel()


async def test_cancelling_twice_at_once_gives_two_receipts(autojump_clock):
    job = Job("job")
    job.add(Task("t", sleep))
    receipts = []

    async def cancel():
        receipts.append(await execution.cancel())

    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            nursery.start_soon(cancel)
        assert [receipt.tasks for receipt in receipts] == [1, 1]
        assert (await engine.cancel(execution.id)).tasks == 0


@linux
async def test_the_helper_ends_with_the_engine_and_leaves_others_alone(tmp_path):
    job = Job("job")
    job.add(Task("t", Command("echo", ["hi"])))
    async with open_engine(jobs=[job]) as one:
        async with open_engine(jobs=[job]) as two:
            await (await two.submit("job")).wait()
            helper = processes._guard._popen
            assert helper.poll() is None
            os.kill(helper.pid, 9)  # somebody kills it: the next command starts another
            with trio.fail_after(SOON):
                while helper.poll() is None:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await (await two.submit("job")).wait()
            assert processes._guard._popen is not helper
            helper = processes._guard._popen
        assert helper.poll() is None
    assert helper.poll() == 0
    assert one is not two


async def test_a_map_is_cancelled_with_its_items_and_an_item_alone(autojump_clock):
    job = Job("job")

    @job.task
    async def numbers():
        return [0, 1, 2]

    async def work(context):
        await trio.sleep(0 if context.item == 0 else 1e6)

    job.map("work", work, over=numbers)
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(1)
        assert (await execution.cancel(task="work[1]")).tasks == 1
        assert (await execution.cancel("all", task="work")).tasks >= 1
        record = await execution.wait()
    states = {name: str(task.state) for name, task in record.tasks.items()}
    assert states["work[0]"] == "successful"
    assert states["work[1]"] == states["work[2]"] == "cancelled"
