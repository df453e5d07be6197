"""The executions that an engine has not finished: from when one is taken on until nothing of it is left.

Each has a supervisor, which runs in the engine's nursery. A fault in one stays in it. One that is to begin later is
here from the start, but counts towards no limit of its job until then.

Every way to begin one goes through here, and is refused here when the engine cannot take on more: `submitting` for new
ones, `resuming` for those that there were before.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import trio

from goflow_trio.actors.execution import CancelReceipt, Execution
from goflow_trio.actors.gate import Account, Gate
from goflow_trio.actors.groups import only_error
from goflow_trio.actors.health import Cause, Condition
from goflow_trio.actors.registry import Registry
from goflow_trio.actors.store import Withdrawn
from goflow_trio.actors.supervisor import Supervisor
from goflow_trio.actors.surroundings import Surroundings
from goflow_trio.actors.waiting import Waiting, waiting_tasks
from goflow_trio.core import limits
from goflow_trio.core.approving import was_answered_so
from goflow_trio.core.board import Step
from goflow_trio.core.ending import end_broken
from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.messages import Decided
from goflow_trio.core.plan import plan_shape
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State
from goflow_trio.errors import (
    EngineClosed,
    EngineDraining,
    Overloaded,
    StoreUnavailable,
    UnknownExecution,
    UnknownTask,
    WrongState,
)
from goflow_trio.jobs.job import Job

logger = logging.getLogger("goflow_trio.engine")


class Executions:
    """Unfinished executions, each with its actor. Iterate over it for their handles.

    Args:
        registry: the engine's jobs.
        world: what supervisors share.
        gate: the limits of what runs at once.
        nursery: where supervisors run.
        call_at: calls a function when the wall clock shows an instant.

    Attributes:
        closing: whether the engine ends: it takes on no more.
        draining: since when it finishes what it has and takes on nothing new; None while it does.
    """

    def __init__(
        self,
        registry: Registry,
        world: Surroundings,
        gate: Gate,
        nursery: trio.Nursery,
        call_at: Callable[[datetime, Callable[[], object]], None],
    ) -> None:
        self.registry = registry
        self.world = world
        self.store = world.store
        self.gate = gate
        self.closing = False
        self.draining: datetime | None = None
        self._nursery = nursery
        self._call_at = call_at
        self._all: dict[str, Execution] = {}
        self._active: Counter[str] = Counter()  # by job, without those that are postponed
        self._postponed: set[str] = set()

    def __iter__(self) -> Iterator[Execution]:
        return iter(list(self._all.values()))  # they come and go meanwhile

    def now(self) -> datetime:
        """Return the wall-clock time (aware, UTC)."""
        return self.world.environment.now()

    def new_id(self) -> str:
        """Return the id of a new execution."""
        return self.world.environment.new_id()

    # Looking ---------------------------------------------------------------------------------------

    def running(self, execution_id: str) -> Execution | None:
        """Return the handle on an unfinished execution; None if none of this id is unfinished here."""
        return self._all.get(execution_id)

    def execution(self, execution_id: str) -> Execution:
        """Return the handle on an unfinished execution.

        Raises:
            UnknownExecution: none of this id is unfinished here.
        """
        try:
            return self._all[execution_id]
        except KeyError:
            raise UnknownExecution(f"no unfinished execution has the id {execution_id!r}") from None

    def active(self, job: str) -> int:
        """Return how many executions of a job are unfinished, and not postponed."""
        return self._active[job]

    def waiting(self, execution_id: str) -> list[Waiting]:
        """Return what the tasks of an unfinished execution wait for; see `Engine.waiting`."""
        return waiting_tasks(self.execution(execution_id)._supervisor)

    async def known(self, execution_id: str, task: str | None = None) -> ExecutionRecord:
        """Return the record of an execution, finished or not.

        Args:
            execution_id: which.
            task: a task that it has to have.

        Raises:
            UnknownExecution: there is none of this id.
            UnknownTask: it has no such task.
            StoreUnavailable: it is not at hand, and the store does not answer.
        """
        record = await self.store.find(execution_id)
        if record is None:
            raise UnknownExecution(f"no execution has the id {execution_id[:100]!r}; it may be older than what is kept")
        if task is not None and task not in record.tasks:
            raise UnknownTask(f"execution {execution_id} of job {record.job!r} has no task {task!r}")
        return record

    async def finished(self, execution_id: str) -> Execution | None:
        """Return a handle on an execution that is over; None if none of this id is."""
        record = await self.store.find(execution_id)
        if record is None or not record.state.is_final:
            return None
        machine = ExecutionMachine(plan_shape(record.job, (), None), record.id)
        supervisor = Supervisor(machine, None, record.params, self.gate.account(record.id, None), self.world)
        supervisor.close()
        return Execution(self.store.ledger, supervisor, record)

    # Taking on, and letting go -----------------------------------------------------------------------

    def check_open(self, more: int = 1) -> None:
        """Check that the engine can take on more.

        Args:
            more: how many executions.

        Raises:
            EngineClosed: it ends.
            StoreUnavailable: nothing would become durable.
            Overloaded: too many are unfinished.
        """
        if self.closing:
            raise EngineClosed("the engine is shutting down and takes no more work")
        if self.store.problem is not None:
            raise StoreUnavailable(f"the store does not take writes now: {self.store.problem}")
        if len(self._all) + more > limits.ACTIVE_EXECUTIONS:
            raise Overloaded(f"{limits.ACTIVE_EXECUTIONS} executions are unfinished, which is the limit; try later")

    def check_takes_new(self, more: int = 1) -> None:
        """Check that the engine takes on what nobody has begun yet.

        Args:
            more: how many executions.

        Raises:
            EngineDraining: it was told not to.
            EngineClosed, StoreUnavailable, Overloaded: see `check_open`.
        """
        self.check_open(more)
        if self.draining is not None:
            raise EngineDraining("the engine drains: it finishes what it has begun and takes on nothing new")

    def drain_cause(self) -> Cause | None:
        """Return what health says of draining, and of the end."""
        if self.draining is None and not self.closing:
            return None
        live = list(self.store.ledger.live.values())
        tasks = sum(task.state is State.RUNNING for record in live for task in record.tasks.values())
        left = (
            f"{_count(len(live), 'execution')} with {_count(tasks, 'running task')} left" if live else "nothing is left"
        )
        if self.closing:
            detail = f"{left}; no task starts any more, what is unfinished goes on with the next start"
            return Cause(Condition.DRAINING, "stopping", detail)
        detail = f"{left}; nothing new begins until that is taken back, or the next start"
        return Cause(Condition.DRAINING, "draining", detail, self.draining)

    def supervise(
        self,
        machine: ExecutionMachine,
        job: Job | None,
        params: Mapping[str, Any],
        step: Step,
        account: Account,
        *,
        begins_at: datetime | None = None,
    ) -> Execution:
        """Start the actor of an execution.

        Args:
            machine: its state.
            job: its definition; None if that is gone.
            params: its parameters.
            step: what bringing the machine to this state came to.
            account: what it may claim of the limits.
            begins_at: until when it is postponed.
        """
        supervisor = Supervisor(machine, job, params, account, self.world)
        execution = self._all[machine.execution] = Execution(self.store.ledger, supervisor)
        if begins_at is not None and begins_at > self.now():
            self._postponed.add(execution.id)
            supervisor.postpone(step)
            self._call_at(begins_at, partial(self._let_in, execution.id))
        else:
            self._active[execution.job] += 1
            supervisor.admit(step)
        self._nursery.start_soon(self._run, supervisor, name=f"execution {execution.id}")
        return execution

    def _let_in(self, execution_id: str) -> None:
        """Let a postponed execution begin, unless it is over."""
        if execution_id in self._postponed:
            self._postponed.remove(execution_id)
            execution = self._all[execution_id]
            self._active[execution.job] += 1
            execution._supervisor.let_in()

    async def _run(self, supervisor: Supervisor) -> None:
        """Keep a fault of ours in one execution from reaching the others, and from leaving it running for ever."""
        execution_id = supervisor.machine.execution
        try:
            await supervisor.run()
        except Exception as error:  # noqa: BLE001  # it is told, and ends this execution alone
            if isinstance(only_error(error), Withdrawn):  # whoever waited for it has said why
                self.store.ledger.held.pop(execution_id, None)
            else:
                await self._end_broken(execution_id, error)
        finally:
            execution = self._all.pop(execution_id)
            if execution_id in self._postponed:
                self._postponed.remove(execution_id)
            else:
                self._active[execution.job] -= 1
            execution._last = self.store.ledger.find(execution_id)  # whatever the caches forget
            supervisor.close()

    async def _end_broken(self, execution_id: str, error: Exception) -> None:
        logger.error("execution %s: internal error", execution_id, exc_info=error)
        record = self.store.ledger.live.get(execution_id)
        if record is not None:
            reason = f"internal error: {type(error).__name__}: {error}"[: limits.ERROR_CHARS]
            await self.store.append(end_broken(record, self.now(), reason))

    async def until_durable(self, execution: Execution) -> None:
        """Wait until it is certain that an execution is, or is not.

        Raises:
            StoreUnavailable: it is not, or that cannot be known now.
            EngineClosed: the engine ended before.
        """
        try:
            await self.store.promptly(execution._supervisor.durable.wait)
        except StoreUnavailable as error:
            if self.store.withdraw(execution.id):
                logger.warning(
                    "execution %s of job %s was withdrawn before it was written: %s; "
                    "whoever asked for it was told that nothing was begun",
                    execution.id,
                    execution.job,
                    error,
                )
                raise StoreUnavailable(f"{error}; nothing was begun, try again later") from None
            raise StoreUnavailable(
                f"{error}; what was being written at this moment may still come to be: an Idempotency-Key makes it "
                f"safe to try again (execution {execution.id})"
            ) from None
        if self.store.ledger.find(execution.id) is None and execution._last is None:
            if self.closing:
                raise EngineClosed("the engine shut down before the execution was durable; submit it again")
            raise StoreUnavailable("the store did not take it; nothing was begun, try again later")

    async def close(self, grace: float) -> None:
        """Take no more work and start no more tasks; give what runs `grace` seconds to end. The first call counts."""
        if self.closing:
            return
        self.closing = True
        for execution in self:
            execution._supervisor.machine.hold()
        with trio.move_on_after(grace):
            for execution in self:
                await execution._supervisor.until_idle()

    # What people want of one -------------------------------------------------------------------------

    async def cancel(self, execution_id: str, reason: str, *, force: bool, task: str | None, by: str) -> CancelReceipt:
        """End an execution, see `Engine.cancel`."""
        execution = self.running(execution_id)
        if execution is not None:
            return await execution.cancel(reason, force=force, task=task, by=by)
        await self.known(execution_id, task)
        return CancelReceipt()

    async def cancel_all(self, job: str, reason: str) -> None:
        """Cancel all unfinished executions of a job and wait until they are gone."""
        for execution in self:
            if execution.job == job:
                await execution.cancel(reason)

    async def approve(self, execution_id: str, task: str, *, approved: bool, by: str, comment: str) -> None:
        """Answer what a task asks, see `Engine.approve`."""
        self.check_open()
        await self.known(execution_id, task)
        execution = self.running(execution_id)
        if execution is None or execution.record.tasks[task].waiting != "approval":
            raise WrongState(f"task {task!r} of execution {execution_id} does not wait for an approval")
        attempt = execution.record.tasks[task].attempt
        await self.store.promptly(execution._supervisor.ask(Decided(task, approved, by, comment)))
        if not was_answered_so(execution.record.tasks[task], attempt, approved=approved, by=by):
            raise WrongState(f"task {task!r} of execution {execution_id} was answered or ended otherwise meanwhile")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
