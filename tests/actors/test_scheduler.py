"""The cron actor, with the clock in our hands."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
import trio

from goflow_trio import Job, State, open_engine
from goflow_trio.actors.environment import Environment
from goflow_trio.core.due import due_instants
from tests.actors.test_engine import START, KeptMemory, world


def every_minute(seconds: float = 0, **options) -> Job:
    job = Job("tick", **{"schedule": "* * * * *", "active": True, **options})

    @job.task
    async def work():
        await trio.sleep(seconds)

    return job


async def instants(engine, state=None):
    records = await engine.newest("tick", state)
    return [record.scheduled_for for record in reversed(records)]


def minutes(*numbers):
    return [START + timedelta(minutes=number) for number in numbers]


async def missed(engine):
    history = await engine.store.read_log(0, 10_000)
    return [event for event in history if event.type == "schedule.missed"]


async def test_each_instant_runs_once_and_never_early(autojump_clock):
    async with open_engine(jobs=[every_minute()], environment=world()) as engine:
        await trio.sleep(5 * 60 + 1)
        assert await instants(engine) == minutes(1, 2, 3, 4, 5)
        for record in await engine.newest():
            assert timedelta(0) <= record.submitted - record.scheduled_for < timedelta(seconds=0.02)
            assert record.trigger == "schedule"


@pytest.mark.parametrize(
    ("misfire", "run", "counted"), [("latest", [10], 8), ("skip", [], 9), ("all", range(2, 11), 0)]
)
async def test_instants_that_passed_while_nobody_looked(misfire, run, counted, autojump_clock):
    backend = KeptMemory()
    job = every_minute(misfire=misfire)
    async with open_engine(backend, jobs=[job], environment=world()) as engine:
        await trio.sleep(61)
    clock = trio.current_time()
    later = Environment(
        now=lambda: START + timedelta(minutes=10, seconds=30 + trio.current_time() - clock), random_bits=lambda n: 0
    )
    async with open_engine(backend, jobs=[job], environment=later) as engine:
        await trio.sleep(1)
        assert await instants(engine) == minutes(1, *run)
        assert sum(event.count for event in await missed(engine)) == counted
        assert all(misfire in event.reason for event in await missed(engine))
        await trio.sleep(60)
        assert (await instants(engine))[-1] == minutes(11)[0]


async def test_a_year_of_absence_on_a_seconds_schedule_is_one_run_and_quick(autojump_clock):
    job = every_minute(schedule="* * * * * *")
    now = START + timedelta(days=400)
    due = due_instants(job, job.schedule.next_after, START, now)
    assert due.run == (now,)
    assert due.missed > 900
    assert not due.counted
    assert due.first == START + timedelta(seconds=1)


async def test_overlap_skip_leaves_a_visible_record(autojump_clock):
    async with open_engine(jobs=[every_minute(90, overlap="skip")], environment=world()) as engine:
        await trio.sleep(4 * 60 + 1)
        assert await instants(engine) == minutes(1, 3)
        assert [event.first for event in await missed(engine)] == minutes(2, 4)


async def test_overlap_queue_runs_one_after_the_other(autojump_clock):
    async with open_engine(jobs=[every_minute(90, overlap="queue")], environment=world()) as engine:
        await trio.sleep(3 * 60 + 1)
        assert [record.state for record in reversed(await engine.newest())] == [
            State.SUCCESSFUL,
            State.RUNNING,
            State.NOTSTARTED,
        ]


async def test_overlap_cancel_replaces_the_earlier_run(autojump_clock):
    async with open_engine(jobs=[every_minute(90, overlap="cancel")], environment=world()) as engine:
        await trio.sleep(2 * 60 + 1)
        first, second = reversed(await engine.newest())
        assert (first.state, second.state) == (State.CANCELLED, State.RUNNING)
        assert "replaced by the run of 2026-01-01T00:02" in first.reason


async def test_a_clock_that_steps_back_repeats_nothing_and_one_that_steps_forward_is_noticed(autojump_clock):
    step = timedelta(0)
    begun = trio.current_time()
    environment = Environment(
        now=lambda: START + step + timedelta(seconds=trio.current_time() - begun), random_bits=lambda n: 1
    )
    async with open_engine(jobs=[every_minute()], environment=environment) as engine:
        await trio.sleep(125)
        step = timedelta(minutes=-2)
        await trio.sleep(60)
        assert await instants(engine) == minutes(1, 2)
        step = timedelta(hours=1)
        await trio.sleep(1.5)
        assert (await instants(engine))[-1] == START + timedelta(hours=1, minutes=3)


async def test_a_schedule_of_the_users_that_fails_stops_only_its_own_job(autojump_clock, caplog):
    class Broken:
        def next_after(self, instant):
            raise RuntimeError("no idea")

    broken = Job("broken", schedule=Broken(), active=True)
    async with open_engine(jobs=[broken, every_minute()], environment=world()) as engine:
        await trio.sleep(61)
        assert await instants(engine) == minutes(1)
    assert "job broken: its schedule failed" in caplog.text


class Clock:
    """A wall clock that advances with trio's and can be set."""

    def __init__(self):
        self.begun = trio.current_time()
        self.off = timedelta(0)

    def world(self, *, steady=False):
        return Environment(now=self.now, random_bits=random.Random(7).getrandbits, steady=steady)

    def now(self):
        return START + self.off + timedelta(seconds=trio.current_time() - self.begun)


def every_second(**options) -> Job:
    return every_minute(schedule="* * * * * *", **options)


async def test_after_any_step_of_the_clock_it_fires_again_at_once_and_nothing_twice(autojump_clock):
    """±1 h and ±1 y, there and back: what has run does not run again, what has not does."""
    clock = Clock()
    async with open_engine(jobs=[every_second()], environment=clock.world()) as engine:
        await trio.sleep(10.5)
        for hours in (1, -1, -1, 1, 24 * 365, -24 * 365, -24 * 365, 24 * 365, 1, -1):
            clock.off += timedelta(hours=hours)
            before = len(await engine.newest())
            await trio.sleep(2)
            assert len(await engine.newest()) > before, f"silent after a step of {hours} h"
            await trio.sleep(8)
        ran = await instants(engine)
        assert len(ran) == len(set(ran))
        for record in await engine.newest():
            assert record.submitted >= record.scheduled_for, "never before its instant"
        reasons = [
            event.reason for event in await engine.store.read_log(0, 100_000) if event.type == "schedule.started"
        ]
        assert any("set back by 3.6e+03 s" in reason for reason in reasons)


async def test_a_clock_that_is_not_set_yet_runs_nothing(autojump_clock, caplog):
    clock = Clock()
    clock.off = -timedelta(days=365 * 56)
    async with open_engine(jobs=[every_second()], environment=clock.world()) as engine:
        await trio.sleep(10)
        assert await instants(engine) == []
        assert "is not set" in caplog.text
        clock.off = timedelta(0)
        await trio.sleep(2)
        assert len(await instants(engine)) >= 1


async def test_a_queue_is_bounded_and_what_finds_it_full_is_recorded(autojump_clock):
    job = every_second(seconds=1e6, overlap="queue")
    async with open_engine(jobs=[job], environment=world()) as engine:
        await trio.sleep(110.5)
        assert len(await instants(engine)) == 101
        assert {event.cause for event in await missed(engine)} == {"queue"}
        assert sum(event.count for event in await missed(engine)) == 9


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("soon", "an aware datetime"),
        (START.replace(tzinfo=None), "an aware datetime"),
        (START, "which is not after"),
    ],
)
async def test_a_schedule_that_breaks_its_contract_stops_only_its_own_job(answer, words, autojump_clock, caplog):
    class Odd:
        def next_after(self, instant):
            return answer

    odd = Job("odd", schedule=Odd(), active=True)
    async with open_engine(jobs=[odd, every_minute()], environment=world()) as engine:
        await trio.sleep(61)
        assert await instants(engine) == minutes(1)
    assert words in caplog.text
