"""The latest runs at hand: true whatever cuts a look at them off, and folded in time while nobody looks."""

import pytest
import trio

from goflow_trio import Job, Noop, Task, open_engine
from goflow_trio.actors.engine import Engine
from goflow_trio.core import limits
from goflow_trio.core.states import State
from goflow_trio.web.history import history_of, keep_up


def chain():
    job = Job("chain")
    job.add(Task("first", Noop())) >> job.add(Task("second", Noop()))
    return job


async def run(engine):
    execution = await engine.submit("chain")
    await execution.wait()
    return execution.id


async def test_a_look_that_is_cut_off_has_taken_nothing_away(monkeypatch, autojump_clock):
    async with open_engine(jobs=[chain]) as engine:
        history = history_of(engine)
        await history.catch_up()
        ids = [await run(engine) for _ in range(3)]
        with monkeypatch.context() as patch, trio.CancelScope() as scope:

            async def find(self, execution):
                scope.cancel()  # as when a browser leaves
                await trio.lowlevel.checkpoint()

            patch.setattr(Engine, "find", find)
            await history.catch_up()
        assert scope.cancelled_caught
        await history.catch_up()
        assert [(found.id, found.state) for found in history.of("chain")] == [(one, State.SUCCESSFUL) for one in ids]


async def test_while_nobody_looks_it_falls_behind_so_far_only_that_nothing_is_read_again(monkeypatch, autojump_clock):
    monkeypatch.setattr(limits, "FEED_EVENTS", 100)
    async with open_engine(jobs=[chain]) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(keep_up, engine)
        await trio.sleep(1)
        monkeypatch.setattr(Engine, "newest", pytest.fail)
        ids = []
        for _ in range(60):  # events by the hundred, of which the feed keeps some
            ids.append(await run(engine))
            await trio.sleep(1)
        assert len(engine.store.feed._events) < 300 < engine.seq
        history = history_of(engine)
        await history.catch_up()
        assert [found.id for found in history.of("chain")] == ids
        nursery.cancel_scope.cancel()
