"""Backfills and one-off submits: each instant once, across restarts, with progress."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
import trio

from goflow_trio import Job, State, UsageError, open_engine
from goflow_trio.actors.batch import Submission
from goflow_trio.testing.faulty import FaultyBackend
from tests.actors.test_engine import START, KeptMemory, world
from tests.actors.test_scheduler import Clock

HOUR = timedelta(hours=1)


def hourly(ran=None, seconds=60.0, **options):
    job = Job("hourly", schedule="@hourly", **options)

    @job.task(idempotent=True)
    async def work(context):
        await trio.sleep(seconds)
        if ran is not None:
            ran.append((context.scheduled_for, context.execution_id))

    return job


async def test_each_instant_of_the_past_once_in_order(autojump_clock):
    ran = []
    async with open_engine(jobs=[hourly(ran)], environment=world()) as engine:
        backfill = await engine.backfill("hourly", START - 5 * HOUR, START + 5 * HOUR)
        await trio.sleep(61)
        assert (backfill.progress.total, backfill.progress.submitted, backfill.progress.successful) == (6, 2, 1)
        progress = await backfill.wait()
        assert (progress.state, progress.successful, progress.failed) == ("done", 6, 0)
        assert [at for at, _ in ran] == [START + n * HOUR for n in range(-5, 1)]
        records = await engine.newest()
        assert {record.trigger for record in records} == {"backfill"}
        assert engine.backfills("hourly") == [backfill]
        again = await engine.backfill("hourly", START - 7 * HOUR, START)
        progress = await again.wait()
        assert (progress.total, progress.present, progress.submitted) == (7, 5, 2)


async def test_a_limit_of_several_at_once(autojump_clock):
    async with open_engine(jobs=[hourly()], environment=world()) as engine:
        begun = trio.current_time()
        await (await engine.backfill("hourly", START - 9 * HOUR, START, limit=3)).wait()
        assert 180 <= trio.current_time() - begun < 190


async def test_what_the_schedule_ran_is_left_out_and_what_it_will_run_is_not_taken(autojump_clock):
    ran = []
    async with open_engine(jobs=[hourly(ran, active=True)], environment=world()) as engine:
        await trio.sleep(3 * 3600 + 300)
        backfill = await engine.backfill("hourly", START - HOUR, START + 99 * HOUR)
        progress = await backfill.wait()
        assert (progress.total, progress.present, progress.submitted) == (5, 3, 2)
        assert max(Counter(at for at, _ in ran).values()) == 1


async def test_cancelled_it_submits_nothing_more(autojump_clock):
    async with open_engine(jobs=[hourly()], environment=world()) as engine:
        backfill = await engine.backfill("hourly", START - 50 * HOUR, START)
        await trio.sleep(150)
        progress = await backfill.cancel(executions=True)
        assert (progress.state, progress.submitted, progress.successful, progress.failed) == ("cancelled", 3, 2, 1)
        await trio.sleep(3600)
        assert len(await engine.newest()) == 3


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_restart_goes_on_with_what_was_not_cancelled(cancelled, autojump_clock):
    backend, ran, clock = KeptMemory(), [], Clock()
    async with open_engine(backend, jobs=[hourly(ran)], environment=clock.world()) as engine:
        backfill = await engine.backfill("hourly", START - 5 * HOUR, START)
        await trio.sleep(150)
        if cancelled:
            await backfill.cancel()
    async with open_engine(backend, jobs=[hourly(ran)], environment=clock.world()) as engine:
        assert len(engine.backfills()) == (0 if cancelled else 1)
        for known in engine.backfills():
            await known.wait()
        assert len({at for at, _ in ran}) == (3 if cancelled else 5)
        by_instant = {}
        for at, execution in ran:
            assert by_instant.setdefault(at, execution) == execution, "an instant has one execution"


@pytest.mark.parametrize("mode", ["die", "die after"])
def test_an_end_at_any_operation_of_the_store_runs_no_instant_twice(mode):
    from trio.testing import MockClock

    async def until_death(backend, ran, clock):
        async with trio.open_nursery() as nursery:

            async def watch():
                await backend.died.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            async with open_engine(backend, jobs=[hourly(ran, 1)], environment=clock.world()) as engine:
                await (await engine.backfill("hourly", START - 3 * HOUR, START)).wait()
                await trio.sleep(1)
            nursery.cancel_scope.cancel()

    async def main():
        memory, ran, clock = KeptMemory(), [], Clock()
        backend = FaultyBackend(memory)
        backend.fail(dies_at, mode)
        await until_death(backend, ran, clock)
        async with open_engine(FaultyBackend(memory), jobs=[hourly(ran, 1)], environment=clock.world()) as engine:
            await (await engine.backfill("hourly", START - 3 * HOUR, START)).wait()
            instants = Counter(record.scheduled_for for record in await engine.newest())
            assert instants == {START - n * HOUR: 1 for n in (1, 2, 3)}
            assert all(record.state is State.SUCCESSFUL for record in await engine.newest())
        return backend.died.is_set()

    for dies_at in range(1, 300):
        if not trio.run(main, clock=MockClock(autojump_threshold=0)):
            assert dies_at > 15
            return
    pytest.fail("the workload never came to its end")


@pytest.mark.parametrize(
    ("since", "until", "limit", "words"),
    [
        (START, START, None, "is not after since"),
        (START - HOUR, START, 0, "it is how many run at once"),
        (START - 20_000 * HOUR, START, None, "do it in several parts"),
        (START.replace(tzinfo=None), START, None, "has no time zone"),
    ],
)
async def test_a_wrong_range_is_refused(since, until, limit, words, autojump_clock):
    async with open_engine(jobs=[hourly()], environment=world()) as engine:
        with pytest.raises(UsageError, match=words):
            await engine.backfill("hourly", since, until, limit=limit)


async def test_a_job_without_a_schedule_has_nothing_to_backfill(autojump_clock):
    async with open_engine(jobs=[Job("plain")], environment=world()) as engine:
        with pytest.raises(UsageError, match="has no schedule"):
            await engine.backfill("plain", START - HOUR, START)


async def test_submitted_at_an_instant_it_waits_for_it_across_a_restart(autojump_clock):
    backend, ran, clock = KeptMemory(), [], Clock()
    async with open_engine(backend, jobs=[hourly(ran, 0)], environment=clock.world(steady=True)) as engine:
        execution = await engine.submit("hourly", at=START + 5 * HOUR)
        again = await engine.submit("hourly", at=START + 6 * HOUR, idempotency_key="x")
        assert (await engine.submit("hourly", idempotency_key="x")).id == again.id
        await trio.sleep(3600)
        assert execution.record.state is State.NOTSTARTED
        receipt = await again.cancel("changed my mind")
        assert receipt.tasks == 1
    async with open_engine(backend, jobs=[hourly(ran, 0)], environment=clock.world(steady=True)) as engine:
        await trio.sleep(4 * 3600 - 10)
        assert ran == []
        await trio.sleep(11)
        assert ran == [(START + 5 * HOUR, execution.id)]
        await trio.sleep(3 * 3600)
        assert len(ran) == 1


async def test_one_that_waits_is_no_earlier_run_and_does_not_move_the_schedule(autojump_clock):
    ran = []
    job = hourly(ran, 0, active=True, overlap="skip", max_active_executions=1)
    async with open_engine(jobs=[job], environment=world()) as engine:
        (execution,) = await engine.submit_many([Submission("hourly", at=START + 100 * HOUR)])
        await trio.sleep(3 * 3600 + 1)
        assert [at for at, _ in ran] == [START + HOUR, START + 2 * HOUR, START + 3 * HOUR]
        assert execution.record.state is State.NOTSTARTED


async def test_an_instant_in_the_past_is_now(autojump_clock):
    async with open_engine(jobs=[hourly(None, 0)], environment=world()) as engine:
        record = await (await engine.submit("hourly", at=START - HOUR)).wait()
        assert record.state is State.SUCCESSFUL
