"""The engine is ended at every operation of its store, before and after it takes effect; then it is opened again.

Rules: what was acknowledged is there and ends; a finished task never runs again; nothing stays unfinished.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from goflow_trio import ConstantDelay, Job, State, open_engine
from goflow_trio.actors.damage import Damage
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.actors.segments import decode_segments
from goflow_trio.core.record import fold
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import FaultyBackend

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
    left = task("left", upstream=top, retries=6, retry_delay=ConstantDelay(1))
    flaky = task("flaky", upstream=top, retries=6, retry_delay=ConstantDelay(1))
    task("bottom", upstream=[left, flaky], idempotent=True)
    return job


async def run_until_death(backend, calls, acknowledged, world):
    """Submit two executions one after the other; return whether all ended before the store died."""
    finished = False
    async with trio.open_nursery() as nursery:

        async def watch():
            await backend.died.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        async with open_engine(backend, jobs=[workload(calls)], environment=world) as engine:
            for _ in range(2):
                execution = await engine.submit("diamond")
                acknowledged.append(execution.id)
            for execution in engine._executions:
                await execution.wait()
            await trio.sleep(1)  # let it tidy up: snapshots, checkpoint
            finished = True
        nursery.cancel_scope.cancel()
    return finished


def dying(memory, dies_at, mode):
    backend = FaultyBackend(memory)
    if dies_at is not None:
        backend.fail(dies_at, mode)
    return backend


async def crash_and_recover(deaths: list[int], mode: str) -> bool:
    """Let one engine after the other die at the operation of its own that `deaths` names, then let one live.

    Returns whether the last one that was to die came through alive.
    """
    memory = MemoryBackend()
    calls: list[str] = []
    acknowledged: list[str] = []
    alive = False
    for number, dies_at in enumerate(deaths):
        before = len(calls)
        done = await finished_tasks(memory)
        world = virtual_environment(START.replace(minute=number))
        alive = await run_until_death(dying(memory, dies_at, mode), calls, acknowledged, world)
        assert not ran_again(calls[before:]) & done, "a finished task ran again"
    ended = {call for call in calls if " end " in call}
    before = len(calls)
    done = await finished_tasks(memory)
    assert done <= ended, "a task is recorded as successful that never ended"
    world = virtual_environment(START.replace(minute=30))
    async with open_engine(FaultyBackend(memory), jobs=[workload(calls)], environment=world) as engine:
        assert set(acknowledged) <= {record.id for record in await engine.newest()}, "an acknowledged one is lost"
        for execution in engine._executions:
            await execution.wait()
        for record in await engine.newest():
            assert record.state is State.SUCCESSFUL, (record.reason, record.tasks)
        assert not ran_again(calls[before:]) & done, "a finished task ran again"
        await trio.sleep(1)
        history = await engine.store.read_log(0, 10_000) or []
        assert fold(history) == {record.id: record for record in await engine.newest()}
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
        assert engine.health().state == "ok"
    return alive


async def finished_tasks(memory) -> set[str]:
    """Return what is durably successful, from the log alone: what an engine that opens the store now may not repeat."""
    events: list = []
    for some in decode_segments(await memory.scan("log/"), Damage()):
        events += some
    return {
        f"{record.id} end {task.name}"
        for record in fold(events).values()
        for task in record.tasks.values()
        if task.state is State.SUCCESSFUL
    }


def ran_again(calls) -> set[str]:
    return {call.replace("begin", "end").rsplit(" ", 1)[0] for call in calls if " begin " in call}


def run(deaths, mode):
    return trio.run(crash_and_recover, deaths, mode, clock=MockClock(autojump_threshold=0))


MODES = pytest.mark.parametrize("mode", ["die", "die after"])


@MODES
def test_the_engine_dies_at_every_operation_of_the_store(mode):
    for dies_at in range(1, 500):
        if run([dies_at], mode):
            assert dies_at > 15
            return
    pytest.fail("the workload never came to its end")


@MODES
@pytest.mark.parametrize("first", [9, 19])
def test_it_dies_again_at_every_operation_of_its_recovery(mode, first):
    """First in the middle of its work, then at each operation of the start after that, and at each of the next."""
    for dies_at in range(1, 25):
        run([first, dies_at], mode)
        run([first, dies_at, dies_at], mode)


@pytest.mark.slow
@MODES
def test_it_dies_at_every_pair_of_operations(mode):
    for first in range(1, 60):
        for second in range(1, 60):
            run([first, second], mode)
