"""The engine is ended at every operation of its store, before and after it takes effect; then it is opened again.

Rules: what was acknowledged is there and ends; a finished task never runs again; nothing stays unfinished.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from goflow_trio import ConstantDelay, Job, State, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core.record import fold
from goflow_trio.stores.memory import MemoryBackend
from tests.faults.faulty import DyingBackend, FlakyBackend

START = datetime(2026, 1, 1, tzinfo=UTC)


def workload(calls: list[str]) -> Job:
    job = Job("diamond")

    def task(name, upstream=(), **options):
        @job.task(name=name, upstream=upstream, **options)
        async def work(context):
            calls.append(f"{context.execution_id} begin {name} {context.attempt}")
            await trio.sleep(0.5)
            if name == "flaky" and context.attempt == 1:
                raise ValueError("first time")
            calls.append(f"{context.execution_id} end {name}")
            return name

        return work

    top = task("top", idempotent=True)
    left = task("left", upstream=top, retries=2, retry_delay=ConstantDelay(1))
    flaky = task("flaky", upstream=top, retries=2, retry_delay=ConstantDelay(1))
    task("bottom", upstream=[left, flaky], idempotent=True)
    return job


async def run_until_death(backend, calls, acknowledged):
    """Submit two executions one after the other; return whether all ended before the store died."""
    finished = False
    async with trio.open_nursery() as nursery:

        async def watch():
            await backend.died.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        async with open_engine(backend, jobs=[workload(calls)], environment=virtual_environment(START)) as engine:
            for _ in range(2):
                execution = await engine.submit("diamond")
                acknowledged.append(execution.id)
            for execution_id in acknowledged:
                await (await handle(engine, execution_id)).wait()
            await trio.sleep(1)  # let it tidy up: snapshots, checkpoint
            finished = True
        nursery.cancel_scope.cancel()
    return finished


async def handle(engine, execution_id):
    return engine._executions.get(execution_id) or await engine._finished_handle(execution_id)


async def crash_and_recover(dies_at: int, *, after: bool) -> bool:
    memory = MemoryBackend()
    calls: list[str] = []
    acknowledged: list[str] = []
    alive = await run_until_death(DyingBackend(memory, dies_at, after=after), calls, acknowledged)
    finished_before = [call for call in calls if " end " in call]
    before = len(calls)
    async with open_engine(
        DyingBackend(memory), jobs=[workload(calls)], environment=virtual_environment(START.replace(minute=1))
    ) as engine:
        records = {record.id: record for record in await engine.newest()}
        assert set(acknowledged) <= set(records), "an acknowledged execution is lost"
        done = {
            f"{record.id} end {task.name}"
            for record in records.values()
            for task in record.tasks.values()
            if task.state is State.SUCCESSFUL
        }
        assert done <= set(finished_before), "a task is recorded as successful that never ended"
        for execution in list(engine._executions.values()):
            await execution.wait()
        for record in await engine.newest():
            assert record.state is State.SUCCESSFUL, (record.reason, record.tasks)
        again = {call.replace("begin", "end").rsplit(" ", 1)[0] for call in calls[before:] if " begin " in call}
        assert not again & done, "a finished task ran again"
        await trio.sleep(1)
        history = await engine.store.read_log(0, 10_000) or []
        folded = fold(history)
        assert folded == {record.id: record for record in await engine.newest()}
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
    return alive


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
def test_the_engine_dies_at_every_operation_of_the_store(after):
    for dies_at in range(1, 500):
        alive = trio.run(lambda: crash_and_recover(dies_at, after=after), clock=MockClock(autojump_threshold=0))  # noqa: B023
        if alive:
            assert dies_at > 15
            return
    pytest.fail("the workload never came to its end")


async def test_a_store_that_fails_for_a_while_loses_nothing_and_says_so(autojump_clock):
    backend = FlakyBackend(MemoryBackend())
    calls: list[str] = []
    async with open_engine(backend, jobs=[workload(calls)], environment=virtual_environment(START)) as engine:
        execution = await engine.submit("diamond")
        backend.down = True
        await trio.sleep(30)
        assert "disk is full" in engine.problem
        with pytest.raises(Exception, match="disk is full"):
            await engine.submit("diamond")
        assert not execution.record.state.is_final
        backend.down = False
        record = await execution.wait()
        assert engine.problem is None
        assert record.state is State.SUCCESSFUL
        history = await engine.store.read_log(0, 1_000)
        assert fold(history)[execution.id] == record
