"""The cron actor: submits what is due. A scheduled instant is a UTC instant, and each is accounted for once.

An instant is claimed by the event that submits its execution: that event moves the job's cursor in the same write, so
whatever happens between, an instant is run at most once, and one that passed unnoticed is found again after a
restart. The wait is cut into slices of wall time, so that a step of the clock or a suspend is noticed within a second.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import trio
from attrs import field, frozen

from goflow_trio.core import limits
from goflow_trio.core.messages import Event, ScheduleMissed
from goflow_trio.errors import EngineClosed, GoflowError
from goflow_trio.jobs.job import Job
from goflow_trio.schedules import Schedule

logger = logging.getLogger("goflow_trio.scheduler")

_SLICE_SECONDS = 1.0
_DEFAULT_WINDOW = timedelta(days=365)
_COUNTED_MOST = 10_000


class Host(Protocol):
    """What the scheduler needs of the engine."""

    def now(self) -> datetime:
        """Return the wall-clock time."""

    def cursor(self, job: str) -> datetime | None:
        """Return the last instant of a job that is accounted for."""

    def is_active(self, job: str) -> bool:
        """Return whether a job's schedule is switched on."""

    def has_active_executions(self, job: str) -> bool:
        """Return whether executions of a job are unfinished."""

    async def cancel_active(self, job: str, reason: str) -> None:
        """Cancel all unfinished executions of a job and wait until they are gone."""

    async def submit_scheduled(self, job: str, instant: datetime) -> None:
        """Submit the execution of an instant; returns once that is durable."""

    async def record_missed(self, event: Event) -> None:
        """Write that instants passed without a run."""


@frozen
class Due:
    """What has to be done about the instants of one job up to now.

    Args:
        run: instants to submit, in order.
        missed: how many instants before them get no run of their own.
        first: the first of those.
        last: the last of those.
    """

    run: tuple[datetime, ...]
    missed: int = 0
    first: datetime | None = None
    last: datetime | None = None


def due_instants(job: Job, schedule: Schedule, cursor: datetime, now: datetime) -> Due:
    """Apply the job's misfire policy to the instants after `cursor` up to `now`. Pure.

    The instant of this moment is no misfire; only those that a later one has overtaken are.
    """
    window = timedelta(seconds=job.catchup_window) if job.catchup_window else _DEFAULT_WINDOW
    instants: list[datetime] = []
    counted = 0
    first: datetime | None = None
    instant = schedule.next_after(cursor)
    keep = limits.MISSED_INSTANTS if job.misfire == "all" else 1
    while instant is not None and instant <= now:
        first = first or instant
        instants.append(instant)
        counted += 1
        if len(instants) > keep:
            instants.pop(0)
        if counted == _COUNTED_MOST:  # a long absence: the latest ones are what matters now
            instant = _shortly_before(schedule, now, instant)
        instant = schedule.next_after(instant)
    late = timedelta(seconds=2 * _SLICE_SECONDS)
    wanted = [
        instant
        for instant in instants
        if now - instant <= (late if job.misfire == "skip" else window) or now - instant <= late
    ]
    missed = counted - len(wanted)
    if not missed:
        return Due(tuple(wanted))
    last = instants[-1] if not wanted else wanted[0] - timedelta(microseconds=1)
    return Due(tuple(wanted), missed, first, last)


def _shortly_before(schedule: Schedule, now: datetime, at_least: datetime) -> datetime:
    """Return a moment from which few instants are left up to `now`: spans are doubled until one holds an instant."""
    span = timedelta(seconds=1)
    while now - span > at_least:
        following = schedule.next_after(now - span)
        if following is not None and following <= now:
            return now - span
        span *= 2
    return at_least


@frozen(order=True)
class _Entry:
    at: datetime
    job: str
    schedule: Schedule = field(order=False)


class Scheduler:
    """Waits for instants and has them run. Start its actor with `nursery.start_soon(scheduler.run)`.

    Args:
        jobs: the jobs that have a schedule, by name.
        host: the engine.
    """

    def __init__(self, jobs: dict[str, Job], host: Host) -> None:
        self._jobs = jobs
        self._host = host
        self._heap: list[_Entry] = []
        self._busy: set[str] = set()
        self._bell = trio.Event()

    def wake(self, job: str) -> None:
        """Look at a job anew: its schedule was switched."""
        self._heap = [entry for entry in self._heap if entry.job != job]
        heapq.heapify(self._heap)
        self._plan(job)
        self._bell.set()

    async def run(self) -> None:
        """Submit what is due, until cancelled."""
        for job in self._jobs:
            self._plan(job)
        async with trio.open_nursery() as nursery:
            while True:
                now = self._host.now()
                while self._heap and self._heap[0].at <= now:
                    entry = heapq.heappop(self._heap)
                    self._busy.add(entry.job)
                    nursery.start_soon(self._serve, entry.job)
                self._bell = trio.Event()
                seconds = (self._heap[0].at - now).total_seconds() if self._heap else float("inf")
                with trio.move_on_after(min(seconds, _SLICE_SECONDS) if self._heap else seconds):
                    await self._bell.wait()

    def _plan(self, name: str) -> None:
        """Find the job's next instant after those accounted for."""
        schedule = self._jobs[name].schedule
        if schedule is None or name in self._busy or not self._host.is_active(name):
            return
        cursor = self._host.cursor(name) or self._host.now()
        instant = self._guarded(name, lambda: schedule.next_after(cursor))
        if instant is not None:
            heapq.heappush(self._heap, _Entry(instant, name, schedule))

    def _guarded(self, name: str, ask: Callable[[], datetime | None]) -> datetime | None:
        try:
            return ask()
        except Exception:  # a schedule may be the user's code: it stops its own job only
            logger.exception("job %s: its schedule failed; it will not run by itself any more", name)
            return None

    async def _serve(self, name: str) -> None:
        """Do what is due of one job, one instant after the other, then plan its next one."""
        try:
            await self._do_due(self._jobs[name])
        except EngineClosed:
            return
        except GoflowError as error:
            logger.warning("job %s: what was due could not be submitted, trying again: %s", name, error)
            await trio.sleep(_SLICE_SECONDS)
        except Exception:
            logger.exception("job %s: its schedule failed; it will not run by itself any more", name)
            return
        finally:
            self._busy.discard(name)
        self._plan(name)
        self._bell.set()

    async def _do_due(self, job: Job) -> None:
        host = self._host
        schedule = job.schedule
        if schedule is None or not host.is_active(job.name):
            return
        now = host.now()
        due = due_instants(job, schedule, host.cursor(job.name) or now, now)
        if due.missed:
            reason = f"not running at the time; misfire={job.misfire}"
            await self._miss(job.name, due.first, due.last, due.missed, reason)
        for instant in due.run:
            if not host.is_active(job.name):
                return
            if job.overlap == "skip" and host.has_active_executions(job.name):
                await self._miss(job.name, instant, instant, 1, "an earlier execution is still running; overlap=skip")
                continue
            if job.overlap == "cancel" and host.has_active_executions(job.name):
                await host.cancel_active(job.name, f"replaced by the run of {instant.astimezone(UTC).isoformat()}")
            await host.submit_scheduled(job.name, instant)

    async def _miss(self, job: str, first: datetime | None, last: datetime | None, count: int, reason: str) -> None:
        event = ScheduleMissed(self._host.now(), job, first=first, last=last, count=count, reason=reason)
        await self._host.record_missed(event)
