"""Limits of what runs at once: kept, served in order, and no slot is ever lost."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
import trio

from goflow_trio import ConstantDelay, Goflow, Job, Task, UsageError, open_engine
from goflow_trio.actors.batch import Submission
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.errors import DefinitionError, UnknownExecution
from goflow_trio.stores.memory import MemoryBackend

START = datetime(2026, 1, 1, tzinfo=UTC)


class KeptMemory(MemoryBackend):
    """Memory that survives its engine, as a disk would."""

    async def aclose(self):
        await trio.lowlevel.checkpoint()


def world():
    return virtual_environment(START)


class Meter:
    """Work that takes a while, and notes how much of it runs at once, and in which order."""

    def __init__(self, seconds=1.0):
        self.seconds = seconds
        self.now = self.most = 0
        self.order = []
        self.starts = {}

    async def __call__(self, context):
        self.now += 1
        self.most = max(self.most, self.now)
        self.order.append((context.execution_id, context.task))
        self.starts[context.execution_id] = trio.current_time()
        try:
            await trio.sleep(self.seconds)
        finally:
            self.now -= 1


def job_of(work, count=1, name="job", task=None, **options):
    job = Job(name, **options)
    for number in range(count):
        job.add(Task(f"t{number}", work, **(task or {})))
    return job


def assert_free(engine):
    slots = engine._executions.gate.slots
    assert set(slots.used.values()) == {0}
    assert not slots._lanes
    assert not any(slots._holders.values())


async def run_many(count, limit, cancels, seed):
    chance = random.Random(seed)
    meter = Meter()
    async with open_engine(jobs=[job_of(meter)], max_active_tasks=limit, environment=world()) as engine:
        executions = []
        for first in range(0, count, 1000):
            executions += await engine.submit_many([Submission("job")] * min(1000, count - first))
        async with trio.open_nursery() as nursery:
            for execution in chance.sample(executions, cancels):
                nursery.start_soon(cancel_later, execution, chance.uniform(0, count / limit))
            for execution in executions:
                nursery.start_soon(execution.wait)
        states = [execution.record.state for execution in executions]
        assert_free(engine)
    assert meter.most == limit
    times = [meter.starts[execution] for execution in sorted(meter.starts)]  # ids sort by submission
    assert times == sorted(times)
    assert states.count("cancelled") + states.count("successful") == count
    assert states.count("successful") >= count - cancels
    return states


async def cancel_later(execution, seconds):
    await trio.sleep(seconds)
    await execution.cancel()


async def test_many_executions_at_once_are_served_in_order_and_none_is_lost(autojump_clock):
    await run_many(600, 50, 120, seed=1)


@pytest.mark.slow
async def test_ten_thousand_executions_at_once(autojump_clock):
    await run_many(10_000, 50, 2_000, seed=2)


async def test_a_task_that_waits_for_a_slot_is_not_running(autojump_clock):
    async with open_engine(jobs=[job_of(Meter(), 3)], max_active_tasks=1, environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(0.5)
        assert [task.state for task in execution.record.tasks.values()] == ["running", "notstarted", "notstarted"]
        await execution.wait()
        starts = [(task.started - START).total_seconds() for task in execution.record.tasks.values()]
    assert starts == pytest.approx([0, 1, 2], abs=0.1)


async def test_pools_have_weights_and_stop_nobody_else(autojump_clock):
    meter, other = Meter(), Meter()
    job = Job("job")
    for number in range(4):
        job.add(Task(f"light{number}", meter, pool="db"))
    job.add(Task("heavy", meter, pool="db", pool_slots=3))
    job.add(Task("free", other))
    async with open_engine(jobs=[job], pools={"db": 3}, environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(0.5)
        assert (meter.now, other.now) == (3, 1)
        waiting = {each.task: each for each in engine.waiting(execution.id)}
        assert set(waiting) == {"light3", "heavy"}
        assert waiting["heavy"].reason == "slot"
        assert waiting["heavy"].detail == "pool db: 3 of 3 slots are taken"
        assert waiting["heavy"].held_by == tuple(f"{execution.id}/light{number}" for number in range(3))
        assert [(one.name, one.capacity, one.used, one.waiting) for one in engine.slots()] == [
            ("tasks of the engine", 1000, 4, 2),
            ("pool db", 3, 3, 2),
        ]
        await trio.sleep(1)
        assert meter.order[-1][1] == "light3"
        await execution.wait()
        assert meter.order[-1][1] == "heavy"
        assert_free(engine)


async def test_priority_goes_first_across_executions(autojump_clock):
    meter = Meter()
    jobs = [job_of(meter, name="low"), job_of(meter, name="high", task={"priority": 5})]
    async with open_engine(jobs=jobs, max_active_tasks=1, environment=world()) as engine:
        executions = [await engine.submit(name) for name in ("low", "low", "high")]
        for execution in executions:
            await execution.wait()
    assert [one for one, _ in meter.order] == [executions[place].id for place in (0, 2, 1)]


async def test_tasks_of_a_job_in_all_its_executions(autojump_clock):
    meter = Meter()
    job = job_of(meter, 3, max_active_tasks_total=4, max_active_tasks=2)
    async with open_engine(jobs=[job], environment=world()) as engine:
        executions = [await engine.submit("job") for _ in range(5)]
        await trio.sleep(0.5)
        assert meter.now == 4
        waiting = engine.waiting(executions[0].id)
        assert [each.detail for each in waiting] == ["2 tasks of the execution run, which is its limit"]
        for execution in executions:
            await execution.wait()
        assert meter.most == 4
        assert_free(engine)


async def test_executions_of_a_job_wait_their_turn_and_say_for_whom(autojump_clock):
    job = job_of(Meter(), 2, max_active_executions=1)
    async with open_engine(jobs=[job], environment=world()) as engine:
        first, second, third = [await engine.submit("job") for _ in range(3)]
        await trio.sleep(0.5)
        assert engine.waiting(first.id) == []
        answer = engine.waiting(third.id)[0]
        assert (answer.task, answer.reason) == ("t0", "execution")
        assert answer.detail == "executions of job job: 1 of 1 slots are taken"
        assert answer.held_by == (first.id,)
        await second.cancel(task="t1")  # one of its tasks: it still waits for its turn
        assert second.record.state == "notstarted"
        assert second.record.tasks["t1"].state == "cancelled"
        await third.cancel()
        assert (await second.wait()).state == "cancelled"
        assert second.record.tasks["t0"].state == "successful"
        assert second.record.started >= first.record.finished
        assert_free(engine)
        with pytest.raises(UnknownExecution):
            engine.waiting(first.id)


async def test_what_else_a_task_waits_for(autojump_clock):
    job = Job("job")

    async def fail():
        raise ValueError

    a = job.add(Task("a", fail, retries=1, retry_delay=ConstantDelay(60)))
    b = job.add(Task("b", Meter()))
    [a, b] >> job.add(Task("c", Meter()))
    async with open_engine(jobs=[job], environment=world()) as engine, engine.subscribe() as events:
        execution = await engine.submit("job")
        async for event in events:
            if event.type == "task.retry_scheduled":
                break
        retry, upstream = engine.waiting(execution.id)
        assert (retry.task, retry.reason) == ("a", "retry")
        assert retry.until == execution.record.tasks["a"].retry_at
        assert (upstream.task, upstream.detail, upstream.held_by) == ("c", "waiting for a, b", ("a", "b"))
        await execution.cancel()


async def test_a_retry_and_a_cancel_give_the_slot_back(autojump_clock):
    calls = []

    async def work(context):
        calls.append(context.task)
        if context.attempt == 1:
            raise ValueError
        await trio.sleep_forever()

    job = job_of(work, 2, task={"retries": 1, "retry_delay": ConstantDelay(5)})
    async with open_engine(jobs=[job], max_active_tasks=1, environment=world()) as engine:
        execution = await engine.submit("job")
        await trio.sleep(1)
        assert calls == ["t0", "t1"]
        await trio.sleep(9)
        assert calls in (["t0", "t1", "t0"], ["t0", "t1", "t1"])  # their waits end at the same time
        receipt = await execution.cancel()
        assert receipt.tasks == 2
        assert_free(engine)


async def test_limits_hold_after_a_restart(autojump_clock):
    store, meter = KeptMemory(), Meter(10)
    jobs = [job_of(meter, 2, task={"idempotent": True}, max_active_executions=2)]
    async with open_engine(store, jobs, max_active_tasks=3, environment=world()) as engine:
        executions = [await engine.submit("job") for _ in range(4)]
        await trio.sleep(1)
    meter.order.clear()
    jobs = [job_of(meter, 2, task={"idempotent": True}, max_active_executions=1)]
    async with open_engine(store, jobs, max_active_tasks=3, environment=world()) as engine:
        handles = [engine.execution(execution.id) for execution in executions]
        await trio.sleep(1)
        assert meter.now == 3  # both that ran go on, though only one would be let in now
        assert {one for one, _ in meter.order} == {executions[0].id, executions[1].id}
        for execution in handles:
            await execution.wait()
        assert meter.most == 3
        assert_free(engine)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_active_tasks": -1}, "max_active_tasks must be a whole number of slots, 1 or more, got -1"),
        ({"pools": {"db": 0}}, "pool 'db' must be a whole number of slots"),
        ({"pools": {"x": 1}}, "task 't0' needs the pool 'db', which the engine does not have; give it one: pools="),
        ({"pools": {"db": 1}}, "needs 2 slots of the pool 'db', which has 1; enlarge the pool"),
    ],
)
async def test_wrong_limits_are_refused(options, words):
    job = job_of(Meter(), task={"pool": "db", "pool_slots": 2})
    with pytest.raises((DefinitionError, UsageError), match=words):
        async with open_engine(jobs=[job], **options):
            raise AssertionError


def test_wrong_pools_are_refused_when_the_task_is_made():
    with pytest.raises(DefinitionError, match="pool_slots must be 1 or more"):
        Task("t", Meter(), pool="db", pool_slots=0)
    with pytest.raises(DefinitionError, match="pool name is empty"):
        Task("t", Meter(), pool="")


async def test_the_facade_has_pools_too(autojump_clock):
    gf = Goflow(pools={"db": 1}, max_active_tasks=5)
    gf.add_job(job_of(Meter(), 2, task={"pool": "db"}))
    async with gf.engine() as engine:
        execution = await engine.submit("job")
        await trio.sleep(0.1)
        assert len(engine.waiting(execution.id)) == 1
