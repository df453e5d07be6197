"""Work that blocks the loop is named in the log while it does, and in health afterwards; and threads left behind."""

from __future__ import annotations

import threading
import time

import trio

from goflow_trio import Job, Task, open_engine
from goflow_trio.actors import watchdog
from goflow_trio.actors.watchdog import Lag
from goflow_trio.core import limits
from tests.patience import SOON, until


async def test_what_blocks_the_loop_is_named(monkeypatch, caplog):
    monkeypatch.setattr(watchdog, "PERIOD", 0.02)
    monkeypatch.setattr(watchdog, "LIMIT", 0.1)
    job = Job("job")

    async def rude():
        until = time.monotonic() + SOON
        while "in rude" not in caplog.text and time.monotonic() < until:
            time.sleep(0.05)  # noqa: ASYNC251

    def told(engine):
        return [cause for cause in engine.health().causes if "rude" in cause.detail]

    job.add(Task("rude", rude))
    async with open_engine(jobs=[job]) as engine:
        await (await engine.submit("job")).wait()
        (cause,) = await until(lambda: told(engine))
        assert engine.health().ready
        assert cause.name == "loop blocked"
        assert "time.sleep(0.05)" in caplog.text
        monkeypatch.setattr(watchdog, "REMEMBERED", 0)
        await trio.sleep(0.01)
        assert engine.health().causes == ()


async def test_how_late_the_loop_answers_is_measured(monkeypatch):
    monkeypatch.setattr(watchdog, "PERIOD", 0.01)
    async with open_engine() as engine:
        dog = engine._executions.world.watchdog
        await until(lambda: dog.lag().minutes)  # it is awake
        dog._answered.set()
        while dog._answered.is_set():  # until it asks again
            time.sleep(0.001)  # noqa: ASYNC251
        time.sleep(0.3)  # noqa: ASYNC251
        lag = await until(lambda: max(engine.lag().minutes, default=0) >= 0.3 and engine.lag())
        assert lag.median <= lag.p99 <= max(lag.minutes)


async def test_the_lag_is_told_by_its_median_its_99_per_cent_and_its_longest_of_each_minute(monkeypatch):
    monkeypatch.setattr(watchdog, "PERIOD", 30.0)
    dog = watchdog.Watchdog()
    assert dog.lag() == Lag(0.0, 0.0, ())
    dog._lags.extend([0.4, 0.3, 0.1, 0.2, 0.5])
    assert dog.lag() == Lag(0.3, 0.5, (0.4, 0.3, 0.5))
    dog._lags.extend(range(1, 121))
    assert (dog.lag().median, dog.lag().p99) == (60, 119)


async def test_threads_that_are_left_behind_are_counted_in_health(monkeypatch):
    monkeypatch.setattr(limits, "OPERATOR_THREADS", 4)
    begun, go_on = threading.Barrier(3), threading.Event()
    job = Job("job")
    for number in range(2):
        job.add(Task(f"t{number}", lambda: (begun.wait(SOON), go_on.wait(SOON))))
    async with open_engine(jobs=[job]) as engine:
        execution = await engine.submit("job")
        await trio.to_thread.run_sync(begun.wait, SOON)
        await execution.cancel()
        assert engine.health().threads_abandoned == 2
        (cause,) = engine.health().causes
        assert cause.detail == "2 of 4 threads for plain functions are held by work that was cut off"
        go_on.set()
        await until(lambda: not engine.health().threads_abandoned)
        assert engine.health().causes == ()
