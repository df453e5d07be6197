"""The cron actor: submits what is due. A scheduled instant is a UTC instant, and each is accounted for once.

One actor and one heap serve all jobs; a job costs nothing while it waits. An instant is claimed by the event that
submits its execution: that event moves the job's timeline in the same write to the log, of which one engine at a time
writes the next piece. So whatever happens between, an instant is run at most once, and one that passed unnoticed is
found again after a restart.

The wait is cut into slices of wall time, so that a step of the clock or a suspend is noticed within a second. When the
clock was set back, watching begins anew from there: what has run does not run again, what has not may.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import trio

from goflow_trio.core import limits
from goflow_trio.core.due import LATE, NextAfter, due_instants
from goflow_trio.core.messages import Event, ScheduleMissed, ScheduleStarted, ScheduleToggled
from goflow_trio.core.timeline import Timeline
from goflow_trio.errors import EngineClosed, GoflowError, ScheduleError
from goflow_trio.jobs.job import Job
from goflow_trio.schedules import Schedule
from goflow_trio.schedules.base import checked

logger = logging.getLogger("goflow_trio.scheduler")

SLICE_SECONDS = 0.25
"""The longest wait on a clock that may step. A schedule of every second fires again within 1.25 s of a step."""

_PLANS_PER_TURN = 100

# A machine without a clock of its own starts in 1970 or 2000, until the network tells it better.
_CLOCK_IS_SET = datetime(2001, 1, 1, tzinfo=UTC)


class Host(Protocol):
    """What the scheduler needs of the engine."""

    def now(self) -> datetime:
        """Return the wall-clock time."""

    def timeline(self, job: str) -> Timeline:
        """Return what of a job's schedule is accounted for; for reading."""

    def is_active(self, job: str) -> bool:
        """Return whether a job's schedule is switched on."""

    def paused_until(self, job: str) -> datetime | None:
        """Return when a job's schedule goes on by itself, if it is switched off for a time."""

    def active_executions(self, job: str) -> int:
        """Return how many executions of a job are unfinished."""

    async def cancel_active(self, job: str, reason: str) -> None:
        """Cancel all unfinished executions of a job and wait until they are gone."""

    def new_id(self) -> str:
        """Return the id of a new execution."""

    async def submit_scheduled(self, job: str, instant: datetime, execution_id: str) -> None:
        """Submit the execution of an instant; returns once that is durable. Again with the same id it is the same."""

    async def record(self, events: Sequence[Event]) -> None:
        """Write events of schedules."""


class Scheduler:
    """Waits for instants and has them run. Start its actor with `nursery.start_soon(scheduler.run)`.

    Args:
        jobs: the jobs that have a schedule, by name.
        host: the engine.
        steady: whether the clock can be trusted never to step, as in a simulation: then nothing wakes in between.
    """

    def __init__(self, jobs: dict[str, Job], host: Host, *, steady: bool = False) -> None:
        self._jobs = jobs
        self._host = host
        self._slice = float("inf") if steady else SLICE_SECONDS
        self._heap: list[tuple[datetime, int, str]] = []  # when, turn of planning, job
        self._turns: dict[str, int] = {}  # an entry of the heap counts if it has the job's latest turn
        self._turn = 0
        self._busy: set[str] = set()
        self._next_after = {name: _remembering(job.schedule) for name, job in jobs.items() if job.schedule is not None}
        self._ids: dict[tuple[str, datetime], str] = {}  # of submits whose outcome is not known yet
        self._alarms: list[tuple[datetime, int, Callable[[], object]]] = []
        self._held = False
        self._turnstile = trio.CapacityLimiter(limits.SUBMITS_AT_ONCE)
        self._nap = trio.CancelScope()  # what the actor waits in

    def wake(self, job: str) -> None:
        """Look at a job anew: its schedule was switched."""
        if job in self._jobs:
            self._plan(job)
            self._look_in_time()

    def hold(self, *, held: bool) -> None:
        """Let nothing that is due begin, or again."""
        self._held = held
        self._look_in_time()

    def call_at(self, instant: datetime, callback: Callable[[], object]) -> None:
        """Call a function once the wall clock shows an instant, whatever steps it takes on the way."""
        self._turn += 1
        heapq.heappush(self._alarms, (instant, self._turn, callback))
        self._look_in_time()

    async def run(self) -> None:
        """Submit what is due, until cancelled."""
        await self._plan_all()
        last = self._host.now()
        async with trio.open_nursery() as nursery:
            while True:
                now = self._host.now()
                if now < last:
                    await self._clock_was_set_back(last, now)
                last = now
                if self._may_start(now):
                    self._start_due(now, nursery)
                with trio.CancelScope(deadline=self._next_look(now)) as self._nap:
                    await trio.sleep_forever()

    def _may_start(self, now: datetime) -> bool:
        return now >= _CLOCK_IS_SET and not self._held

    def _next_look(self, now: datetime) -> float:
        """Return when to look at the clock again, in trio's time."""
        seconds = self._seconds_left(now) if self._may_start(now) else self._slice
        return trio.current_time() + min(seconds, self._slice)

    def _look_in_time(self) -> None:
        """Let the actor wait no longer than until what is due first: something was planned, or switched."""
        self._nap.deadline = min(self._nap.deadline, self._next_look(self._host.now()))

    def _start_due(self, now: datetime, nursery: trio.Nursery) -> None:
        while self._alarms and self._alarms[0][0] <= now:
            heapq.heappop(self._alarms)[2]()
        while self._heap and self._heap[0][0] <= now:
            _, turn, job = heapq.heappop(self._heap)
            if self._turns.get(job) == turn and job not in self._busy:
                self._busy.add(job)
                nursery.start_soon(self._serve, job, name=f"schedule of {job}")

    def _seconds_left(self, now: datetime) -> float:
        """Return how long nothing is due; for ever if nothing ever is."""
        soonest = min((queue[0][0] for queue in (self._heap, self._alarms) if queue), default=None)
        if soonest is None:
            return float("inf")
        return max(0.0, (soonest - now).total_seconds())

    async def _plan_all(self) -> None:
        now = self._host.now()
        if now < _CLOCK_IS_SET:
            logger.warning("the clock shows %s and is not set: schedules begin when it is", now.date())
        await self._begin_in_gaps(now, "the clock is behind what was recorded earlier")
        for count, job in enumerate(self._jobs, 1):
            self._plan(job)
            if count % _PLANS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()

    async def _clock_was_set_back(self, last: datetime, now: datetime) -> None:
        behind = (last - now).total_seconds()
        begun = await self._begin_in_gaps(now, f"the clock was set back by {behind:.3g} s")
        if last - now > LATE:
            logger.warning("the clock was set back by %.0f s: what has run will not run again", behind)
            begun = list(self._jobs)
        for job in begun:
            self._plan(job)

    async def _begin_in_gaps(self, now: datetime, reason: str) -> list[str]:
        """Where nothing has run at what the clock shows now, begin from there; what lies before is nobody's debt.

        Returns:
            The jobs it was done for.
        """
        events: list[ScheduleStarted] = []
        for job in self._jobs:
            timeline = self._host.timeline(job)
            if timeline.cursor is not None and now < timeline.cursor and timeline.is_free(now):
                events.append(ScheduleStarted(now, job, reason=reason))
        if events:
            await self._host.record(events)
        return [event.job for event in events]

    def _plan(self, name: str) -> None:
        """Find the next instant of a job that is not accounted for, or when it goes on by itself."""
        self._turn += 1
        self._turns[name] = self._turn
        if name in self._busy:
            return
        instant = self._host.paused_until(name)
        if self._host.is_active(name):
            instant = self._next_instant(name)
        if instant is not None:
            heapq.heappush(self._heap, (instant, self._turn, name))

    def _next_instant(self, name: str) -> datetime | None:
        try:
            return self._host.timeline(name).next_free(self._next_after[name], self._host.now())
        except Exception:  # a schedule may be the user's code: it stops its own job only
            logger.exception("job %s: its schedule failed; it will not run by itself any more", name)
            return None

    async def _serve(self, name: str) -> None:
        """Do what is due of one job, one instant after the other, then plan its next one."""
        try:
            await self._do_due(self._jobs[name])
        except EngineClosed:
            return
        except ScheduleError:
            logger.exception("job %s: its schedule failed; it will not run by itself any more", name)
            return
        except GoflowError as error:
            logger.warning("job %s: what was due could not be submitted, trying again: %s", name, error)
            await trio.sleep(SLICE_SECONDS)
        except Exception:
            logger.exception("job %s: its schedule failed; it will not run by itself any more", name)
            return
        finally:
            self._busy.discard(name)
        self._plan(name)
        self._look_in_time()

    async def _do_due(self, job: Job) -> None:
        host = self._host
        now = host.now()
        until = host.paused_until(job.name)
        if until is not None and until <= now:
            reason = "the pause is over"
            await host.record((ScheduleToggled(now, job.name, active=True, since=until, reason=reason),))
        if not host.is_active(job.name):
            return
        position = host.timeline(job.name).position(now)
        due = due_instants(job, self._next_after[job.name], position or now, now)
        if due.first is not None and due.last is not None:
            reason = f"not running at the time, suspended, or the clock was set; misfire={job.misfire}"
            reason += "" if due.counted else "; there were more than were counted"
            await self._miss(job.name, (due.first, due.last), reason, "misfire", due.missed)
        for instant in due.run:
            if not host.is_active(job.name):
                return
            await self._run_instant(job, instant)

    async def _run_instant(self, job: Job, instant: datetime) -> None:
        host = self._host
        name = job.name
        if job.overlap != "allow" and (active := host.active_executions(name)):
            if job.overlap == "skip":
                reason = "an earlier execution is still running; overlap=skip"
                await self._miss(name, (instant, instant), reason, "overlap")
                return
            if job.overlap == "queue" and active > limits.QUEUED_EXECUTIONS:
                reason = f"{limits.QUEUED_EXECUTIONS} executions wait already; overlap=queue"
                await self._miss(name, (instant, instant), reason, "queue")
                return
            if job.overlap == "cancel":
                await host.cancel_active(name, f"replaced by the run of {instant.astimezone(UTC).isoformat()}")
        # A submit that failed may yet come to be: tried again under the same id it is the same execution.
        execution_id = self._ids.setdefault((name, instant), host.new_id())
        try:
            self._turnstile.acquire_nowait()  # which saves the turn of the loop that `acquire` always takes
        except trio.WouldBlock:
            await self._turnstile.acquire()
        try:
            await host.submit_scheduled(name, instant, execution_id)
        finally:
            self._turnstile.release()
        del self._ids[name, instant]

    async def _miss(self, job: str, span: tuple[datetime, datetime], reason: str, cause: str, count: int = 1) -> None:
        now, (first, last) = self._host.now(), span
        event = ScheduleMissed(now, job, first=first, last=last, count=count, reason=reason, cause=cause)
        await self._host.record((event,))


def _remembering(schedule: Schedule) -> NextAfter:
    """Return a checked `next_after` that knows its last answers: each step asks for what the step before asked for."""
    return lru_cache(maxsize=4)(checked(schedule))
