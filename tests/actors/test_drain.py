"""An engine that drains finishes what it has begun, with all that belongs to it, and begins nothing else until told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio

from goflow_trio import ConstantDelay, Job, Noop, RunJob, Task, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core.states import State
from goflow_trio.errors import EngineDraining

START = datetime(2026, 3, 2, 12, tzinfo=UTC)


def jobs():
    long = Job("long")
    first = long.add(
        Task("first", lambda context: context.attempt > 1 or 1 / 0, retries=1, retry_delay=ConstantDelay(60))
    )
    first >> long.add(Task("child", RunJob("short")))
    short = Job("short")
    short.add(Task("only", Noop()))
    ticking = Job("ticking", schedule="@every 60s", active=True, misfire="latest")
    ticking.add(Task("only", Noop()))
    return long, short, ticking


async def test_what_has_begun_ends_and_nothing_new_begins(autojump_clock):
    async with open_engine(jobs=jobs(), environment=virtual_environment(START)) as engine:
        begun = await engine.submit("long")
        while begun.record.tasks["first"].state is not State.UPFORRETRY:  # noqa: ASYNC110  # its error is read in a thread
            await trio.sleep(0.01)
        assert engine.health().causes == ()
        engine.drain()
        engine.drain()
        since = engine.draining
        (cause,) = engine.health().causes
        assert (cause.name, str(engine.health().state), engine.health().ready) == ("draining", "draining", False)
        assert (
            cause.detail
            == "1 execution with 0 running tasks left; nothing new begins until that is taken back, or the next start"
        )
        with pytest.raises(EngineDraining, match="takes on nothing new"):
            await engine.submit("short")
        await engine.pause("ticking")
        await engine.resume("ticking")
        record = await begun.wait()
        assert record.state is State.SUCCESSFUL, "its retry and its child ran"
        with pytest.raises(EngineDraining):
            await engine.retry(begun.id, start="start")
        await trio.sleep(200)
        assert await engine.newest("ticking") == []
        assert engine.draining == since
        engine.drain(draining=False)
        assert engine.draining is None
        await trio.sleep(1)
        (made_up,) = await engine.newest("ticking")
        assert engine.now() - made_up.scheduled_for < timedelta(seconds=60), (
            "the latest missed instant, as its policy says"
        )
        await (await engine.submit("short")).wait()
        await trio.sleep(60)
        assert len(await engine.newest("ticking")) == 2


async def test_what_was_to_begin_at_an_instant_waits_too(autojump_clock):
    async with open_engine(jobs=jobs(), environment=virtual_environment(START)) as engine:
        later = await engine.submit("short", at=START + timedelta(seconds=30))
        engine.drain()
        await trio.sleep(100)
        assert later.record.state is State.NOTSTARTED
        engine.drain(draining=False)
        assert (await later.wait()).state is State.SUCCESSFUL
