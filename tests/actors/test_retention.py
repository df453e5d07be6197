"""Finished executions go when they are too old or too many, with all that is theirs; what lives stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio

from goflow_trio import DefinitionError, Job, Retention, open_engine
from goflow_trio.actors import retention
from goflow_trio.actors.environment import Environment
from goflow_trio.actors.keys import flip
from goflow_trio.core import limits
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import FaultyBackend

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 10  # seconds: each of which costs something while a task runs


class World:
    """A clock that goes on over several engines."""

    def __init__(self):
        self.bits = 0

    def environment(self):
        return Environment(now=lambda: START + timedelta(seconds=trio.current_time()), random_bits=self.random_bits)

    def random_bits(self, n):
        self.bits += 1
        return self.bits


def job(name, kept=None, sleep=0.0):
    made = Job(name, retention=kept)

    @made.task
    async def say(context):
        context.log("something")
        await trio.sleep(sleep)

    return made


async def keys_with(memory, *texts):
    return [key for key, _ in await memory.scan("", "", 100_000) if any(text in key for text in texts)]


async def submit(engine, name, times):
    ids = []
    for number in range(times):
        execution = await engine.submit(name, idempotency_key=f"{name} {engine.now()} {number}")
        await execution.wait()
        ids.append(execution.id)
    return ids


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (5, Retention(count=5)),
        (timedelta(days=2), Retention(days=2)),
        (Retention(days=1, count=2), Retention(days=1, count=2)),
    ],
)
def test_a_job_says_how_long_its_executions_are_kept(given, expected):
    assert Job("j", retention=given).retention == expected


@pytest.mark.parametrize("given", [-1, 1.5, "a week", True, timedelta(days=-1)])
def test_what_is_no_retention_is_refused(given):
    with pytest.raises(DefinitionError, match="job 'j': retention"):
        Job("j", retention=given)


async def test_too_many_go_the_oldest_first_with_all_that_is_theirs(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "PRUNE_STEP", 3)
    monkeypatch.setattr(limits, "SWEEP_EXECUTIONS", 10)
    memory = MemoryBackend()
    jobs = [job("few", 4), job("all", Retention()), job("none", 0)]
    async with open_engine(FaultyBackend(memory), jobs=jobs, environment=World().environment()) as engine:
        ids = {name: await submit(engine, name, 20) for name in ("few", "all", "none")}
        await trio.sleep(100)
        for name, kept in (("few", ids["few"][-4:]), ("all", ids["all"]), ("none", [])):
            assert [record.id for record in await engine.newest(name)] == kept[::-1]
            assert [record.id for record in await engine.newest(name, "successful")] == kept[::-1]
        assert len(await engine.newest()) == 24
        gone = ids["few"][:-4] + ids["none"]
        for execution in gone:
            assert await engine.find(execution) is None

        left = await keys_with(memory, *gone, *map(flip, gone))
        assert left == []
        assert len(await keys_with(memory, "idempotency/")) == 24
        assert len(await keys_with(memory, "output/")) == 24
        assert engine.health().causes == ()
        # A key whose execution is gone is free again.
        again = await engine.submit("few", idempotency_key=f"few {START} 0")
        assert again.id not in gone


async def test_too_old_go_and_what_lives_stays(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "SWEEP_SECONDS", DAY)
    monkeypatch.setattr(retention, "DEFAULT", Retention(days=90 * DAY / 86_400))
    memory = MemoryBackend()
    jobs = [
        job("week", timedelta(seconds=7 * DAY)),
        job("long", timedelta(seconds=7 * DAY), sleep=30 * DAY),
        job("default"),
    ]
    async with open_engine(FaultyBackend(memory), jobs=jobs, environment=World().environment()) as engine:
        old = await submit(engine, "week", 3)
        kept = await submit(engine, "default", 1)
        long = await engine.submit("long")
        await trio.sleep(4 * DAY)
        new = await submit(engine, "week", 2)
        await trio.sleep(5 * DAY)
        assert [record.id for record in await engine.newest("week")] == new[::-1]
        assert await engine.find(old[0]) is None
        await trio.sleep(20 * DAY)
        assert await engine.newest("week") == []
        assert not long.record.state.is_final
        assert await engine.find(kept[0]) is not None
        await trio.sleep(90 * DAY)
        assert await engine.newest() == []
        assert len(await keys_with(memory, "executions/", "by-", "output/", "idempotency/")) == 0


async def test_an_end_in_the_middle_of_a_removal_is_made_up_for(monkeypatch, autojump_clock):
    """The engine dies at each operation of a sweep; the next one leaves nothing behind."""
    monkeypatch.setattr(limits, "PRUNE_STEP", 2)
    world = World()
    for dies_at in range(1, 200):
        memory = MemoryBackend()
        async with open_engine(FaultyBackend(memory), jobs=[job("j")], environment=world.environment()) as engine:
            await submit(engine, "j", 5)
            await trio.sleep(2)
        backend = FaultyBackend(memory)
        backend.fail(dies_at, "die")
        async with trio.open_nursery() as nursery:

            async def watch(backend=backend, nursery=nursery):
                await backend.died.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            async with open_engine(backend, jobs=[job("j", 2)], environment=world.environment()):
                await trio.sleep(30)
            nursery.cancel_scope.cancel()
        async with open_engine(FaultyBackend(memory), jobs=[job("j", 2)], environment=world.environment()) as engine:
            await trio.sleep(30)
            assert len(await engine.newest("j")) == len(await engine.newest()) == 2
            assert engine.health().causes == ()
        assert len(await keys_with(memory, "executions/", "by-", "output/", "idempotency/")) == 2 * (1 + 3 + 1 + 1)
        if not backend.died.is_set():
            assert dies_at > 25
            return
    pytest.fail("it never came to its end")
