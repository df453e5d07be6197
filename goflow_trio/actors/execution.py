"""What a caller holds of an execution: a handle to wait for it and to end it, and the receipt of an end.

A handle does nothing itself. It reads what is durable, and talks to the execution's actor.
"""

from __future__ import annotations

import trio
from attrs import evolve, frozen

from goflow_trio.actors.ledger import Ledger
from goflow_trio.actors.supervisor import Supervisor
from goflow_trio.core.messages import CancelRequested, Report, TaskCancelRequested
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State
from goflow_trio.errors import EngineClosed, UnknownTask


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

    def __init__(self, ledger: Ledger, supervisor: Supervisor, last: ExecutionRecord | None = None) -> None:
        self.id = supervisor.machine.execution
        self.job = supervisor.machine.plan.job
        self._ledger = ledger
        self._supervisor = supervisor
        self._last = last

    @property
    def record(self) -> ExecutionRecord:
        """What is durable of it now. It goes on changing until the execution is finished."""
        if self._last is None or not self._last.state.is_final:
            self._last = self._ledger.find(self.id) or self._last
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

    async def cancel(
        self, reason: str = "", *, force: bool = False, task: str | None = None, by: str = ""
    ) -> CancelReceipt:
        """End it: running tasks are cancelled, clean-up tasks (`allDone`) run; returns when nothing is left.

        Args:
            reason: kept in the record.
            force: end clean-up tasks too.
            task: end this task only, or keep it from starting. What comes after it follows its trigger rule.
            by: who asks; kept with the reason.

        Raises:
            UnknownTask: it has no such task.
            EngineClosed: the engine ended before that.
        """
        begun = trio.current_time()
        reason = _told(reason, by)
        before, toll = _cancelled(self.record), evolve(self._supervisor.toll)
        if task is None:
            self._supervisor.send(CancelRequested(reason, force))
            record = await self.wait()
        else:
            if task not in self.record.tasks:
                raise UnknownTask(f"execution {self.id} of job {self.job!r} has no task {task!r}")
            self._supervisor.send(TaskCancelRequested(task, reason))
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


def _told(reason: str, by: str) -> str:
    """Return why and by whom, in one line."""
    who = f"cancelled by {by}" if by else "cancelled"
    return f"{reason} ({who})" if reason and by else reason or who


def _cancelled(record: ExecutionRecord) -> int:
    return sum(task.state is State.CANCELLED for task in record.tasks.values())
