"""The real engine on a virtual clock: what jobs do over a year, in seconds and the same every time.

`simulate` is for schedules, `run_job` for one execution. Both run the engine that serves in production, on a store in
memory, in a world whose clock jumps as soon as nothing works (`clock.py`), whose randomness derives from a seed and
whose tasks trio takes in an order that the seed decides. Both are plain functions, so that a test needs no trio at all;
called in a trio program they use a thread and block.

What stays outside of that order are programs and sockets that work side by side, and threads that an async operator
starts by itself: when they end is up to the machine.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar, cast

import trio
import trio._core._run as trio_run
from attrs import frozen

from goflow_trio import codec
from goflow_trio.actors.engine import Engine
from goflow_trio.actors.environment import Environment, virtual_environment
from goflow_trio.actors.feed import Feed
from goflow_trio.actors.groups import only_error
from goflow_trio.actors.opening import JobSource, open_engine
from goflow_trio.core import limits
from goflow_trio.core.messages import Event, ScheduleMissed
from goflow_trio.core.record import ExecutionRecord, fold
from goflow_trio.errors import UsageError
from goflow_trio.jobs.job import Job, build_job
from goflow_trio.jobs.retention import Retention
from goflow_trio.schedules import in_utc
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.clock import OneThread, WorkClock

T = TypeVar("T")

_JUST_BEFORE: Final = timedelta(microseconds=1)
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


class _QuickMemory(MemoryBackend):
    """Memory that gives no other task a turn: that is a fifth of what a simulation costs."""

    async def _checkpoint(self) -> None:
        self._check_open()


@frozen(repr=False)
class History:
    """What happened in a simulation. Two of the same jobs, times and seed are equal, byte for byte.

    Args:
        start: when it began.
        until: when it ended; what was due then is not part of it.
        events: every durable event, in order.
    """

    start: datetime
    until: datetime
    events: tuple[Event, ...]

    @property
    def executions(self) -> list[ExecutionRecord]:
        """All executions as they stood at the end, in the order they were submitted."""
        return list(fold(self.events).values())

    def runs(self, job: str) -> list[ExecutionRecord]:
        """Return the executions of a job, in the order they were submitted."""
        return [record for record in self.executions if record.job == job]

    def instants(self, job: str) -> list[datetime]:
        """Return the scheduled instants (UTC) that a job ran for, in the order they were submitted."""
        return [record.scheduled_for for record in self.runs(job) if record.scheduled_for is not None]

    def missed(self, job: str | None = None) -> list[ScheduleMissed]:
        """Return the records of instants that had no run of their own, of one job or of all."""
        return [event for event in self.events if isinstance(event, ScheduleMissed) and job in {None, event.job}]

    def to_bytes(self) -> bytes:
        """Return the whole history as bytes: to compare two of them, or to keep one."""
        return b"".join(data for _, data in codec.encode_segments(self.events))

    def __repr__(self) -> str:
        span = f"{self.start.isoformat()} to {self.until.isoformat()}"
        return f"<History {span}, {len(self.executions)} executions, {len(self.events)} events>"


def simulate(
    jobs: JobSource | Iterable[JobSource],
    start: datetime,
    until: datetime,
    *,
    seed: int = 0,
    activate: bool = True,
    operators: Mapping[str, Any] | None = None,
    script: Callable[[Engine], Awaitable[object]] | None = None,
    patience: float = 60.0,
) -> History:
    """Run jobs on their schedules from one instant to another, in virtual time, and return what happened.

    Waits cost nothing: a year of an hourly job takes seconds. Work does not make time pass: an operator that sleeps
    with `trio.sleep` takes that long in virtual time, one that computes, calls a thread or runs a program takes none.
    Executions are not removed with age, unless a job asks for it (`retention=`).

    Args:
        jobs: a job, a function that returns one, or several.
        start: the first moment (aware); an instant that is due right then counts.
        until: the first moment that is not simulated any more (aware). What still runs then stays unfinished.
        seed: decides ids, jitter of retries and the order in which concurrent tasks are taken.
        activate: switch on every schedule, as most are off in their definition.
        operators: what to call in place of a task's own operator, by `"task"` or `"job/task"`; for work that should not
            really be done, such as `{"load": lambda context: trio.sleep(90)}`.
        script: an async function that is given the engine and may submit, pause or wait while time passes.
        patience: real seconds for which something may work without the simulation getting on.

    Raises:
        DefinitionError: a job is wrong.
        UsageError: a time is naive, or `until` is not after `start`.
        TimeoutError: something worked for longer than `patience`.
    """
    begin, end = in_utc(start), in_utc(until)
    if end <= begin:
        raise UsageError(f"until {end.isoformat()} is not after start {begin.isoformat()}; swap them")
    made = _built(jobs)

    async def main(environment: Environment) -> History:
        async with open_engine(_QuickMemory(), made, environment=environment) as engine, trio.open_nursery() as nursery:
            events = _overheard(engine.store.feed, await engine.store.read_log(0, limits.LOG_EVENTS) or [])
            for job in made:
                if activate and job.schedule is not None and not engine.is_active(job.name):
                    await engine.resume(job.name)
            if script is not None:
                nursery.start_soon(script, engine)
            await trio.sleep((end - environment.now() - _JUST_BEFORE).total_seconds())
            nursery.cancel_scope.cancel()
        return History(begin, end, tuple(events))

    with _replaced(made, operators or {}), _kept(made):
        return _in_a_world_of_its_own(main, begin - _JUST_BEFORE, seed, patience)


def run_job(
    job: JobSource,
    params: Mapping[str, Any] | None = None,
    *,
    at: datetime = _SOME_DAY,
    seed: int = 0,
    operators: Mapping[str, Any] | None = None,
    patience: float = 60.0,
) -> ExecutionRecord:
    """Run one execution of a job to its end, in virtual time: delays of retries and time-outs cost nothing.

    Args:
        job: a job, or a function that returns one.
        params: override the job's defaults.
        at: what the clock shows at the start (aware).
        seed: see `simulate`.
        operators: see `simulate`.
        patience: see `simulate`.

    Raises:
        DefinitionError: the job is wrong.
        UsageError: the parameters cannot be used.
        TimeoutError: something worked for longer than `patience`.
    """
    made = build_job(job)

    async def main(environment: Environment) -> ExecutionRecord:
        async with open_engine(_QuickMemory(), [made], environment=environment) as engine:
            execution = await engine.submit(made.name, params)
            return await execution.wait()

    with _replaced([made], operators or {}):
        return _in_a_world_of_its_own(main, in_utc(at), seed, patience)


def _overheard(feed: Feed, before: Sequence[Event]) -> list[Event]:
    """Return a list that every durable event goes into. A subscription would cost a wake for each write."""
    events = list(before)
    publish = feed.publish

    def publish_and_keep(batch: Sequence[Event]) -> None:
        publish(batch)
        events.extend(event for event in batch if not event.live_only)

    feed.publish = publish_and_keep  # type: ignore[method-assign, assignment]
    return events


def _built(jobs: JobSource | Iterable[JobSource]) -> list[Job]:
    several = [jobs] if isinstance(jobs, Job) or callable(jobs) else list(jobs)
    return [build_job(job) for job in several]


@contextmanager
def _replaced(jobs: Iterable[Job], operators: Mapping[str, Any]) -> Iterator[None]:
    """Have tasks do something else for a while."""
    tasks = [(f"{job.name}/{task.name}", task) for job in jobs for task in job]
    unused = set(operators) - {name for path, task in tasks for name in (path, task.name)}
    if unused:
        raise UsageError(f"operators: no task is named {min(unused)!r}; use 'task' or 'job/task'")
    before = [(task, task.operator) for _, task in tasks]
    try:
        for path, task in tasks:
            task.operator = operators.get(path, operators.get(task.name, task.operator))
        yield
    finally:
        for task, operator in before:
            task.operator = operator


@contextmanager
def _kept(jobs: Iterable[Job]) -> Iterator[None]:
    """Have jobs that say nothing of retention keep all for a while, as a simulation is looked at as a whole."""
    silent = [job for job in jobs if job.retention is None]
    try:
        for job in silent:
            job.retention = Retention()
        yield
    finally:
        for job in silent:
            job.retention = None


def _in_a_world_of_its_own(
    main: Callable[[Environment], Awaitable[T]], start: datetime, seed: int, patience: float
) -> T:
    """Run a program in virtual time from `start` on; in a thread if this one runs trio already."""
    if not trio.lowlevel.in_trio_run():
        return _run(main, start, seed, patience)
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(_run(main, start, seed, patience))
        except BaseException as error:  # noqa: BLE001, ASYNC103  # raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=work, name="goflow-trio simulation")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _run(main: Callable[[Environment], Awaitable[T]], start: datetime, seed: int, patience: float) -> T:
    scope = trio.CancelScope()
    works: list[str] = []

    def stuck(work: str) -> None:
        works.append(work)
        scope.cancel()

    clock = WorkClock(patience, stuck)

    async def guarded() -> T | None:
        environment = virtual_environment(start, seed)
        environment.operator_threads = cast("trio.CapacityLimiter", OneThread(clock))  # trio takes what is like one
        with scope:
            return await main(environment)
        return None

    try:
        with _scheduling_by(seed):
            result = trio.run(guarded, clock=clock)
    except BaseExceptionGroup as group:
        raise only_error(group) from None
    if works:
        raise TimeoutError(
            f"the simulation has stood still for {patience:g} s of real time, waiting for {works[0]}; give it another"
            " operator (operators=…), or more patience"
        )
    return result  # type: ignore[return-value]  # None only if it was stuck


@contextmanager
def _scheduling_by(seed: int) -> Iterator[None]:
    """Have trio choose the order of its tasks by a seed. It has no public way for that; pytest-trio does the same."""
    random: Random = trio_run._r  # noqa: SLF001
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, random.getstate()  # noqa: SLF001
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001
    random.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before[0]  # type: ignore[misc]  # noqa: SLF001
        random.setstate(before[1])
