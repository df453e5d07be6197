"""The schedules of an engine's jobs: which are switched on, since when and until when; switched durably.

This is what the scheduler asks and tells. The scheduler knows when something is due, and nothing of stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from goflow_trio.actors.executions import Executions
from goflow_trio.actors.scheduler import Scheduler
from goflow_trio.actors.submitting import submit
from goflow_trio.core.messages import Event, ScheduleStarted, ScheduleToggled
from goflow_trio.core.timeline import Timeline
from goflow_trio.errors import StoreUnavailable, UsageError, WrongState
from goflow_trio.schedules import in_utc, upcoming


class Schedules:
    """The schedules, and their scheduler's host.

    Args:
        executions: where what is due is run.
        idle: nothing becomes due: the scheduler keeps time for executions that were submitted for an instant only.

    Attributes:
        scheduler: has run what is due; its actor is started when the engine is opened.
    """

    def __init__(self, executions: Executions, *, idle: bool = False) -> None:
        self._executions = executions
        self._registry = executions.registry
        self._store = executions.store
        scheduled = {name: job for name, job in self._registry.jobs.items() if job.schedule is not None}
        self.scheduler = Scheduler({} if idle else scheduled, self, steady=executions.world.environment.steady)

    # How they stand --------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the wall-clock time (aware, UTC)."""
        return self._executions.now()

    def is_active(self, job: str) -> bool:
        """Return whether a job's schedule is switched on; see `Engine.is_active`."""
        definition = self._registry.job(job)
        if definition.schedule is None:
            return False
        active = self._store.ledger.schedule(job).active
        return definition.active if active is None else active

    def paused_until(self, job: str) -> datetime | None:
        """Return when a job's schedule goes on by itself; None if it is on, or off for good."""
        return self._store.ledger.schedule(job).until

    def timeline(self, job: str) -> Timeline:
        """Return which instants of a job's schedule are accounted for; for reading."""
        return self._store.ledger.schedule(job).timeline

    def latest(self, job: str) -> datetime:
        """Return up to when a job's instants are settled: what is later may yet run by itself."""
        now = self.now()
        position = self.timeline(job).position(now) if self.is_active(job) else None
        return min(position or now, now)

    def upcoming(self, job: str, n: int) -> list[datetime]:
        """Return the next `n` instants of a job's schedule, whether or not it is switched on."""
        schedule = self._registry.job(job).schedule
        return [] if schedule is None else upcoming(schedule, self.now(), n)

    # Switching them --------------------------------------------------------------------------------

    async def pause(self, job: str, until: datetime | None, by: str) -> None:
        """Switch a job's schedule off; see `Engine.pause`."""
        self._check_switchable(job)
        if until is not None and in_utc(until) <= self.now():
            raise UsageError(f"job {job!r}: a pause until {until.isoformat()} is over already; give a later instant")
        end = None if until is None else in_utc(until)
        await self._switch(ScheduleToggled(self.now(), job, active=False, until=end, by=by))

    async def resume(self, job: str, *, catch_up: bool, by: str) -> None:
        """Switch a job's schedule on; see `Engine.resume`."""
        self._check_switchable(job)
        owed = catch_up or self.is_active(job)  # switched on twice, it owes what it owed
        since = (self.timeline(job).position(self.now()) if owed else None) or self.now()
        await self._switch(ScheduleToggled(self.now(), job, active=True, since=since, by=by))

    def _check_switchable(self, job: str) -> None:
        if self._registry.job(job).schedule is None:
            raise WrongState(f"job {job!r} has no schedule that could be switched; give it one in its definition")
        self._executions.check_open()

    async def _switch(self, event: ScheduleToggled) -> None:
        """Write that a schedule is switched; if the store does not take it soon, take it back.

        Raises:
            StoreUnavailable: the store does not take it.
        """
        pending = self._store.offer((event,))
        try:
            await self._store.promptly(pending.durable)
        except StoreUnavailable:
            pending.withdraw()
            raise
        self.scheduler.wake(event.job)

    async def date_new_ones(self) -> None:
        """Note when those begin that are switched on and were never seen before: what lies before is nobody's debt."""
        new = [
            ScheduleStarted(self.now(), name)
            for name in self._registry.jobs
            if self.is_active(name) and self.timeline(name).cursor is None
        ]
        if new:
            await self._store.promptly(self._store.offer(new).durable)

    # What the scheduler wants done -----------------------------------------------------------------

    def active_executions(self, job: str) -> int:
        """Return how many executions of a job are unfinished."""
        return self._executions.active(job)

    async def cancel_active(self, job: str, reason: str) -> None:
        """Cancel all unfinished executions of a job and wait until they are gone."""
        await self._executions.cancel_all(job, reason)

    def new_id(self) -> str:
        """Return the id of a new execution."""
        return self._executions.new_id()

    async def submit_scheduled(self, job: str, instant: datetime, execution_id: str) -> None:
        """Submit the execution of an instant; returns once that is durable. Again with the same id it is the same."""
        await submit(self._executions, job, scheduled_for=instant, trigger="schedule", execution_id=execution_id)

    async def record(self, events: Sequence[Event]) -> None:
        """Write events that are about schedules."""
        await self._store.append(events)
