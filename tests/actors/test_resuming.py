"""Running an execution again through the engine: after its end, after a restart, and when nothing can be run."""

from __future__ import annotations

import pytest
import trio

from goflow_trio import Job, State, open_engine
from goflow_trio.core import limits
from goflow_trio.core.record import fold
from goflow_trio.errors import UnknownExecution, UnknownTask, WrongState
from goflow_trio.testing.faulty import FaultyBackend
from tests.actors.test_engine import KeptMemory, world


class Flaky:
    """A job `extract >> load >> report`, whose `load` fails as long as `broken` is true; `calls` says what ran."""

    def __init__(self):
        self.broken = True
        self.calls = []

    def job(self, *, with_load=True):
        job = Job("etl", params={"day": "today"})

        @job.task
        async def extract(context):
            self.calls.append("extract")
            return [1, 2, 3]

        if with_load:

            @job.task(upstream=extract)
            async def load(context):
                self.calls.append("load")
                if self.broken:
                    raise OSError("disk full")
                return sum(context.results["extract"])

            @job.task(upstream=load)
            async def report(context):
                self.calls.append("report")
                return f"{context.params['day']}: {context.results['load']}"

        return job


async def test_a_retry_keeps_good_results_and_tells_who_and_why(autojump_clock):
    flaky = Flaky()
    async with open_engine(jobs=[flaky.job()], environment=world()) as engine:
        first = await (await engine.submit("etl", {"day": "monday"})).wait()
        assert first.state is State.FAILED
        await trio.sleep(1)  # let it be saved as finished
        flaky.broken = False
        async with engine.subscribe() as events:
            execution = await engine.retry(first.id, by="ada", reason="made room")
            assert execution.id == first.id
            again = await execution.wait()
            assert "execution.reopened" in [event.type for event in await events.receive_batch()]
        assert (first.state, first.tasks["load"].state) == (State.FAILED, State.FAILED), "the old record stays"
        assert again.state is State.SUCCESSFUL
        assert again.results == {"extract": [1, 2, 3], "load": 6, "report": "monday: 6"}
        assert flaky.calls == ["extract", "load", "load", "report"]
        assert [attempt.number for attempt in again.tasks["load"].attempts] == [1, 2]
        assert (again.reopenings[0].by, again.reopenings[0].reason) == ("ada", "made room")
        await trio.sleep(1)
        assert await engine.newest(state="failed") == []
        assert [record.id for record in await engine.newest(state="successful")] == [first.id]
        assert fold(await engine.store.read_log(0, 1_000))[first.id] == again


async def test_a_retry_works_after_restarts_and_survives_them(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "CACHED_EXECUTIONS", 0)
    flaky = Flaky()
    store = KeptMemory()
    async with open_engine(store, jobs=[flaky.job()], environment=world()) as engine:
        execution_id = (await (await engine.submit("etl")).wait()).id
        await trio.sleep(1)
    for _ in range(2):
        async with open_engine(store, jobs=[flaky.job()], environment=world()) as engine:
            assert (await (await engine.retry(execution_id)).wait()).state is State.FAILED
    flaky.broken = False
    async with open_engine(store, jobs=[flaky.job()], environment=world()) as engine:
        record = await (await engine.retry(execution_id, start="start")).wait()
        assert record.state is State.SUCCESSFUL
        assert [record.tasks[name].attempt for name in ("extract", "load", "report")] == [2, 4, 1]
    async with open_engine(store, jobs=[flaky.job()], environment=world()) as engine:
        assert await engine.newest() == [record]
        assert await engine.newest(state="failed") == []


async def test_a_task_that_is_gone_from_the_code_fails_as_such(autojump_clock):
    flaky = Flaky()
    store = KeptMemory()
    async with open_engine(store, jobs=[flaky.job()], environment=world()) as engine:
        execution_id = (await (await engine.submit("etl")).wait()).id
    async with open_engine(store, jobs=[flaky.job(with_load=False)], environment=world()) as engine:
        record = await (await engine.retry(execution_id)).wait()
        assert (record.tasks["load"].state, record.tasks["load"].reason) == (State.FAILED, "definition gone")
        assert record.tasks["extract"].result == [1, 2, 3]


async def test_what_runs_is_good_or_unknown_is_refused(autojump_clock):
    job = Job("nap")

    @job.task
    async def nap():
        await trio.sleep(1)

    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("nap")
        with pytest.raises(WrongState, match=f"execution {execution.id} still runs|is still running"):
            await engine.retry(execution.id)
        await execution.wait()
        with pytest.raises(WrongState, match="nothing to run again"):
            await engine.retry(execution.id)
        with pytest.raises(UnknownTask, match="no task 'x'; it has: nap"):
            await engine.retry(execution.id, task="x")
        with pytest.raises(UnknownExecution, match="no execution has the id 'x'"):
            await engine.retry("x")
        assert (await (await engine.retry(execution.id, task="nap")).wait()).tasks["nap"].attempt == 2


async def test_of_two_retries_at_once_one_is_refused(autojump_clock):
    flaky = Flaky()
    async with open_engine(jobs=[flaky.job()], environment=world()) as engine:
        execution_id = (await (await engine.submit("etl")).wait()).id
        outcomes = []

        async def try_it():
            try:
                await (await engine.retry(execution_id)).wait()
                outcomes.append("ran")
            except WrongState:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_it)
            nursery.start_soon(try_it)
        assert sorted(outcomes) == ["ran", "refused"]
        assert flaky.calls == ["extract", "load", "load"]


async def test_a_reopened_execution_gets_its_whole_time_again(autojump_clock):
    job = Job("slow", timeout=10)

    @job.task
    async def slow(context):
        await trio.sleep(20 if context.attempt == 1 else 5)

    async with open_engine(jobs=[job], environment=world()) as engine:
        record = await (await engine.submit("slow")).wait()
        assert "timed out" in record.reason
        await trio.sleep(100)
        assert (await (await engine.retry(record.id)).wait()).state is State.SUCCESSFUL


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_death_at_every_operation_of_the_store_loses_no_retry(after, autojump_clock):
    """Rule: a retry that was acknowledged is done, once; a finished task that was kept never runs again."""
    for dies_at in range(1, 100):
        flaky = Flaky()
        memory = KeptMemory()
        async with open_engine(memory, jobs=[flaky.job()], environment=world()) as engine:
            first = await (await engine.submit("etl")).wait()
            await trio.sleep(1)
        flaky.broken = False
        backend = FaultyBackend(memory)
        backend.fail(dies_at, "die after" if after else "die")
        acknowledged = False
        async with trio.open_nursery() as nursery:

            async def watch(backend=backend, nursery=nursery):
                await backend.died.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            async with open_engine(backend, jobs=[flaky.job()], environment=world()) as engine:
                execution = await engine.retry(first.id)
                acknowledged = True
                await execution.wait()
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
        async with open_engine(memory, jobs=[flaky.job()], environment=world()) as engine:
            for execution in engine._executions:
                await execution.wait()
            (record,) = await engine.newest()
            assert len(record.reopenings) == 1 or not acknowledged
            if not record.reopenings or record.state is not State.SUCCESSFUL:
                record = await (await engine.retry(first.id)).wait()
            assert record.state is State.SUCCESSFUL
            assert flaky.calls.count("extract") == 1
            await trio.sleep(1)
            listed = {state: len(await engine.newest(state=state)) for state in ("failed", "successful", "running")}
            assert listed == {"failed": 0, "successful": 1, "running": 0}
        if not backend.died.is_set():
            assert dies_at > 10
            return
    pytest.fail("the workload never came to its end")
