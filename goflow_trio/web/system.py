"""The server itself: what it does, what it could do, what comes next, what is wrong."""

from __future__ import annotations

import os
import platform
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import trio
from msgspec import Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core import limits
from goflow_trio.core.states import State
from goflow_trio.stores.size import size_of
from goflow_trio.web import wire
from goflow_trio.web.history import History, history_of
from goflow_trio.web.overview import RootFailure, Stamp, root_failure, stamp
from goflow_trio.web.routes import Routes
from goflow_trio.web.shapes import HealthCause, Limit, Maybe, Timestamp

routes = Routes("overview")

_TICKS = 20
_TICKS_PER_JOB = 3


class Use(Struct):
    """How much of something is in use, and how much there is."""

    used: int
    limit: int


class StoreFacts(Struct):
    """The kind of the store, and what a crash costs. `bytes`: of its files, where they are on this machine."""

    kind: str
    durability: str
    bytes: int | None


class Tick(Struct):
    """A coming instant of a job's schedule."""

    job: str
    at: Timestamp


class FailingJob(Struct):
    """A job that failed so many times in a row."""

    job: str
    times: int
    failure: RootFailure | None


class LoopLag(Struct):
    """How late the loop answered in the last hour, in seconds. `minutes` has the longest of each, oldest first."""

    median: float
    p99: float
    minutes: list[float]


class System(Stamp, kw_only=True):
    """How the server is, and how much it has to do. `streams` are subscriptions to the feed, `events` all it told.

    `missed` instants had no run in the last 24 hours, of those that are kept (`missed` of a job's grid). `draining`:
    since when it takes on nothing new. `limits` are those that are in use, and the pools.
    """

    state: str
    problem: str | None
    causes: list[HealthCause]
    pid: int
    python: str
    trio: str
    jobs: int
    paused: int
    missed: int
    executions: Use
    tasks_running: int
    tasks_retrying: int
    threads: Use
    streams: Use
    draining: Maybe
    limits: list[Limit]
    lag: LoopLag | None
    descriptors: int | None
    events: int
    store: StoreFacts
    ticks: list[Tick]
    failing: list[FailingJob]


@routes.get("/api/system")
async def system(engine: Engine) -> System:
    """The server itself: what it does, what it could do, what comes next, what is wrong."""
    backend = engine.store.backend
    size, descriptors = await size_of(backend), await trio.to_thread.run_sync(_descriptors)
    history = history_of(engine)
    await history.catch_up()  # the last wait: all that follows is of one moment
    live = list(engine.store.ledger.live.values())
    states = Counter(task.state for record in live for task in record.tasks.values())
    feed = engine.store.feed
    health = engine.health()
    lag = engine.lag()
    return System(
        state=str(health.state),
        problem=engine.problem,
        causes=[wire.cause(cause) for cause in health.causes],
        pid=os.getpid(),
        python=platform.python_version(),
        trio=trio.__version__,
        jobs=len(engine.jobs),
        paused=sum(job.schedule is not None and not engine.is_active(job.name) for job in engine.jobs.values()),
        missed=_missed_lately(engine),
        executions=Use(len(live), limits.ACTIVE_EXECUTIONS),
        tasks_running=states[State.RUNNING],
        tasks_retrying=states[State.UPFORRETRY],
        threads=Use(threading.active_count(), limits.OPERATOR_THREADS),
        streams=Use(feed.subscribers, limits.SUBSCRIBERS),
        draining=wire.timestamp(engine.draining),
        limits=[wire.limit(one) for one in engine.slots() if one.used or one.waiting or one.name.startswith("pool ")],
        lag=None if lag is None else LoopLag(lag.median, lag.p99, [round(one, 5) for one in lag.minutes]),
        descriptors=descriptors,
        events=sum(feed.counts.values()),
        store=StoreFacts(type(backend).__name__, str(backend.durability), size),
        ticks=sorted(_ticks(engine), key=lambda tick: tick.at)[:_TICKS],
        failing=list(_failing(engine, history)),
        **stamp(engine, history),  # type: ignore[arg-type]
    )


def _missed_lately(engine: Engine) -> int:
    since = engine.now() - timedelta(days=1)
    return sum(event.count for name in engine.jobs for event in engine.missed(name) if event.at >= since)


def _descriptors() -> int | None:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return None


def _ticks(engine: Engine) -> Iterator[Tick]:
    for name in engine.jobs:
        if engine.is_active(name):
            for instant in engine.upcoming(name, _TICKS_PER_JOB):
                yield Tick(name, wire.instant(instant))


def _failing(engine: Engine, history: History) -> Iterator[FailingJob]:
    """Yield the jobs whose last runs failed, more than one in a row."""
    for name in engine.jobs:
        ended = [run for run in history.of(name) if run.state.is_final]
        times = 0
        while times < len(ended) and ended[-1 - times].state is State.FAILED:
            times += 1
        if times > 1:
            yield FailingJob(name, times, root_failure(ended[-1]))
