"""How often each task of an execution ran, and how much of its retries and of its time that has used up."""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core.plan import PlannedTask
from goflow_trio.core.record import ExecutionRecord, TaskRecord
from goflow_trio.core.states import State

INTERRUPTED = "interrupted"
"""Reason of an attempt that ended because the engine did."""

GAVE_UP = "gave up"
"""Reason of an attempt after which no other follows: its work raised `GiveUp`."""


class Attempts:
    """The attempts of all tasks, by place.

    An attempt's number never comes again. What counts against a task's retries is less: not what ran before the
    execution was opened again, and not an attempt that was spared, as it was no fault of the task.

    Args:
        count: how many tasks the plan has.

    Attributes:
        latest: number of each task's latest attempt; 0 is none.
        children: the child that a task's next attempt goes on with, instead of one of its own.
    """

    def __init__(self, count: int) -> None:
        self.latest = [0] * count
        self.children: dict[int, str] = {}
        self._earlier: dict[int, int] = {}  # those before the execution was opened again
        self._former: dict[str, int] = {}  # the same of what was an item then; it may become one again
        self._spared: dict[int, int] = {}
        self._interruptions: dict[int, int] = {}
        self._began: dict[int, datetime] = {}  # the first one, of tasks with a limit on all attempts together

    def fresh(self, index: int) -> int:
        """Return how many a task had since the execution was last opened."""
        return self.latest[index] - self._earlier.get(index, 0)

    def counted(self, index: int) -> int:
        """Return how many of them count against its retries."""
        return self.fresh(index) - self._spared.get(index, 0)

    def begin(self, index: int, task: PlannedTask, now: datetime) -> None:
        """Note that the next attempt of a task runs."""
        self.latest[index] += 1
        if task.total_timeout is not None:
            self._began.setdefault(index, now)

    def time_left(self, index: int, task: PlannedTask, moment: datetime) -> float | None:
        """Return the seconds that are left of a task's time at a moment, all its attempts together; None: no limit."""
        most = task.total_timeout
        if most is None:
            return None
        return max(0.0, most - (moment - self._began.get(index, moment)).total_seconds())

    def spare(self, index: int) -> None:
        """Note that the latest attempt of a task does not count against its retries."""
        self._spared[index] = self._spared.get(index, 0) + 1

    def interrupt(self, index: int) -> int:
        """Note that the engine's end cut an attempt of a task; return how often that has happened."""
        crashes = self._interruptions[index] = self._interruptions.get(index, 0) + 1
        return crashes

    def add_item(self, index: int, name: str) -> None:
        """Make room for an item of a map, at the next place."""
        former = self._former.get(name, 0)
        if former:
            self._earlier[index] = former
        self.latest.append(former)

    def load(self, index: int, task: TaskRecord, planned: PlannedTask) -> None:
        """Take in what a record knows of a task's attempts."""
        self.latest[index] = task.attempt
        if task.spared:
            self._spared[index] = task.spared
        if task.earlier:
            self._earlier[index] = task.earlier
        interruptions = sum(attempt.reason == INTERRUPTED for attempt in task.attempts[task.earlier :])
        if interruptions:
            self._interruptions[index] = interruptions
        if planned.total_timeout is not None and task.attempt > task.earlier:
            self._began[index] = task.attempts[task.earlier].started

    def load_child(self, index: int, task: TaskRecord) -> None:
        """Take in which child a task ran before the execution was opened again, to go on with that."""
        last = task.attempts[-1]
        if task.earlier == task.attempt and last.child and last.state is not State.SUCCESSFUL:
            self.children[index] = last.child

    def load_former(self, record: ExecutionRecord) -> None:
        """Take in how often those ran that are no items (any more)."""
        for task in record.tasks.values():
            mapped = record.tasks.get(task.mapped_from)
            if mapped is not None and (mapped.items is None or (task.index or 0) >= mapped.items):
                self._former[task.name] = task.attempt
