"""The engine: what programs talk to. Each method is told in full here, and done by the part whose business it is.

What is unfinished and runs is `executions`' business; how one comes to be `submitting`'s, how one goes on `resuming`'s.
Schedules and backfills have parts of their own, and all are put together, started and ended in `opening`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from goflow_trio.actors import hooks
from goflow_trio.actors.backfill import Backfill, Backfills
from goflow_trio.actors.batch import Submission
from goflow_trio.actors.execution import CancelReceipt, Execution
from goflow_trio.actors.executions import Executions
from goflow_trio.actors.feed import Subscription
from goflow_trio.actors.gate import Limit
from goflow_trio.actors.health import Health, worst_first
from goflow_trio.actors.history import Selection
from goflow_trio.actors.output_reading import Part
from goflow_trio.actors.resuming import retry
from goflow_trio.actors.schedules import Schedules
from goflow_trio.actors.statistics import JobStatistics, job_statistics
from goflow_trio.actors.submitting import submit, submit_at, submit_many
from goflow_trio.actors.waiting import Waiting
from goflow_trio.actors.watchdog import Lag
from goflow_trio.core import limits
from goflow_trio.core.messages import ScheduleMissed
from goflow_trio.core.output import OutputSlice
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.rerun import Start
from goflow_trio.errors import UnknownJob
from goflow_trio.jobs.job import Job


class Engine:
    """Runs jobs. Open one with `open_engine`.

    Attributes:
        jobs: the registered jobs by name, in the order of registration.
        store: what is durable; for reading.
    """

    def __init__(self, executions: Executions, schedules: Schedules, backfills: Backfills) -> None:
        self.jobs = executions.registry.jobs
        self.store = executions.store
        self._executions = executions
        self._schedules = schedules
        self._backfills = backfills

    # Looking ---------------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """Why the store does not take writes at the moment; None while it does."""
        return self.store.problem

    def health(self) -> Health:
        """Return whether work is taken and done as promised, and if not, why."""
        drain = self._executions.drain_cause()
        causes = [*self.store.health().causes, *self._executions.world.causes(), *([drain] if drain else [])]
        return worst_first(causes, self.threads_abandoned)

    @property
    def threads_abandoned(self) -> int:
        """How many threads run whose attempt was cut off or cancelled: a thread cannot be stopped from outside."""
        return self._executions.world.strays.count

    def missed(self, job: str) -> Sequence[ScheduleMissed]:
        """Return the latest instants of a job's schedule that had no run, and why; oldest first."""
        return self.store.ledger.schedule(job).missed

    @property
    def draining(self) -> datetime | None:
        """Since when nothing new is taken on (`drain`); None while it is."""
        return self._executions.draining

    def drain(self, *, draining: bool = True) -> None:
        """Take on nothing new, or again: for a restart that cuts nothing.

        What has begun goes on to its end, with all its tasks, retries and children. Submits and retries are refused,
        schedules, backfills, watches and followers wait; an instant that passes meanwhile is a misfire, for its job's
        policy to see to. It lasts until it is taken back, or the engine ends: the next one takes on work.

        Args:
            draining: False takes it back.
        """
        executions, scheduler = self._executions, self._schedules.scheduler
        executions.draining = (executions.draining or self.now()) if draining else None
        scheduler.hold(held=draining)

    async def stop(self, grace: float = 0.0) -> None:
        """Take on nothing, start no task any more, and wait until none runs; the block's end cuts off what then does.

        For a program that goes on answering meanwhile; otherwise the end of the block does it.

        Args:
            grace: seconds to wait at most.
        """
        await self._executions.close(grace)

    def lag(self) -> Lag | None:
        """Return how late the loop answered lately; None where nobody looks, in virtual time."""
        watchdog = self._executions.world.watchdog
        return None if watchdog is None else watchdog.lag()

    @property
    def seq(self) -> int:
        """Position of the last event in the log."""
        return self.store.ledger.seq

    def now(self) -> datetime:
        """Return the wall-clock time (aware, UTC)."""
        return self._executions.now()

    def job(self, name: str) -> Job:
        """Return a registered job.

        Raises:
            UnknownJob: there is none of this name.
        """
        return self._executions.registry.job(name)

    def running(self, execution_id: str) -> Execution | None:
        """Return the handle on an unfinished execution; None if none of this id is unfinished here."""
        return self._executions.running(execution_id)

    def execution(self, execution_id: str) -> Execution:
        """Return the handle on an unfinished execution.

        Raises:
            UnknownExecution: none of this id is unfinished here.
        """
        return self._executions.execution(execution_id)

    async def find(self, execution_id: str) -> ExecutionRecord | None:
        """Return the record of an execution, finished or not; None if there is none of this id."""
        return await self.store.find(execution_id)

    async def newest(  # noqa: PLR0917  # each is a filter, and optional
        self,
        job: str | None = None,
        state: str | None = None,
        limit: int = limits.LIST_EXECUTIONS,
        before: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[ExecutionRecord]:
        """Return executions, newest first.

        Args:
            job: only those of this job.
            state: only those in this state.
            limit: at most so many.
            before: only those submitted before this one (an id).
            since: only those submitted at this instant or later.
            until: only those submitted before this instant.

        Raises:
            StoreUnavailable: memory has not got all of them, and the store does not answer.
        """
        return await self.store.newest(Selection(job, state, before, since, until), limit)

    async def output(
        self,
        execution_id: str,
        task: str,
        *,
        attempt: int | None = None,
        offset: int = 0,
        limit: int | None = None,
        tail: int | None = None,
    ) -> OutputSlice:
        """Return a part of what an attempt printed and logged, while it runs, afterwards, and after a restart.

        Offsets count the bytes that were printed. Of a flood the first and the last MiB are kept: an offset in
        between answers with what is kept after it.

        Args:
            execution_id: the execution.
            task: the task's name.
            attempt: which attempt, from 1; the last by default.
            offset: where to begin.
            limit: at most so many bytes; by default as many as are kept in one piece.
            tail: instead of `offset`: the last so many bytes.

        Raises:
            UnknownExecution: there is none of this id.
            UnknownTask: it has no such task.
            UsageError: there was no such attempt, or a number is negative.
        """
        record = await self._executions.known(execution_id)
        return await self._executions.world.outputs.read(record, task, attempt, Part(offset, limit, tail))

    def slots(self) -> list[Limit]:
        """Return the limits of what runs at once: the engine's, the pools', the jobs'; and how each stands."""
        return self._executions.gate.standing()

    def waiting(self, execution_id: str) -> list[Waiting]:
        """Return, for each task of an unfinished execution that does not run, what it waits for and who is in the way.

        Raises:
            UnknownExecution: none of this id is unfinished here.
        """
        return self._executions.waiting(execution_id)

    @asynccontextmanager
    async def subscribe(
        self,
        *,
        job: str | None = None,
        execution: str | None = None,
        types: Collection[str] | None = None,
        after: int | None = None,
    ) -> AsyncIterator[Subscription]:
        """Follow events: `async with engine.subscribe() as events: async for event in events: …`.

        Args:
            job: only events of this job.
            execution: only events of this execution.
            types: only events of these types; `"task.*"` stands for all that begin so.
            after: a position in the log: begin with the event after it, also across a restart. None: begin now.

        Raises:
            TooManySubscribers: `limits.SUBSCRIBERS` are open.
        """
        with self.store.feed.subscribe(job=job, execution=execution, types=types, after=after) as subscription:
            yield subscription

    async def stats(self, job: str, limit: int = limits.LIST_EXECUTIONS) -> JobStatistics:
        """Return what the latest executions of a job say together: counts, durations, success rate.

        Args:
            job: the job's name.
            limit: of at most so many executions.

        Raises:
            UnknownJob: no such job.
        """
        return job_statistics(await self.newest(self.job(job).name, limit=limit))

    # Running ---------------------------------------------------------------------------------------

    async def submit(
        self,
        job: str,
        params: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        at: datetime | None = None,
        by: str = "",
    ) -> Execution:
        """Run a job. Returns once the execution is durable: a crash after that does not lose it.

        Args:
            job: the job's name.
            params: override the job's defaults.
            idempotency_key: submits of one job with equal keys are one execution, whenever they come.
            at: the instant at which it is to start (aware), kept across restarts; until then it can be cancelled and
                counts towards no limit of its job. One in the past is now.
            by: who submits it; kept in the record.

        Raises:
            UnknownJob: no such job.
            UsageError: the parameters cannot be used.
            Overloaded: `limits.ACTIVE_EXECUTIONS` are unfinished.
            StoreUnavailable: the store does not take writes. If it stopped just now, the execution may still come
                to be; an idempotency key makes trying again safe.
            EngineClosed: the engine is shutting down.
        """
        return await submit_at(self._executions, Submission(job, params, idempotency_key, at, by))

    async def submit_many(self, submissions: Sequence[Submission]) -> list[Execution]:
        """Run many jobs at the price of few commits. Returns once all executions are durable.

        All are checked before any is submitted. If the store stops meanwhile, some may come to be; idempotency keys
        make trying again safe.

        Args:
            submissions: what to run, in order.

        Returns:
            The executions, in the same order.

        Raises:
            UnknownJob: there is no such job; nothing was submitted. Else as `submit`.
        """
        return await submit_many(self._executions, submissions)

    async def cancel(
        self, execution_id: str, reason: str = "", *, force: bool = False, task: str | None = None, by: str = ""
    ) -> CancelReceipt:
        """End an execution by id, see `Execution.cancel`; one that is over already gives a receipt of nothing.

        Raises:
            UnknownExecution: there is none of this id.
            UnknownTask: it has no task of this name.
        """
        return await self._executions.cancel(execution_id, reason, force=force, task=task, by=by)

    async def retry(
        self,
        execution_id: str,
        *,
        start: Start = "failed",
        task: str | None = None,
        downstream: bool = True,
        by: str = "",
        reason: str = "",
    ) -> Execution:
        """Run an execution that is over once more, in the same record. Returns once that is durable.

        What does not run again keeps its result; what does has fresh retries, and its attempts go on counting. It
        runs on the graph it began with: a task that is no longer defined fails as `definition gone`.

        Args:
            execution_id: which.
            start: `"failed"`: what failed or was cancelled, and what comes after; `"start"`: everything.
            task: this task instead, however it ended, and what comes after it.
            downstream: with `task`: whether what comes after it runs again too.
            by: who asks; kept in the record.
            reason: why; kept in the record.

        Raises:
            UnknownExecution: there is none of this id.
            UnknownTask: it has no such task.
            WrongState: it is not over, or nothing is to be run again.
            UsageError: `start` is neither.
            Overloaded: `limits.ACTIVE_EXECUTIONS` are unfinished.
            StoreUnavailable: the store does not take writes, or does not answer.
            EngineClosed: the engine is shutting down.
        """
        return await retry(
            self._executions, execution_id, start=start, task=task, downstream=downstream, by=by, reason=reason
        )

    async def approve(
        self, execution_id: str, task: str, *, approved: bool = True, by: str = "", comment: str = ""
    ) -> None:
        """Answer what an `Approve` task asks. Returns once the answer is durable.

        Args:
            execution_id: which execution.
            task: which of its tasks.
            approved: yes or no.
            by: who answers; kept in the record.
            comment: what they say to it; kept in the record.

        Raises:
            UnknownExecution: there is none of this id.
            UnknownTask: it has no such task.
            WrongState: the task does not wait for an approval (any more), or was answered otherwise meanwhile.
            StoreUnavailable: the store does not take writes; if it stopped just now, the answer may still count.
            EngineClosed: the engine is shutting down.
        """
        await self._executions.approve(execution_id, task, approved=approved, by=by, comment=comment)

    # Schedules -------------------------------------------------------------------------------------

    def is_active(self, job: str) -> bool:
        """Return whether a job's schedule is switched on.

        Raises:
            UnknownJob: no such job.
        """
        return self._schedules.is_active(job)

    async def toggle(self, job: str, *, by: str = "") -> bool:
        """Switch a job's schedule on or off, durably; return the new state.

        Args:
            job: the job's name.
            by: who wants it; kept in the event.

        Raises:
            UnknownJob: no such job.
            WrongState: it has no schedule.
        """
        return await self.set_active(job, active=not self.is_active(job), by=by)

    async def set_active(self, job: str, *, active: bool, by: str = "") -> bool:
        """Switch a job's schedule, durably; return the new state. Switched on, it begins with the next instant.

        Args:
            job: the job's name.
            active: on or off.
            by: who wants it; kept in the event.

        Raises:
            UnknownJob: no such job.
            WrongState: it has no schedule.
        """
        await (self.resume(job, by=by) if active else self.pause(job, by=by))
        return active

    async def pause(self, job: str, until: datetime | None = None, *, by: str = "") -> None:
        """Switch a job's schedule off, durably. What it would have run meanwhile is nobody's debt.

        Args:
            job: the job's name.
            until: when it goes on by itself (aware), whether or not this engine runs all the time; None is never.
            by: who wants it; kept in the event.

        Raises:
            UnknownJob: no such job.
            WrongState: it has no schedule, or `until` is not in the future.
        """
        await self._schedules.pause(job, until, by)

    async def resume(self, job: str, *, catch_up: bool = False, by: str = "") -> None:
        """Switch a job's schedule on, durably. It begins with the next instant.

        Args:
            job: the job's name.
            catch_up: instants that passed while it was off are misfires, for the job's policy to see to.
            by: who wants it; kept in the event.

        Raises:
            UnknownJob: no such job.
            WrongState: it has no schedule.
        """
        await self._schedules.resume(job, catch_up=catch_up, by=by)

    def paused_until(self, job: str) -> datetime | None:
        """Return when a job's schedule goes on by itself; None if it is on, or off for good."""
        return self._schedules.paused_until(job)

    def upcoming(self, job: str, n: int) -> list[datetime]:
        """Return the next `n` instants of a job's schedule, whether or not it is switched on.

        Raises:
            UnknownJob: no such job.
        """
        return self._schedules.upcoming(job, n)

    async def backfill(
        self, job: str, since: datetime, until: datetime, *, limit: int | None = None, by: str = ""
    ) -> Backfill:
        """Run a job for the instants of its schedule from `since` to before `until`, each at most once.

        Instants that have an execution are left out, as are those that are still to come. Returns once it is durable;
        it goes on by itself, after a restart too.

        Args:
            job: the job's name.
            since: the first moment (aware).
            until: the first moment that does not count any more (aware).
            limit: how many executions run at once; None is one after the other, in order.
            by: who asks; kept, and in the record of each execution.

        Raises:
            UnknownJob: no such job.
            UsageError: it has no schedule, the range is wrong or has more than `limits.BACKFILL_INSTANTS`.
        """
        return await self._backfills.begin(job, since, until, limit, by)

    def backfills(self, job: str | None = None) -> list[Backfill]:
        """Return the backfills of a job, or of all, that go on or ended lately; the newest last."""
        return self._backfills.of(job)

    async def submit_by_hook(
        self, job: str, token: str, params: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Execution:
        """Run a job for somebody who has nothing but the job's own token (`Job(webhook=…)`).

        Raises:
            UnknownJob: there is no such job, it has no webhook, or the token is wrong: who asks learns nothing more.
            UsageError: the parameters cannot be used.
        """
        if not hooks.opens(self.jobs.get(job), token):
            raise UnknownJob(f"no job {job!r} has a webhook with this token")
        return await submit(self._executions, job, params, idempotency_key=idempotency_key, trigger="webhook")

    # What the scheduler asks -----------------------------------------------------------------------

    # Life ------------------------------------------------------------------------------------------
