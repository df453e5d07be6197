"""How schedules stand: switched, paused and resumed, durably; and what that makes anybody's debt."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from goflow_trio import UsageError, open_engine
from tests.actors.test_engine import START, KeptMemory, world
from tests.actors.test_scheduler import Clock, every_minute, instants, minutes, missed


async def test_a_schedule_that_is_off_does_not_run_and_a_toggle_survives_a_restart(autojump_clock):
    backend = KeptMemory()
    async with open_engine(backend, jobs=[every_minute(active=False)], environment=world()) as engine:
        assert not engine.is_active("tick")
        await trio.sleep(150)
        assert await instants(engine) == []
        assert await engine.toggle("tick") is True
        await trio.sleep(60)
        assert await instants(engine) == minutes(3)
    environment = world()
    environment.now = lambda: START + timedelta(minutes=3, seconds=20)
    async with open_engine(backend, jobs=[every_minute(active=False)], environment=environment) as engine:
        assert engine.is_active("tick")
        assert await engine.toggle("tick") is False
        assert await instants(engine) == minutes(3)


async def test_upcoming_tells_the_next_instants(autojump_clock):
    async with open_engine(jobs=[every_minute()], environment=world()) as engine:
        assert engine.upcoming("tick", 2) == minutes(1, 2)


async def test_a_pause_ends_by_itself_and_what_it_passed_is_nobody_s_debt(autojump_clock):
    async with open_engine(jobs=[every_minute(misfire="all")], environment=world()) as engine:
        await trio.sleep(61)
        await engine.pause("tick", until=START + timedelta(minutes=5, seconds=30))
        assert not engine.is_active("tick")
        assert engine.paused_until("tick") == START + timedelta(minutes=5, seconds=30)
        await trio.sleep(6 * 60)
        assert engine.is_active("tick")
        assert await instants(engine) == minutes(1, 6, 7)
        assert await missed(engine) == []


async def test_a_pause_ends_while_nobody_runs_and_only_what_comes_after_it_is_made_up_for(autojump_clock):
    backend = KeptMemory()
    clock = Clock()
    job = every_minute(misfire="all")
    async with open_engine(backend, jobs=[job], environment=clock.world()) as engine:
        await engine.pause("tick", until=START + timedelta(minutes=5, seconds=30))
    await trio.sleep(8 * 60 + 1)
    async with open_engine(backend, jobs=[job], environment=clock.world()) as engine:
        await trio.sleep(1)
        assert await instants(engine) == minutes(6, 7, 8)


async def test_a_pause_into_the_past_is_refused(autojump_clock):
    async with open_engine(jobs=[every_minute()], environment=world()) as engine:
        with pytest.raises(UsageError, match="is over already"):
            await engine.pause("tick", until=START - timedelta(seconds=1))


async def test_resumed_it_catches_up_only_if_asked(autojump_clock):
    async with open_engine(jobs=[every_minute(misfire="all")], environment=world()) as engine:
        await engine.pause("tick")
        await trio.sleep(3 * 60 + 1)
        await engine.resume("tick")
        await trio.sleep(60)
        assert await instants(engine) == minutes(4)
        await engine.pause("tick")
        await trio.sleep(3 * 60)
        await engine.resume("tick", catch_up=True)
        await trio.sleep(1)
        assert await instants(engine) == minutes(4, 5, 6, 7)


async def test_switched_on_twice_it_still_owes_what_it_owed(autojump_clock):
    async with open_engine(jobs=[every_minute()], environment=world()) as engine:
        await trio.sleep(59.9)
        await engine.resume("tick")
        await trio.sleep(1)
        assert await instants(engine) == minutes(1)
