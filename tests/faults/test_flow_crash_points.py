"""The engine is ended at every operation of its store while a job maps, branches, waits, asks and runs another.

Rules: the execution ends as it would have; what had ended never runs again; items, choices and answers are kept.
"""

from __future__ import annotations

import pytest
import trio

from goflow_trio import Approve, Branch, Job, Noop, RunJob, Sleep, State, Task, WrongState, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core.record import fold
from goflow_trio.testing.faulty import FaultyBackend
from tests.actors.test_engine import START, KeptMemory, world


def workload(calls, begun):
    """Return `each (a map) >> ask >> which >> [short, long] >> join` and `child`; long runs the job."""
    child = Job("child")

    @child.task(idempotent=True)
    async def work():
        await trio.sleep(1)
        calls.append("child")
        return "done"

    parent = Job("parent")

    async def items():
        begun.append(len(begun))
        return [f"{begun[-1]}-{number}" for number in range(3)]  # other items each time it is asked

    async def one(context):
        await trio.sleep(0.5)
        calls.append(context.item)
        return context.item

    async def choose():
        return "long"

    each = parent.map("each", one, over=items, idempotent=True, max_active=2)
    ask = parent.add(Task("ask", Approve("Go on?")))
    which = parent.add(Task("which", Branch(choose), idempotent=True))
    arms = [parent.add(Task("short", Sleep(1))), parent.add(Task("long", RunJob(child)))]
    each >> ask >> which >> arms >> parent.add(Task("join", Noop(), trigger_rule="noneFailed", idempotent=True))
    return [parent, child]


async def go_on(engine, execution):
    """Answer what is asked, and wait for the end."""
    async with trio.open_nursery() as nursery:

        async def answer():
            while True:
                try:
                    await engine.approve(execution.id, "ask", by="ada")
                except WrongState:
                    await trio.sleep(0.25)
                else:
                    return

        nursery.start_soon(answer)
        record = await execution.wait()
        nursery.cancel_scope.cancel()
    return record


async def crash_and_recover(dies_at, after):
    """Return whether the store died before all was done."""
    memory = KeptMemory()
    backend = FaultyBackend(memory)
    backend.fail(dies_at, "die after" if after else "die")
    calls, begun, seen = [], [], {}
    async with trio.open_nursery() as nursery:

        async def watch():
            await backend.died.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        async with open_engine(backend, jobs=workload(calls, begun), environment=world()) as engine:
            execution = await engine.submit("parent")
            await go_on(engine, execution)
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    later = virtual_environment(START.replace(minute=1))
    async with open_engine(memory, jobs=workload(calls, begun), environment=later) as engine:
        for record in await engine.newest():
            seen |= {task.name: task for task in record.tasks.values() if task.state is State.SUCCESSFUL}
        done = {task.item for task in seen.values() if task.mapped_from}
        before = len(calls)
        for execution in [one for one in engine._executions if one.job == "parent"]:
            await go_on(engine, execution)
        for record in await engine.newest():
            assert record.state is State.SUCCESSFUL, (record.reason, record.tasks)
            assert record.job == "child" or record.tasks["short"].state is State.SKIPPED
            assert record.job == "child" or record.tasks["each"].result == [
                task.item for task in record.tasks.values() if task.mapped_from
            ]
        assert not done & set(calls[before:]), "an item that had ended ran again"
        assert len(await engine.newest(job="child")) <= 1
        assert "work" not in seen or "child" not in calls[before:]
        await trio.sleep(1)
        history = await engine.store.read_log(0, 10_000) or []
        assert fold(history) == {record.id: record for record in await engine.newest()}
    return backend.died.is_set()


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_the_engine_dies_at_every_operation_of_the_store(after, autojump_clock):
    for dies_at in range(1, 200):
        if not await crash_and_recover(dies_at, after):
            assert dies_at > 25
            return
    pytest.fail("the workload never came to its end")
