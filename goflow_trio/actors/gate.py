"""The engine's limits on what runs at once: which there are, and what each execution claims of them.

`core/slots.py` decides who is next. Here is what a task needs, read from its definition, and one `Account` for each
execution, which is closed with it: so no slot outlives the execution it was for, whatever happened to its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from goflow_trio.core import limits
from goflow_trio.core.slots import Claim, Slots, Standing
from goflow_trio.errors import DefinitionError, UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task

TASKS = "tasks of the engine"

_HOLDERS_SHOWN = 20


@frozen
class Limit:
    """One limit of what runs at once, and how it stands.

    Args:
        name: what is limited: `tasks of the engine`, `pool db`, `tasks of job x`, `executions of job x`.
        capacity: its slots.
        used: how many are held.
        waiting: how many tasks, or executions, that need some of them wait.
        held_by: who holds some, the first of them, as `"execution/task"`; an execution as a whole is its id alone.
    """

    name: str
    capacity: int
    used: int
    waiting: int
    held_by: tuple[str, ...] = ()


class Gate:
    """All limits of an engine.

    Args:
        jobs: the registered jobs.
        max_active_tasks: how many tasks run at once; None is `limits.ACTIVE_TASKS`.
        pools: slots of named pools.

    Raises:
        UsageError: a number is wrong.
        DefinitionError: a task needs a pool that there is not, or more slots than it has.
    """

    def __init__(
        self, jobs: Mapping[str, Job], max_active_tasks: int | None = None, pools: Mapping[str, int] | None = None
    ) -> None:
        capacity = {TASKS: _count("max_active_tasks", max_active_tasks or limits.ACTIVE_TASKS)}
        for name, slots in (pools or {}).items():
            capacity[_pool(name)] = _count(f"pool {name!r}", slots)
        for job in jobs.values():
            most = 1 if job.overlap == "queue" else job.max_active_executions
            if most is not None:
                capacity[_executions(job.name)] = most
            if job.max_active_tasks_total is not None:
                capacity[_tasks(job.name)] = job.max_active_tasks_total
            for task in job:
                if task.pool is not None:
                    _check_pool(capacity, job.name, task)
        self.slots = Slots(capacity)

    def standing(self) -> list[Limit]:
        """Return how all limits stand."""
        slots = self.slots
        return [
            Limit(name, capacity, slots.used[name], slots.waiting(name), _shown(slots.holders(name)))
            for name, capacity in slots.capacity.items()
        ]

    def account(self, execution: str, job: Job | None) -> Account:
        """Open the account of an execution.

        Args:
            execution: its id.
            job: its job; None if it is not registered any more.
        """
        return Account(self.slots, execution, job)


class Account:
    """What one execution holds and waits for."""

    def __init__(self, slots: Slots, execution: str, job: Job | None) -> None:
        self.tell: Callable[[str], Any] = _tell_nobody
        """Called with a task's name when it has its slots after waiting; with an empty one for the execution."""
        self._slots = slots
        self._execution = execution
        self._claims: dict[str, Claim] = {}
        self._common = {name: 1 for name in (TASKS, _tasks(job.name if job else "")) if name in slots.capacity}
        self._place = _executions(job.name) if job is not None else ""

    def enter(self, *, force: bool = False) -> bool:
        """Ask for the execution's own place among those of its job; return whether it has it now.

        Args:
            force: take it even if there is none: it was running already when the server restarted.
        """
        if self._place not in self._slots.capacity:
            return True
        return self._ask("", {self._place: 1}, 0, force=force)

    def ask(self, task: str, definition: Task) -> bool:
        """Ask for the slots of a task; return whether it has them now. If not, `tell` is called when it has.

        Args:
            task: its name, or that of an item of a map.
            definition: what it is an execution of.
        """
        known = self._claims.get(task)
        if known is not None:
            return known.standing is Standing.HELD
        if definition.pool is None:
            return self._ask(task, self._common, definition.priority)
        return self._ask(task, {**self._common, _pool(definition.pool): definition.pool_slots}, definition.priority)

    def _ask(self, task: str, needs: Mapping[str, int], priority: int, *, force: bool = False) -> bool:
        claim = Claim((self._execution, task), needs, priority, lambda: self.tell(task))
        self._claims[task] = claim
        return self._slots.take(claim) if force else self._slots.ask(claim)

    def release(self, task: str) -> None:
        """Give back what a task has, or end its waiting."""
        claim = self._claims.pop(task, None)
        if claim is not None:
            self._slots.release(claim)

    @contextmanager
    def holding(self, task: str) -> Iterator[None]:
        """Give back what a task has at the end of a block, however it ends."""
        try:
            yield
        finally:
            self.release(task)

    def lacking(self, task: str) -> dict[str, list[tuple[tuple[str, str], int]]]:
        """Return the limits that a task (the execution: an empty name) waits for, and who holds their slots."""
        claim = self._claims.get(task)
        if claim is None or claim.standing is not Standing.WAITING:
            return {}
        return {name: self._slots.holders(name) for name in self._slots.lacking(claim)}

    def capacity(self, name: str) -> int:
        """Return how many slots a limit has."""
        return self._slots.capacity[name]

    def close(self) -> None:
        """Give back everything, and forget who was told: what is over leaves memory at once, and no cycle behind."""
        for task in list(self._claims):
            self.release(task)
        self.tell = _tell_nobody


def _tell_nobody(_task: str) -> None:
    pass


def _shown(holders: list[tuple[tuple[str, str], int]]) -> tuple[str, ...]:
    return tuple("/".join(filter(None, holder)) for holder, _ in holders[:_HOLDERS_SHOWN])


def _pool(name: str) -> str:
    return f"pool {name}"


def _executions(job: str) -> str:
    return f"executions of job {job}"


def _tasks(job: str) -> str:
    return f"tasks of job {job}"


def _count(what: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} must be a whole number of slots, 1 or more, got {value!r}")
    return value


def _check_pool(capacity: Mapping[str, int], job: str, task: Any) -> None:
    slots = capacity.get(_pool(task.pool))
    if slots is None:
        raise DefinitionError(
            f"job {job!r}: task {task.name!r} needs the pool {task.pool!r}, which the engine does not have; "
            f"give it one: pools={{{task.pool!r}: {task.pool_slots}}}, or --pool {task.pool}={task.pool_slots}"
        )
    if task.pool_slots > slots:
        raise DefinitionError(
            f"job {job!r}: task {task.name!r} needs {task.pool_slots} slots of the pool {task.pool!r}, "
            f"which has {slots}; enlarge the pool"
        )
