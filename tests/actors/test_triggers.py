"""Runs that follow other runs, each once, across restarts; runs by a webhook's token."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from goflow_trio import DefinitionError, Job, Secret, State, open_engine
from goflow_trio.errors import CycleError, UnknownJob
from goflow_trio.testing.faulty import FaultyBackend
from tests.actors.test_engine import KeptMemory, world
from tests.actors.test_scheduler import Clock

TOKEN = "a token that nobody guesses"


def job(name, *, fails=False, **options):
    made = Job(name, **options)

    @made.task
    async def work(context):
        await trio.sleep(1)
        if fails:
            raise ValueError("no")

    return made


async def triggers(engine):
    return Counter((record.job, record.trigger) for record in await engine.newest())


async def test_it_follows_what_was_successful_and_what_was_done(autojump_clock):
    jobs = [
        job("good"),
        job("bad", fails=True),
        job("report", after=["good", "bad"]),
        job("always", after_done=["good", "bad"], after="good"),
        job("last", after="report"),
    ]
    async with open_engine(jobs=jobs, environment=world()) as engine:
        for name in ("good", "bad", "good"):
            await engine.submit(name)
        await trio.sleep(10)
        assert await triggers(engine) == {
            ("good", "manual"): 2,
            ("bad", "manual"): 1,
            ("report", "after good"): 2,
            ("always", "after good"): 2,
            ("always", "after bad"): 1,
            ("last", "after report"): 2,
        }


async def test_what_ended_before_it_was_there_is_not_followed_and_what_ended_while_it_was_away_is(autojump_clock):
    backend, clock = KeptMemory(), Clock()
    async with open_engine(backend, jobs=[job("first")], environment=clock.world()) as engine:
        await (await engine.submit("first")).wait()
    both = [job("first"), job("second", after="first")]
    async with open_engine(backend, jobs=both, environment=clock.world()) as engine:
        await trio.sleep(5)
        assert await triggers(engine) == {("first", "manual"): 1}
    async with open_engine(backend, jobs=[job("first")], environment=clock.world()) as engine:
        await (await engine.submit("first")).wait()
    async with open_engine(backend, jobs=both, environment=clock.world()) as engine:
        await trio.sleep(5)
        assert await triggers(engine) == {("first", "manual"): 2, ("second", "after first"): 1}


@pytest.mark.parametrize("mode", ["die", "die after"])
def test_an_end_at_any_operation_of_the_store_follows_each_run_once(mode):
    def jobs():
        return [job("first", schedule="* * * * * *", active=True, end=begin + timedelta(seconds=3.5)), last]

    async def life(backend, clock, seconds):
        records = {}
        async with trio.open_nursery() as nursery:

            async def watch():
                await backend.died.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            async with open_engine(backend, jobs=jobs(), environment=clock.world()) as engine:
                await trio.sleep(seconds)
                records = {record.id: record for record in await engine.newest()}
            nursery.cancel_scope.cancel()
        return records

    async def main():
        nonlocal begin, last
        memory, clock = KeptMemory(), Clock()
        begin, last = clock.now(), job("last", after_done="first")
        backend = FaultyBackend(memory)
        backend.fail(dies_at, mode)
        await life(backend, clock, 8)
        records = await life(FaultyBackend(memory), clock, 12)
        followed = Counter(record.job for record in records.values())
        assert followed["last"] == followed["first"] > 0
        assert all(record.state.is_final for record in records.values())
        return backend.died.is_set()

    begin = last = None
    for dies_at in range(1, 400, 2):
        if not trio.run(main, clock=MockClock(autojump_threshold=0)):
            assert dies_at > 20
            return
    pytest.fail("the workload never came to its end")


def test_what_is_followed_has_to_be_there_and_nothing_follows_itself():
    async def opened(*jobs):
        async with open_engine(jobs=jobs):
            pass

    with pytest.raises(DefinitionError, match="job 'b' runs after 'a', which is not registered"):
        trio.run(opened, job("b", after="a"))
    with pytest.raises(CycleError):
        trio.run(opened, job("a", after="b"), job("b", after_done="a"))


async def test_a_webhook_runs_its_own_job_with_its_own_token(autojump_clock, monkeypatch):
    monkeypatch.setenv("HOOK", TOKEN + " too")
    jobs = [job("plain"), job("text", webhook=TOKEN, params={"day": ""}), job("secret", webhook=Secret("HOOK"))]
    async with open_engine(jobs=jobs, environment=world()) as engine:
        execution = await engine.submit_by_hook("text", TOKEN, {"day": "monday"}, idempotency_key="1")
        assert (await engine.submit_by_hook("text", TOKEN, idempotency_key="1")).id == execution.id
        record = await execution.wait()
        assert (record.state, record.trigger, record.params["day"]) == (State.SUCCESSFUL, "webhook", "monday")
        await engine.submit_by_hook("secret", TOKEN + " too")
        for name, token in [("text", "wrong"), ("text", ""), ("secret", TOKEN), ("plain", ""), ("none", TOKEN)]:
            with pytest.raises(UnknownJob, match="has a webhook with this token"):
                await engine.submit_by_hook(name, token)


def test_a_short_token_is_refused_with_a_way_to_make_one():
    with pytest.raises(DefinitionError, match="token_urlsafe"):
        job("j", webhook="short")
