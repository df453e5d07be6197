"""What all supervisors of an engine share: its store, its clock, its threads; and how an attempt runs a child.

Supervisors do not know the engine. What they need of it is handed to them here, when the engine is opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio
from attrs import define, field, frozen

from goflow_trio.actors.environment import Environment
from goflow_trio.actors.executing import Executors
from goflow_trio.actors.health import Cause, Condition
from goflow_trio.actors.mapping import prepare_items
from goflow_trio.actors.outputs import Outputs
from goflow_trio.actors.store import Store
from goflow_trio.actors.watchdog import Watchdog
from goflow_trio.errors import DefinitionError
from goflow_trio.executors.base import Executor
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from goflow_trio.operators.base import Prepared, prepare
from goflow_trio.operators.toll import Strays


@frozen
class Parent:
    """The attempt that runs a child.

    Args:
        execution: its execution.
        task: its task.
        attempt: its number.
        child: the id of the child.
        again: whether an earlier attempt ran the same child, so that it goes on from what failed in it.
        scope: what ends the attempt.
    """

    execution: str
    task: str
    attempt: int
    child: str
    again: bool
    scope: trio.CancelScope

    @property
    def name(self) -> str:
        """How the child's record calls it."""
        return f"{self.execution}/{self.task}/{self.attempt}"


async def _no_children(parent: Parent, job: str, params: Mapping[str, Any]) -> Any:
    raise NotImplementedError("the engine says how a child is run")


def _no_child(child: str) -> None:
    raise NotImplementedError("the engine says how a child is ended")


@frozen
class Work:
    """What a task has to call: its operator and where it runs, its condition, and what gives its items."""

    operator: Prepared
    executor: Executor | None
    when: Prepared | None
    items: Prepared | None


def _work_of(task: Task, executors: Executors) -> Work:
    when = None if task.when is None else prepare(task.when, task=task.name)
    items = None if task.over is None else prepare_items(task)
    operator = prepare(task.operator, task=task.name)
    return Work(operator, executors.of(task, operator), when, items)


@contextmanager
def named_in_errors(job: Job) -> Iterator[None]:
    """Name a job before what is said of its tasks, which do not know it."""
    try:
        yield
    except DefinitionError as error:
        raise DefinitionError(f"job {job.name!r}: {error}") from None


def check_work(jobs: Iterable[Job]) -> None:
    """Refuse tasks that could not be called, or not where they are to run.

    Raises:
        DefinitionError: there is one.
    """
    executors = Executors()
    for job in jobs:
        with named_in_errors(job):
            for task in job:
                _work_of(task, executors)


@define(eq=False)
class Surroundings:
    """What all supervisors of an engine share.

    Args:
        store: the store actor's door.
        environment: the clock.
        threads: counts the threads of synchronous operators.
        outputs: takes what attempts print.
        strays: counts the threads that nobody waits for any more.
        run_child: runs a job as the child of an attempt, see `actors/children.py`.
        force_child: passes on to a child that clean-up is to be ended too.
        watchdog: tells when the loop was blocked; there is none in virtual time.
        operators: operators, looked at once, by identity of the task's definition.
        executors: where tasks run that do not run here.
    """

    store: Store
    environment: Environment
    threads: trio.CapacityLimiter
    outputs: Outputs
    strays: Strays = field(factory=Strays)
    run_child: Callable[[Parent, str, Mapping[str, Any]], Awaitable[Any]] = _no_children
    force_child: Callable[[str], None] = _no_child
    watchdog: Watchdog | None = None
    operators: dict[int, Work] = field(factory=dict)
    executors: Executors = field(factory=Executors)

    def causes(self) -> list[Cause]:
        """Return what of the work that is done is bad for the rest."""
        found = [] if self.watchdog is None else [self.watchdog.cause()]
        stray, most = self.strays.count, self.threads.total_tokens
        if 2 * stray >= most:
            detail = f"{stray} of {most:g} threads for plain functions are held by work that was cut off"
            found.append(Cause(Condition.DEGRADED, "threads abandoned", detail, blocks=False))
        return [cause for cause in found if cause is not None]

    def prepared(self, task: Task) -> Work:
        """Return what a task has to call, looked at only once: that costs 35 µs."""
        known = self.operators.get(id(task))
        if known is None:
            known = self.operators[id(task)] = _work_of(task, self.executors)
        return known
