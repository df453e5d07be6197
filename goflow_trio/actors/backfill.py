"""Backfills: a job is run for instants of the past, each at most once, a few at a time, with progress.

What is to be done is durable: a backfill that the end of an engine cuts off goes on in the next one. What was done is
found out again: an instant that has an execution, however it came to be, is left out, and each submit carries a key of
its instant, so that a crash in between does not run one twice.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Literal

import trio
from attrs import define, frozen

from goflow_trio.actors.execution import Execution
from goflow_trio.actors.executions import Executions
from goflow_trio.actors.history import Selection
from goflow_trio.actors.schedules import Schedules
from goflow_trio.actors.submitting import submit
from goflow_trio.core import limits
from goflow_trio.core.messages import BackfillFinished, BackfillStarted
from goflow_trio.core.states import State
from goflow_trio.errors import EngineClosed, GoflowError, Overloaded, StoreUnavailable, UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.schedules import in_utc
from goflow_trio.schedules.preview import instants_between

logger = logging.getLogger("goflow_trio.scheduler")

_JUST_BEFORE = timedelta(microseconds=1)
_RETRY_SECONDS = 1.0


@frozen
class Range:
    """What a backfill is to do, as it is kept.

    Args:
        id: its id.
        job: the job's name.
        since: the first moment that counts.
        until: the first moment that does not any more.
        limit: how many executions run at once.
        by: who asked for it.
    """

    id: str
    job: str
    since: datetime
    until: datetime
    limit: int
    by: str = ""


@define
class Progress:
    """How far a backfill is.

    Args:
        total: instants in its range.
        present: those that had an execution already.
        submitted: those it has submitted.
        successful: executions of it that were successful.
        failed: executions of it that were not.
        state: whether it goes on.
    """

    total: int = 0
    present: int = 0
    submitted: int = 0
    successful: int = 0
    failed: int = 0
    state: Literal["running", "done", "cancelled"] = "running"


class Backfill:
    """A backfill that goes on, or is over. Made by `Engine.backfill`.

    Attributes:
        range: what it is to do.
        progress: how far it is; changes while it goes on.
    """

    def __init__(self, span: Range, instants: list[datetime], executions: Executions) -> None:
        self.range = span
        self.progress = Progress(total=len(instants))
        self._instants = instants
        self._executions = executions
        self._over = trio.Event()
        self._running: dict[str, Execution] = {}
        self._scope = trio.CancelScope()
        self._cancelled_by = ""

    @property
    def id(self) -> str:
        """Its id."""
        return self.range.id

    async def wait(self) -> Progress:
        """Return how it ended, once it is over and what it has submitted is finished."""
        await self._over.wait()
        return self.progress

    async def cancel(self, *, executions: bool = False, by: str = "") -> Progress:
        """Submit nothing more; what runs goes on.

        Args:
            executions: cancel what runs of it, too.
            by: who asks; kept.
        """
        if not self._over.is_set():
            self.progress.state = "cancelled"
            self._cancelled_by = by
            self._scope.cancel()
            if executions:
                for execution in list(self._running.values()):
                    await execution.cancel("its backfill was cancelled", by=by)
            await self._over.wait()
        return self.progress

    async def run(self) -> None:
        """Do it, then note that it is over. Started by the engine."""
        try:
            await self._do()
            if self.progress.state == "running":
                self.progress.state = "done"
            now = self._executions.now()
            event = BackfillFinished(
                now, self.range.job, backfill=self.range.id, reason=self.progress.state, by=self._cancelled_by
            )
            await self._executions.store.append((event,))
        except EngineClosed:  # the next engine goes on with it
            return
        finally:
            self._over.set()

    async def _do(self) -> None:
        limiter = trio.CapacityLimiter(self.range.limit)
        async with trio.open_nursery() as nursery:
            with self._scope:
                present = {instant async for instant in self._present()}
                self.progress.present = len(present.intersection(self._instants))
                for instant in self._instants:
                    if instant not in present:
                        await limiter.acquire_on_behalf_of(instant)
                        nursery.start_soon(self._run_instant, instant, limiter)

    async def _present(self) -> AsyncIterator[datetime]:
        """Yield the instants that have an execution. None was submitted before its instant."""
        before: str | None = None
        while True:
            records = await self._executions.store.newest(Selection(self.range.job, before=before))
            for record in records:
                if record.scheduled_for is not None and not (
                    record.trigger == "backfill" and not record.state.is_final
                ):
                    yield record.scheduled_for
            if len(records) < limits.LIST_EXECUTIONS or records[-1].submitted < self.range.since:
                return
            before = records[-1].id

    async def _run_instant(self, instant: datetime, limiter: trio.CapacityLimiter) -> None:
        try:
            execution = await self._submit(instant)
            self.progress.submitted += 1
            self._running[execution.id] = execution
            record = await execution.wait()
            if record.state is State.SUCCESSFUL:
                self.progress.successful += 1
            else:
                self.progress.failed += 1
            del self._running[execution.id]
        except EngineClosed:
            return
        except GoflowError:
            logger.exception("backfill %s of job %s: %s was not run", self.range.id, self.range.job, instant)
            self.progress.failed += 1
        finally:
            limiter.release_on_behalf_of(instant)

    async def _submit(self, instant: datetime) -> Execution:
        """Submit the execution of a past instant, unless it has one by a backfill already: then that is meant."""
        key = f"instant {instant.isoformat()}"
        while True:
            try:
                return await submit(
                    self._executions,
                    self.range.job,
                    idempotency_key=key,
                    scheduled_for=instant,
                    trigger="backfill",
                    by=self.range.by,
                )
            except (StoreUnavailable, Overloaded) as error:
                logger.warning("backfill of job %s waits: %s", self.range.job, error)
                await trio.sleep(_RETRY_SECONDS)


class Backfills:
    """The backfills of an engine: those that go on, and some that ended lately.

    Args:
        executions: where they submit.
        schedules: what is due by itself, which is not theirs to run.
        nursery: where they run.
    """

    def __init__(self, executions: Executions, schedules: Schedules, nursery: trio.Nursery) -> None:
        self._executions = executions
        self._schedules = schedules
        self._nursery = nursery
        self._known: dict[str, Backfill] = {}

    def of(self, job: str | None) -> list[Backfill]:
        """Return the backfills of a job, or of all; see `Engine.backfills`."""
        return [backfill for backfill in self._known.values() if job in {None, backfill.range.job}]

    async def begin(self, job: str, since: datetime, until: datetime, limit: int | None, by: str) -> Backfill:
        """Begin one, durably; see `Engine.backfill`."""
        definition = self._executions.registry.job(job)
        span = Range(self._executions.new_id(), job, in_utc(since), in_utc(until), 1 if limit is None else limit, by)
        instants = plan_backfill(span, definition, self._schedules.latest(job))
        self._executions.check_open()
        await self._executions.store.append((_started(span, len(instants), self._executions.now()),))
        return self._start(span, instants)

    def resume(self) -> None:
        """Go on with those that the last engine left."""
        for name, job in self._executions.registry.jobs.items():
            for event in list(self._executions.store.ledger.schedule(name).backfills.values()):
                if event.since is not None and event.until is not None and job.schedule is not None:
                    span = Range(event.backfill, name, event.since, event.until, event.limit, event.by)
                    self._start(span, plan_backfill(span, job, event.at))

    def _start(self, span: Range, instants: list[datetime]) -> Backfill:
        backfill = self._known[span.id] = Backfill(span, instants, self._executions)
        for over in [known.id for known in self._known.values() if known.progress.state != "running"]:
            if len(self._known) > limits.KEPT_BACKFILLS:
                del self._known[over]
        self._nursery.start_soon(backfill.run, name=f"backfill of {span.job}")
        return backfill


def plan_backfill(span: Range, job: Job, latest: datetime) -> list[datetime]:
    """Return the instants of a range, up to the latest that may be run.

    Raises:
        UsageError: the job has no schedule, the range is empty or too large.
    """
    if job.schedule is None:
        raise UsageError(f"job {job.name!r} has no schedule, so no instants to run it for; submit it instead")
    if span.until <= span.since:
        raise UsageError(f"until {span.until.isoformat()} is not after since {span.since.isoformat()}; swap them")
    if span.limit < 1:
        raise UsageError(f"limit {span.limit}: it is how many run at once, 1 or more")
    end = min(span.until, latest + _JUST_BEFORE)
    instants = []
    for instant in instants_between(job.schedule, span.since - _JUST_BEFORE, end):
        instants.append(instant)
        if len(instants) > limits.BACKFILL_INSTANTS:
            raise UsageError(
                f"job {job.name!r} is due more than {limits.BACKFILL_INSTANTS:,} times between"
                f" {span.since.isoformat()} and {end.isoformat()}; do it in several parts"
            )
    return instants


def _started(span: Range, count: int, now: datetime) -> BackfillStarted:
    """Return the event that makes a backfill durable."""
    return BackfillStarted(
        now,
        span.job,
        backfill=span.id,
        since=span.since,
        until=span.until,
        limit=span.limit,
        count=count,
        by=span.by,
    )
