"""Time-outs of an attempt, of a task with all its attempts, of an execution; and they survive a restart."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import trio

from goflow_trio import ConstantDelay, Job, Noop, Task, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.errors import DefinitionError
from goflow_trio.stores.memory import MemoryBackend
from tests.patience import SOON

START = datetime(2026, 1, 1, tzinfo=UTC)


class KeptMemory(MemoryBackend):
    """Memory that survives its engine, as a disk would."""

    async def aclose(self):
        await trio.lowlevel.checkpoint()


async def sleep():
    await trio.sleep_forever()


async def run(job, store="memory://"):
    async with open_engine(store, [job], environment=virtual_environment(START)) as engine:
        return await (await engine.submit(job.name)).wait()


def seconds(record):
    return (record.finished - record.submitted).total_seconds()


async def test_an_attempt_is_cut_and_tried_again(autojump_clock):
    job = Job("job")
    job.add(Task("t", sleep, timeout=10, retries=1, retry_delay=ConstantDelay(5)))
    record = await run(job)
    assert seconds(record) == pytest.approx(25, abs=0.1)
    assert [attempt.reason for attempt in record.tasks["t"].attempts] == ["timeout", "timeout"]
    assert record.tasks["t"].error.message == "it took longer than 10 s"


async def test_all_attempts_together_have_a_limit(autojump_clock):
    job = Job("job")
    job.add(Task("t", sleep, timeout=10, total_timeout=32, retries=9, retry_delay=ConstantDelay(5)))
    record = await run(job)
    assert seconds(record) == pytest.approx(32, abs=0.1)
    assert record.tasks["t"].attempt == 3
    assert record.tasks["t"].reason == "timeout"
    assert record.tasks["t"].error.message == "all its attempts together took longer than 32 s"


async def test_a_retry_that_would_come_too_late_is_not_waited_for(autojump_clock):
    async def fail():
        await trio.sleep(1)
        raise ValueError("the cause")

    job = Job("job")
    job.add(Task("t", fail, total_timeout=30, retries=9, retry_delay=ConstantDelay(20)))
    record = await run(job)
    assert seconds(record) == pytest.approx(22, abs=0.1)
    assert record.tasks["t"].reason == "no time left for a retry"
    assert record.tasks["t"].error.message == "the cause"


async def test_all_attempts_together_have_a_limit_across_a_restart(autojump_clock):
    store = KeptMemory()
    job = Job("job")
    job.add(Task("t", sleep, total_timeout=100, idempotent=True, retries=5))
    world = virtual_environment(START)
    async with open_engine(store, [job], environment=world) as engine:
        execution = await engine.submit("job")
        await trio.sleep(60)
    async with open_engine(store, [job], environment=world) as engine:
        record = await engine.execution(execution.id).wait()
    assert seconds(record) == pytest.approx(100, abs=0.5)
    assert record.tasks["t"].attempt == 2


async def test_the_deadline_of_the_execution_flows_down_and_clean_up_runs(autojump_clock):
    deadlines = {}

    async def work(context):
        deadlines[context.task] = context.deadline - trio.current_time()
        await trio.sleep_forever()

    async def clean(context):
        deadlines[context.task] = context.deadline - trio.current_time()

    job = Job("job", timeout=100)
    first = job.add(Task("first", work, timeout=30, retries=1, retry_delay=ConstantDelay(20)))
    longer = job.add(Task("longer", work, timeout=1000))
    plain = job.add(Task("plain", work))
    [first, longer, plain] >> job.add(Task("clean-up", clean, trigger_rule="allDone"))
    [plain] >> job.add(Task("limited", clean, trigger_rule="allDone", timeout=7))
    record = await run(job)
    assert seconds(record) == pytest.approx(100, abs=0.1)
    assert (record.state, record.reason) == ("failed", "timed out after 100 s")
    assert {name: str(task.state) for name, task in record.tasks.items()} == {
        "first": "failed",
        "longer": "cancelled",
        "plain": "cancelled",
        "clean-up": "successful",
        "limited": "successful",
    }
    # `first` runs a second time, 50 s later
    assert deadlines == {
        "first": pytest.approx(30, abs=0.1),
        "longer": pytest.approx(100, abs=0.1),
        "plain": pytest.approx(100, abs=0.1),
        "clean-up": float("inf"),
        "limited": 7,
    }


@pytest.mark.parametrize("down", [10, 500])
async def test_the_deadline_of_the_execution_survives_a_restart(down, autojump_clock):
    store = KeptMemory()
    job = Job("job", timeout=100)
    job.add(Task("t", sleep, idempotent=True))
    world = virtual_environment(START)
    async with open_engine(store, [job], environment=world) as engine:
        execution = await engine.submit("job")
        await trio.sleep(60)
    await trio.sleep(down)
    async with open_engine(store, [job], environment=world) as engine:
        handle = engine.execution(execution.id)
        record = await handle.wait()
    assert (record.state, record.reason) == ("failed", "timed out after 100 s")
    assert seconds(record) == pytest.approx(max(100, 60 + down), abs=0.5)


async def test_an_execution_that_runs_again_has_its_time_anew(autojump_clock):
    job = Job("job", timeout=100)
    job.add(Task("t", sleep))
    async with open_engine(jobs=[job], environment=virtual_environment(START)) as engine:
        execution = await engine.submit("job")
        await execution.wait()
        begun = trio.current_time()
        record = await (await engine.retry(execution.id)).wait()
        assert trio.current_time() - begun == pytest.approx(100, abs=0.1)
    assert record.tasks["t"].attempt == 2


async def test_a_sync_function_that_is_cut_is_shown_as_abandoned(mock_clock):
    begun, go_on = threading.Event(), threading.Event()
    job = Job("job")
    job.add(Task("t", lambda: (begun.set(), go_on.wait(SOON)), timeout=0.2))
    async with open_engine(jobs=[job], environment=virtual_environment(START)) as engine:
        execution = await engine.submit("job")
        await trio.to_thread.run_sync(begun.wait)
        mock_clock.jump(0.3)
        record = await execution.wait()
        assert engine.threads_abandoned == 1
        go_on.set()
    assert (record.tasks["t"].state, record.tasks["t"].reason) == ("failed", "abandoned")
    assert record.tasks["t"].error.message == "it took longer than 0.2 s; its thread cannot be stopped and goes on"


def test_a_wrong_limit_is_refused():
    with pytest.raises(DefinitionError, match="total_timeout must be a number of seconds above 0"):
        Task("t", sleep, total_timeout=0)


async def test_what_is_cancelled_in_time_is_cancelled_though_its_end_takes_longer(autojump_clock):
    async def slow_to_end():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(20)

    job = Job("job")
    job.add(Task("t", slow_to_end, timeout=10))
    async with open_engine(jobs=[job], environment=virtual_environment(START)) as engine:
        execution = await engine.submit("job")
        await trio.sleep(5)
        receipt = await execution.cancel()
    assert receipt.seconds == pytest.approx(20, abs=0.1)
    assert execution.record.tasks["t"].state == "cancelled"


async def test_what_swallows_its_time_out_has_not_succeeded(autojump_clock):
    async def deaf():
        with suppress(trio.Cancelled):
            await trio.sleep_forever()
        return "late"

    async def deaf_shield():
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
        return "late"

    job = Job("job")
    for work in (deaf, deaf_shield):
        job.add(Task(work.__name__, work, timeout=10))
    record = await run(job)
    for task in record.tasks.values():
        assert (task.state, task.reason, task.result) == ("failed", "timeout", None)
        assert task.error.message == "it took longer than 10 s"


async def test_what_swallows_a_cancel_and_returns_has_succeeded(autojump_clock):
    async def deaf():
        with suppress(trio.Cancelled):
            await trio.sleep_forever()
        return "done anyway"

    job = Job("job")
    job.add(Task("t", deaf, timeout=10))
    async with open_engine(jobs=[job], environment=virtual_environment(START)) as engine:
        execution = await engine.submit("job")
        await trio.sleep(5)
        await execution.cancel()
    assert (execution.record["t"].state, execution.record["t"].result) == ("successful", "done anyway")


async def test_a_hook_that_hangs_is_given_up(autojump_clock, caplog):
    job = Job("job", on_success=sleep)
    job.add(Task("t", Noop()))
    record = await run(job)
    assert record.state == "successful"
    assert "its on_success hook failed" in caplog.text
