"""Work that blocks the loop is named in the log while it does, and in health afterwards; and threads left behind."""

from __future__ import annotations

import threading
import time

import trio

from goflow_trio import Job, Task, open_engine
from goflow_trio.actors import watchdog
from goflow_trio.core import limits


async def test_what_blocks_the_loop_is_named(monkeypatch, caplog):
    monkeypatch.setattr(watchdog, "PERIOD", 0.02)
    monkeypatch.setattr(watchdog, "LIMIT", 0.1)
    job = Job("job")

    async def rude():
        time.sleep(0.6)  # noqa: ASYNC251

    job.add(Task("rude", rude))
    async with open_engine(jobs=[job]) as engine:
        await trio.sleep(0.05)
        await (await engine.submit("job")).wait()
        with trio.fail_after(5):
            while not engine.health().causes:  # noqa: ASYNC110
                await trio.sleep(0.01)
        (cause,) = engine.health().causes
        assert engine.health().ready
        assert cause.name == "loop blocked"
        assert "rude" in cause.detail
        assert "time.sleep(0.6)" in caplog.text
        monkeypatch.setattr(watchdog, "REMEMBERED", 0)
        await trio.sleep(0.01)
        assert engine.health().causes == ()


async def test_how_late_the_loop_answers_is_measured(monkeypatch):
    monkeypatch.setattr(watchdog, "PERIOD", 0.01)
    async with open_engine() as engine:
        await trio.sleep(0.1)
        time.sleep(0.3)  # noqa: ASYNC251
        await trio.sleep(0.1)
        lag = engine.lag()
        assert 0 < lag.median < 0.1
        assert max(lag.minutes) > 0.2
        assert lag.median <= lag.p99 <= max(lag.minutes)


async def test_threads_that_are_left_behind_are_counted_in_health(monkeypatch):
    monkeypatch.setattr(limits, "OPERATOR_THREADS", 4)
    go_on = threading.Event()
    job = Job("job")
    for number in range(2):
        job.add(Task(f"t{number}", lambda: go_on.wait(10), timeout=0.1))
    async with open_engine(jobs=[job]) as engine:
        await (await engine.submit("job")).wait()
        assert engine.health().threads_abandoned == 2
        (cause,) = engine.health().causes
        assert cause.detail == "2 of 4 threads for plain functions are held by work that was cut off"
        go_on.set()
        with trio.fail_after(5):
            while engine.health().threads_abandoned:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert engine.health().causes == ()
