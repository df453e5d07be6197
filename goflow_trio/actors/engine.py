"""The engine: wires store, supervisors, scheduler and feed together, and is what programs talk to.

`open_engine` is one nursery of its host: when the block is left, everything in it is gone, and what was unfinished is
in the store to be resumed by the next engine that opens it. A fault in one execution stays in it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import trio
from attrs import evolve, frozen

from goflow_trio import codec
from goflow_trio.actors import hooks, keys
from goflow_trio.actors.backfill import Backfill, Range, plan_backfill
from goflow_trio.actors.backfill import started as backfill_started
from goflow_trio.actors.batch import Submission, submit_all
from goflow_trio.actors.children import Parent, force, run_child, with_children
from goflow_trio.actors.environment import Environment, real_environment
from goflow_trio.actors.executing import Executors
from goflow_trio.actors.feed import Subscription
from goflow_trio.actors.gate import Account, Gate, Limit
from goflow_trio.actors.groups import only_error
from goflow_trio.actors.health import Health, worst_first
from goflow_trio.actors.outputs import Outputs
from goflow_trio.actors.scheduler import Scheduler
from goflow_trio.actors.statistics import JobStatistics, job_statistics
from goflow_trio.actors.store import open_store, unfinished
from goflow_trio.actors.supervisor import Supervisor, Surroundings
from goflow_trio.actors.triggers import Triggers, check_triggers
from goflow_trio.actors.waiting import Waiting, waiting_tasks
from goflow_trio.actors.watchdog import Watchdog
from goflow_trio.actors.watching import watch
from goflow_trio.core import limits
from goflow_trio.core.ending import end_broken
from goflow_trio.core.machine import ExecutionMachine, Step, was_answered_so
from goflow_trio.core.messages import (
    CancelRequested,
    Decided,
    Event,
    Report,
    ScheduleStarted,
    ScheduleToggled,
    TaskCancelRequested,
)
from goflow_trio.core.output import OutputSlice
from goflow_trio.core.plan import Plan, plan_job, plan_shape
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.rerun import Start, tasks_to_rerun
from goflow_trio.core.states import State
from goflow_trio.core.timeline import Timeline
from goflow_trio.errors import (
    CodecError,
    EngineClosed,
    Overloaded,
    StoreUnavailable,
    UnknownExecution,
    UnknownJob,
    UnknownTask,
    UsageError,
    WrongState,
)
from goflow_trio.jobs.job import Job, build_job
from goflow_trio.operators import processes
from goflow_trio.operators.logs import task_logging
from goflow_trio.schedules import in_utc, upcoming
from goflow_trio.stores import Backend, open_backend

logger = logging.getLogger("goflow_trio.engine")

JobSource = Job | Callable[[], Job]


@frozen
class CancelReceipt:
    """What a cancel ended, once nothing of it is left running.

    Args:
        tasks: tasks that were ended, or will now never start.
        processes: processes that were running and were ended.
        killed: how many of them had to be killed, as they did not end when told to.
        threads_abandoned: threads that cannot be stopped and still run; what they return is dropped.
        seconds: how long that took.
    """

    tasks: int = 0
    processes: int = 0
    killed: int = 0
    threads_abandoned: int = 0
    seconds: float = 0.0


class Execution:
    """A handle on one execution that this engine runs, or ran.

    Attributes:
        id: the execution's id.
        job: the job's name.
    """

    def __init__(self, engine: Engine, supervisor: Supervisor) -> None:
        self.id = supervisor.machine.execution
        self.job = supervisor.machine.plan.job
        self._engine = engine
        self._supervisor = supervisor
        self._last: ExecutionRecord | None = None

    @property
    def record(self) -> ExecutionRecord:
        """What is durable of it now. It goes on changing until the execution is finished."""
        if self._last is None or not self._last.state.is_final:
            self._last = self._engine.store.ledger.find(self.id) or self._last
        assert self._last is not None
        return self._last

    def send(self, report: Report) -> None:
        """Tell its supervisor something; never blocks."""
        self._supervisor.send(report)

    async def wait(self) -> ExecutionRecord:
        """Return the record once the execution is finished and nothing of it runs any more.

        Raises:
            EngineClosed: the engine ended first; the next one that opens the store goes on with it.
        """
        await self._supervisor.finished.wait()
        if not self.record.state.is_final:
            raise EngineClosed(f"the engine ended before execution {self.id}; it is resumed when the store is opened")
        return self.record

    async def cancel(self, reason: str = "", *, force: bool = False, task: str | None = None) -> CancelReceipt:
        """End it: running tasks are cancelled, clean-up tasks (`allDone`) run; returns when nothing is left.

        Args:
            reason: kept in the record.
            force: end clean-up tasks too.
            task: end this task only, or keep it from starting. What comes after it follows its trigger rule.

        Raises:
            UnknownTask: it has no such task.
            EngineClosed: the engine ended before that.
        """
        begun = trio.current_time()
        before, toll = _cancelled(self.record), evolve(self._supervisor.toll)
        if task is None:
            self._supervisor.send(CancelRequested(reason or "cancelled", force))
            record = await self.wait()
        else:
            if task not in self.record.tasks:
                raise UnknownTask(f"execution {self.id} of job {self.job!r} has no task {task!r}")
            self._supervisor.send(TaskCancelRequested(task, reason or "cancelled"))
            await self._supervisor.until_over(task)
            record = self.record
            if not record.tasks[task].state.is_final:
                raise EngineClosed(f"the engine ended before task {task!r} of execution {self.id} was cancelled")
        now = self._supervisor.toll
        return CancelReceipt(
            _cancelled(record) - before,
            now.processes - toll.processes,
            now.killed - toll.killed,
            now.threads - toll.threads,
            trio.current_time() - begun,
        )

    def __repr__(self) -> str:
        return f"<Execution {self.id} of {self.job!r}>"


class Engine:
    """Runs jobs. Open one with `open_engine`.

    Attributes:
        jobs: the registered jobs by name, in the order of registration.
        store: what is durable; for reading.
    """

    def __init__(self, world: Surroundings, gate: Gate, jobs: Mapping[str, Job], nursery: trio.Nursery) -> None:
        self.jobs = MappingProxyType(dict(jobs))
        self.store = world.store
        self._environment = world.environment
        self._nursery = nursery
        self._plans = {name: plan_job(job) for name, job in jobs.items()}
        self._world = world
        world.run_child = partial(run_child, self)
        world.force_child = partial(force, self)
        self._executions: dict[str, Execution] = {}
        self._unfinished: Counter[str] = Counter()  # executions by job, without those that are postponed
        self._postponed: set[str] = set()
        self._backfills: dict[str, Backfill] = {}
        self._gate = gate
        scheduled = {name: job for name, job in jobs.items() if job.schedule is not None}
        self._scheduler = Scheduler(scheduled, self, steady=world.environment.steady)
        self._closing = False
        for job in jobs.values():
            for task in job:
                self._world.prepared(task)

    # Looking ---------------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """Why the store does not take writes at the moment; None while it does."""
        return self.store.problem

    def health(self) -> Health:
        """Return whether work is taken and done as promised, and if not, why."""
        return worst_first([*self.store.health().causes, *self._world.causes()], self.threads_abandoned)

    @property
    def threads_abandoned(self) -> int:
        """How many threads run whose attempt was cut off or cancelled: a thread cannot be stopped from outside."""
        return self._world.strays.count

    @property
    def seq(self) -> int:
        """Position of the last event in the log."""
        return self.store.ledger.seq

    def now(self) -> datetime:
        """Return the wall-clock time (aware, UTC)."""
        return self._environment.now()

    def job(self, name: str) -> Job:
        """Return a registered job.

        Raises:
            UnknownJob: there is none of this name.
        """
        try:
            return self.jobs[name]
        except KeyError:
            raise UnknownJob(f"no job {name!r} is registered") from None

    def running(self, execution_id: str) -> Execution | None:
        """Return the handle on an unfinished execution; None if none of this id is unfinished here."""
        return self._executions.get(execution_id)

    def execution(self, execution_id: str) -> Execution:
        """Return the handle on an unfinished execution.

        Raises:
            UnknownExecution: none of this id is unfinished here.
        """
        try:
            return self._executions[execution_id]
        except KeyError:
            raise UnknownExecution(f"no unfinished execution has the id {execution_id!r}") from None

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
        return await self.store.newest(job, state, limit, before, since, until)

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
        record = await self.find(execution_id)
        if record is None:
            raise UnknownExecution(f"no execution has the id {execution_id!r}")
        return await self._world.outputs.read(record, task, attempt=attempt, offset=offset, limit=limit, tail=tail)

    def slots(self) -> list[Limit]:
        """Return the limits of what runs at once: the engine's, the pools', the jobs'; and how each stands."""
        return self._gate.standing()

    def waiting(self, execution_id: str) -> list[Waiting]:
        """Return, for each task of an unfinished execution that does not run, what it waits for and who is in the way.

        Raises:
            UnknownExecution: none of this id is unfinished here.
        """
        return waiting_tasks(self.execution(execution_id)._supervisor)

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
    ) -> Execution:
        """Run a job. Returns once the execution is durable: a crash after that does not lose it.

        Args:
            job: the job's name.
            params: override the job's defaults.
            idempotency_key: submits of one job with equal keys are one execution, whenever they come.
            at: the instant at which it is to start (aware), kept across restarts; until then it can be cancelled and
                counts towards no limit of its job. One in the past is now.

        Raises:
            UnknownJob: no such job.
            UsageError: the parameters cannot be used.
            Overloaded: `limits.ACTIVE_EXECUTIONS` are unfinished.
            StoreUnavailable: the store does not take writes. If it stopped just now, the execution may still come
                to be; an idempotency key makes trying again safe.
            EngineClosed: the engine is shutting down.
        """
        if at is None:
            return await self._submit(job, params, idempotency_key=idempotency_key)
        return await self._submit(job, params, idempotency_key=idempotency_key, scheduled_for=in_utc(at), trigger="at")

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
        for submission in submissions:
            _merged_params(self.job(submission.job), submission.params)
        self._check_open(len(submissions))
        return await submit_all(
            lambda one: self.submit(one.job, one.params, idempotency_key=one.idempotency_key, at=one.at), submissions
        )

    async def _submit(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        scheduled_for: datetime | None = None,
        trigger: str = "manual",
        execution_id: str | None = None,
        parent: Parent | None = None,
    ) -> Execution:
        job = self.job(name)
        merged = _merged_params(job, params)
        self._check_open()
        execution_id = execution_id or self._environment.new_id()
        if idempotency_key is not None:
            claim = {"execution": execution_id, "at": self.now()}
            winner = await self.store.claim(keys.idempotency(name, idempotency_key), claim)
            execution_id = winner["execution"]
            known = self._executions.get(execution_id) or await self._finished_handle(execution_id)
            if known is not None:
                await self._until_durable(known)
                return known
            self._check_open()
        execution = self._launch(execution_id, job, merged, scheduled_for, trigger, parent=parent)
        await self._until_durable(execution)
        return execution

    async def _until_durable(self, execution: Execution) -> None:
        """Wait until it is certain that an execution is, or is not.

        Raises:
            StoreUnavailable: it is not, or that cannot be known now.
            EngineClosed: the engine ended before.
        """
        try:
            await self.store.promptly(execution._supervisor.durable.wait)  # a handle and its engine are one thing
        except StoreUnavailable as error:
            if self.store.withdraw(execution.id):
                raise StoreUnavailable(f"{error}; nothing was begun, try again later") from None
            raise StoreUnavailable(
                f"{error}; what was being written at this moment may still come to be: an Idempotency-Key makes it "
                f"safe to try again (execution {execution.id})"
            ) from None
        if self.store.ledger.find(execution.id) is None and execution._last is None:
            if self._closing:
                raise EngineClosed("the engine shut down before the execution was durable; submit it again")
            raise StoreUnavailable("the store did not take it; nothing was begun, try again later")

    def _launch(
        self,
        execution_id: str,
        job: Job,
        params: dict[str, Any],
        scheduled_for: datetime | None,
        trigger: str,
        *,
        parent: Parent | None,
    ) -> Execution:
        known = self._executions.get(execution_id)
        if known is not None:  # another submit with the same idempotency key was quicker
            return known
        account = self._gate.account(execution_id, job)
        machine = ExecutionMachine(self._plans[job.name], execution_id, account.ask)
        step = machine.submit(
            self.now(),
            params=params,
            scheduled_for=scheduled_for,
            trigger=trigger,
            parent="" if parent is None else parent.execution,
            parent_task="" if parent is None else parent.task,
        )
        begins_at = scheduled_for if trigger == "at" else None
        return self._supervise(machine, job, params, step, account, begins_at=begins_at)

    def _supervise(
        self,
        machine: ExecutionMachine,
        job: Job | None,
        params: Mapping[str, Any],
        step: Step,
        account: Account,
        *,
        begins_at: datetime | None = None,
    ) -> Execution:
        supervisor = Supervisor(machine, job, params, account, self._world)
        execution = self._executions[machine.execution] = Execution(self, supervisor)
        if begins_at is not None and begins_at > self.now():
            self._postponed.add(execution.id)
            supervisor.postpone(step)
            self._scheduler.call_at(begins_at, partial(self._let_in, execution.id))
        else:
            self._unfinished[execution.job] += 1
            supervisor.admit(step)
        self._nursery.start_soon(self._run_supervisor, supervisor, name=f"execution {execution.id}")
        return execution

    def _let_in(self, execution_id: str) -> None:
        """Let a postponed execution begin, unless it is over."""
        if execution_id in self._postponed:
            self._postponed.remove(execution_id)
            supervisor = self._executions[execution_id]._supervisor
            self._unfinished[supervisor.machine.plan.job] += 1
            supervisor.let_in()

    async def _run_supervisor(self, supervisor: Supervisor) -> None:
        """Keep a fault of ours in one execution from reaching the others, and from leaving it running for ever."""
        execution_id = supervisor.machine.execution
        try:
            await supervisor.run()
        except StoreUnavailable:  # it was withdrawn before it was written
            self.store.ledger.held.pop(execution_id, None)
        except Exception as error:
            logger.exception("execution %s: internal error", execution_id)
            record = self.store.ledger.live.get(execution_id)
            if record is not None:
                reason = f"internal error: {type(error).__name__}: {error}"[: limits.ERROR_CHARS]
                await self.store.append(end_broken(record, self.now(), reason))
        finally:
            execution = self._executions.pop(execution_id)
            if execution_id in self._postponed:
                self._postponed.remove(execution_id)
            else:
                self._unfinished[execution.job] -= 1
            execution._last = self.store.ledger.find(execution_id)  # whatever the caches forget
            supervisor.close()

    async def _finished_handle(self, execution_id: str) -> Execution | None:
        """Return a handle on an execution that is over."""
        record = await self.store.find(execution_id)
        if record is None or not record.state.is_final:
            return None
        machine = ExecutionMachine(plan_shape(record.job, (), None), record.id)
        supervisor = Supervisor(machine, None, record.params, self._gate.account(record.id, None), self._world)
        supervisor.close()
        execution = Execution(self, supervisor)
        execution._last = record
        return execution

    async def cancel(
        self, execution_id: str, reason: str = "", *, force: bool = False, task: str | None = None
    ) -> CancelReceipt:
        """End an execution by id, see `Execution.cancel`; one that is over already gives a receipt of nothing.

        Raises:
            UnknownExecution: there is none of this id.
            UnknownTask: it has no task of this name.
        """
        execution = self._executions.get(execution_id)
        if execution is not None:
            return await execution.cancel(reason, force=force, task=task)
        record = await self.find(execution_id)
        if record is None:
            raise UnknownExecution(f"no execution has the id {execution_id!r}")
        if task is not None and task not in record.tasks:
            raise UnknownTask(f"execution {execution_id} of job {record.job!r} has no task {task!r}")
        return CancelReceipt()

    async def submit_child(self, parent: Parent, job: str, params: Mapping[str, Any]) -> Execution:
        """Run a job as the child of an attempt, under the id that follows from it; returns once that is durable."""
        return await self._submit(job, params, trigger="job", execution_id=parent.child, parent=parent)

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
        self._check_open()
        record = await self.find(execution_id)
        if record is None:
            raise UnknownExecution(f"no execution has the id {execution_id!r}")
        job = self.jobs.get(record.job)
        plan = await self._plan_of(record, job)
        self._check_open()
        if execution_id in self._executions:
            raise WrongState(f"execution {execution_id} still runs; cancel it, or wait for its end")
        record = self.store.ledger.find(execution_id) or record  # another retry of it may have come and gone
        tasks = tasks_to_rerun(plan, record, start, task, downstream=downstream)
        account = self._gate.account(record.id, job)
        machine, step = ExecutionMachine.reopen(
            plan,
            record,
            self.now(),
            tasks=tasks,
            by=by,
            reason=reason,
            start=start if task is None else "",
            admit=account.ask,
        )
        self.store.ledger.held[execution_id] = record
        execution = self._supervise(machine, job, record.params, step, account)
        await self._until_durable(execution)
        if self.store.ledger.find(execution_id) is record:
            raise EngineClosed("the engine shut down before the retry was durable; ask for it again")
        return execution

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
        self._check_open()
        record = await self.find(execution_id)
        if record is None:
            raise UnknownExecution(f"no execution has the id {execution_id!r}")
        if task not in record.tasks:
            raise UnknownTask(f"execution {execution_id} has no task {task!r}")
        execution = self._executions.get(execution_id)
        if execution is None or execution.record.tasks[task].waiting != "approval":
            raise WrongState(f"task {task!r} of execution {execution_id} does not wait for an approval")
        attempt = execution.record.tasks[task].attempt
        await self.store.promptly(execution._supervisor.ask(Decided(task, approved, by, comment)))
        if not was_answered_so(execution.record.tasks[task], attempt, approved=approved, by=by):
            raise WrongState(f"task {task!r} of execution {execution_id} was answered or ended otherwise meanwhile")

    def _check_open(self, more: int = 1) -> None:
        if self._closing:
            raise EngineClosed("the engine is shutting down and takes no more work")
        if self.store.problem is not None:
            raise StoreUnavailable(f"the store does not take writes now: {self.store.problem}")
        if len(self._executions) + more > limits.ACTIVE_EXECUTIONS:
            raise Overloaded(f"{limits.ACTIVE_EXECUTIONS} executions are unfinished, which is the limit; try later")

    # Schedules -------------------------------------------------------------------------------------

    def is_active(self, job: str) -> bool:
        """Return whether a job's schedule is switched on.

        Raises:
            UnknownJob: no such job.
        """
        definition = self.job(job)
        if definition.schedule is None:
            return False
        active = self.store.ledger.schedule(job).active
        return definition.active if active is None else active

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
        self._check_schedule(job)
        if until is not None and in_utc(until) <= self.now():
            raise UsageError(f"job {job!r}: a pause until {until.isoformat()} is over already; give a later instant")
        event = ScheduleToggled(self.now(), job, active=False, until=None if until is None else in_utc(until), by=by)
        await self._write_promptly(event)
        self._scheduler.wake(job)

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
        self._check_schedule(job)
        timeline = self.timeline(job)
        owed = catch_up or self.is_active(job)  # switched on twice, it owes what it owed
        since = (timeline.position(self.now()) if owed else None) or self.now()
        await self._write_promptly(ScheduleToggled(self.now(), job, active=True, since=since, by=by))
        self._scheduler.wake(job)

    async def _write_promptly(self, event: Event) -> None:
        """Write an event; if the store does not take it soon, take it back.

        Raises:
            StoreUnavailable: the store does not take it.
        """
        pending = self.store.offer((event,))
        try:
            await self.store.promptly(pending.durable)
        except StoreUnavailable:
            pending.withdraw()
            raise

    def paused_until(self, job: str) -> datetime | None:
        """Return when a job's schedule goes on by itself; None if it is on, or off for good."""
        return self.store.ledger.schedule(job).until

    def _check_schedule(self, job: str) -> None:
        if self.job(job).schedule is None:
            raise WrongState(f"job {job!r} has no schedule that could be switched; give it one in its definition")
        self._check_open()

    def upcoming(self, job: str, n: int) -> list[datetime]:
        """Return the next `n` instants of a job's schedule, whether or not it is switched on.

        Raises:
            UnknownJob: no such job.
        """
        schedule = self.job(job).schedule
        return [] if schedule is None else upcoming(schedule, self.now(), n)

    async def backfill(self, job: str, since: datetime, until: datetime, *, limit: int | None = None) -> Backfill:
        """Run a job for the instants of its schedule from `since` to before `until`, each at most once.

        Instants that have an execution are left out, as are those that are still to come. Returns once it is durable;
        it goes on by itself, after a restart too.

        Args:
            job: the job's name.
            since: the first moment (aware).
            until: the first moment that does not count any more (aware).
            limit: how many executions run at once; None is one after the other, in order.

        Raises:
            UnknownJob: no such job.
            UsageError: it has no schedule, the range is wrong or has more than `limits.BACKFILL_INSTANTS`.
        """
        definition = self.job(job)
        span = Range(self.new_id(), job, in_utc(since), in_utc(until), 1 if limit is None else limit)
        latest = self.timeline(job).position(self.now()) if self.is_active(job) else None
        instants = plan_backfill(span, definition, min(latest or self.now(), self.now()))
        self._check_open()
        await self.store.append((backfill_started(span, len(instants), self.now()),))
        return self._start_backfill(span, instants)

    def _start_backfill(self, span: Range, instants: list[datetime]) -> Backfill:
        backfill = self._backfills[span.id] = Backfill(span, instants, self)
        for over in [known.id for known in self._backfills.values() if known.progress.state != "running"]:
            if len(self._backfills) > limits.KEPT_BACKFILLS:
                del self._backfills[over]
        self._nursery.start_soon(backfill.run, name=f"backfill of {span.job}")
        return backfill

    def backfills(self, job: str | None = None) -> list[Backfill]:
        """Return the backfills of a job, or of all, that go on or ended lately; the newest last."""
        return [backfill for backfill in self._backfills.values() if job in {None, backfill.range.job}]

    async def submit_backfill(self, job: str, instant: datetime) -> Execution:
        """Submit the execution of a past instant, unless it has one by a backfill already: then that is meant."""
        key = f"instant {instant.isoformat()}"
        return await self._submit(job, idempotency_key=key, scheduled_for=instant, trigger="backfill")

    async def submit_following(self, job: str, followed: str, execution_id: str) -> Execution:
        """Submit the execution that follows another; asked again, it is the same."""
        return await self._submit(job, idempotency_key=f"after {execution_id}", trigger=f"after {followed}")

    async def submit_for_file(self, job: str, path: str, key: str) -> Execution:
        """Submit the execution for a version of a file; asked again, it is the same."""
        return await self._submit(job, {"path": path}, idempotency_key=key, trigger="file")

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
        return await self._submit(job, params, idempotency_key=idempotency_key, trigger="webhook")

    def _resume_backfills(self) -> None:
        for name, definition in self.jobs.items():
            for event in list(self.store.ledger.schedule(name).backfills.values()):
                if event.since is not None and event.until is not None and definition.schedule is not None:
                    span = Range(event.backfill, name, event.since, event.until, event.limit)
                    self._start_backfill(span, plan_backfill(span, definition, event.at))

    # What the scheduler asks -----------------------------------------------------------------------

    def timeline(self, job: str) -> Timeline:
        """Return which instants of a job's schedule are accounted for; for reading."""
        return self.store.ledger.schedule(job).timeline

    def active_executions(self, job: str) -> int:
        """Return how many executions of a job are unfinished."""
        return self._unfinished[job]

    async def cancel_active(self, job: str, reason: str) -> None:
        """Cancel all unfinished executions of a job and wait until they are gone."""
        for execution in [e for e in self._executions.values() if e.job == job]:
            await execution.cancel(reason)

    def new_id(self) -> str:
        """Return the id of a new execution."""
        return self._environment.new_id()

    async def submit_scheduled(self, job: str, instant: datetime, execution_id: str) -> None:
        """Submit the execution of an instant; returns once that is durable. Again with the same id it is the same."""
        await self._submit(job, scheduled_for=instant, trigger="schedule", execution_id=execution_id)

    async def record(self, events: Sequence[Event]) -> None:
        """Write events that are about schedules."""
        await self.store.append(events)

    # Life ------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Keep the graphs, date the schedules that are new, resume what is unfinished; then let the clock run."""
        for plan in self._plans.values():
            await self.store.keep_graph(plan)
        first_seen = [
            ScheduleStarted(self.now(), name)
            for name in self.jobs
            if self.is_active(name) and self.timeline(name).cursor is None
        ]
        if first_seen:
            await self.store.promptly(self.store.offer(first_seen).durable)
        plans: list[tuple[ExecutionRecord, Plan]] = []
        for record in unfinished(self.store.ledger.live.values()):
            try:
                lost = self.store.ledger.broken.get(record.id)
                plan = await self._plan_of(record, self.jobs.get(record.job))
            except CodecError as error:
                lost = lost or str(error)
            if lost is not None:
                await self.store.append(end_broken(record, self.now(), f"its record is damaged: {lost}"))
                continue
            plans.append((record, plan))
        for record, plan in plans:  # without a pause in between: a parent must find its child resumed
            job = self.jobs.get(record.job)
            account = self._gate.account(record.id, job)
            machine, step = ExecutionMachine.restore(plan, record, self.now(), account.ask)
            waits = record.trigger == "at" and record.state is State.NOTSTARTED
            begins_at = record.scheduled_for if waits else None
            self._supervise(machine, job, record.params, step, account, begins_at=begins_at)
        self._nursery.start_soon(self._scheduler.run, name="scheduler")
        self._resume_backfills()
        for name, definition in self.jobs.items():
            if definition.watch is not None:
                self._nursery.start_soon(watch, name, definition.watch, self, name=f"watch of {name}")
        triggers = Triggers(self.jobs, self)
        if triggers.needed:
            self._nursery.start_soon(triggers.run, await triggers.open(), name="triggers")

    async def _plan_of(self, record: ExecutionRecord, job: Job | None) -> Plan:
        """Return the graph an execution began with: the job's own, if that is still the same.

        Raises:
            CodecError: it is lost.
        """
        plan = self._plans.get(record.job)
        if plan is not None and plan.digest == record.definition:
            return plan
        return plan_shape(record.job, await self.store.graph(record.definition), job)

    async def _drain(self, grace: float) -> None:
        """Take no more work and start no more tasks; give what runs `grace` seconds to end."""
        self._closing = True
        for execution in self._executions.values():
            execution._supervisor.machine.hold()
        with trio.move_on_after(grace):
            for execution in list(self._executions.values()):
                await execution._supervisor.until_idle()


@asynccontextmanager
async def open_engine(
    store: str | Backend = "memory://",
    jobs: Iterable[JobSource] = (),
    *,
    max_active_tasks: int | None = None,
    pools: Mapping[str, int] | None = None,
    grace: float = 0.0,
    environment: Environment | None = None,
    takeover: bool = False,
) -> AsyncIterator[Engine]:
    """Run an engine for the length of a block.

    On entry the store is opened, unfinished executions are resumed and schedules begin. When the block is left, nothing
    new starts, running tasks get `grace` seconds, and what then still runs is cut off; executions that are
    unfinished stay in the store and are resumed by the next engine that opens it.

    Args:
        store: URL or backend object. The engine closes it.
        jobs: jobs, or functions that return one.
        max_active_tasks: how many tasks of all executions run at once; None is `limits.ACTIVE_TASKS`.
        pools: slots of named pools, such as `{"db": 3}`; a task takes some by `Task(pool="db", pool_slots=1)`.
        grace: seconds that running tasks get at the end.
        environment: clock and randomness; the machine's own by default.
        takeover: take the store from another engine that holds it, once that one's lease has run out: a machine that
            is gone does not give it back. An engine that died on this machine is always taken over from, at once.

    Raises:
        DefinitionError: a job is wrong; the store was not opened.
        UsageError: the store's URL is wrong, or a number of slots.
        StoreInUse: another engine holds the store.
        StoreFenced: another engine has taken the store over; raised at the end of the block, which is cancelled.
        StoreError: the store cannot be used.
    """
    registered = with_children(build_job(source) for source in jobs)
    check_triggers(registered)
    gate = Gate(registered, max_active_tasks, pools)
    world = environment or real_environment()
    backend = await open_backend(store)
    try:
        policies = {job.name: job.retention for job in registered.values() if job.retention is not None}
        opened = await open_store(backend, world, takeover=takeover, policies=policies)
    except BaseException:
        with trio.move_on_after(limits.STORE_SECONDS, shield=True):
            await backend.aclose()
        raise
    failure: BaseException | None = None
    outputs = Outputs(opened, world)
    executors = Executors()
    try:
        with task_logging():
            async with processes.guard(), trio.open_nursery() as nursery:
                nursery.start_soon(opened.run, name="store")
                nursery.start_soon(outputs.run, name="outputs")
                threads = world.operator_threads or trio.CapacityLimiter(limits.OPERATOR_THREADS)
                surroundings = Surroundings(opened, world, threads, outputs, executors=executors)
                if environment is None:  # in virtual time nothing is late
                    surroundings.watchdog = Watchdog()
                    nursery.start_soon(surroundings.watchdog.run, name="watchdog")
                engine = Engine(surroundings, gate, registered, nursery)
                await engine._begin()  # opening an engine is this module's business
                try:
                    yield engine
                except BaseException as error:  # noqa: BLE001, ASYNC103  # raised again below: a nursery would wrap it
                    failure = error
                with trio.CancelScope(shield=True):
                    await engine._drain(grace)
                opened.feed.close()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = failure if isinstance(failure, Exception) else only_error(group)
    finally:  # each shields itself, with a time-out
        await executors.aclose()  # noqa: ASYNC102
        await outputs.aclose()  # noqa: ASYNC102
        await opened.close()  # noqa: ASYNC102
    if opened.lost is not None:  # what came after that is only its consequence
        raise opened.lost
    if failure is not None:
        raise failure


def _merged_params(job: Job, params: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = job.check_params(params or {})
    plain = codec.storable(merged, limits.PARAMS_BYTES)
    if "$unstored" in plain:
        raise UsageError(f"job {job.name!r}: these parameters cannot be stored: {plain['reason']}")
    return dict(plain)


def _cancelled(record: ExecutionRecord) -> int:
    return sum(task.state is State.CANCELLED for task in record.tasks.values())
