"""Resources of one execution: opened before the first task that uses them, closed after the last.

Each open resource is held by an actor of its own in the execution's nursery, since a context manager of trio is entered
and left by one and the same task. Attempts wait for it to be open; what goes wrong then is theirs. What goes wrong when
it is closed is logged and changes nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from typing import Any

import trio
from attrs import define, field

from goflow_trio.core import limits
from goflow_trio.core.messages import Event, TaskCancelled, TaskFailed, TaskSkipped, TaskSucceeded
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import OperatorError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.resource import Resource
from goflow_trio.operators.base import prepare

logger = logging.getLogger("goflow_trio.resources")

_ENDS = (TaskSucceeded, TaskFailed, TaskSkipped, TaskCancelled)


@define(eq=False)
class _Held:
    """One resource that is being opened, is open, or is being closed."""

    opened: trio.Event = field(factory=trio.Event)
    done: trio.Event = field(factory=trio.Event)
    closed: trio.Event = field(factory=trio.Event)
    value: Any = None
    error: BaseException | None = None


class Resources:
    """The resources of one execution.

    Args:
        job: the job that declares them.
        record: the execution, for the tasks that have not ended.
        nursery: where the actors that hold them live.
    """

    def __init__(self, job: Job, record: ExecutionRecord, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._execution = record.id
        self._declared = job.resources
        self._held: dict[str, _Held] = {}
        unfinished = [task.name for task in record.tasks.values() if not task.state.is_final and not task.mapped_from]
        self._left = {
            name: sum(resource.is_used_by(task) for task in unfinished) for name, resource in job.resources.items()
        }

    async def open(self, task: str, context: TaskContext) -> dict[str, Any]:
        """Return what a task uses, open, by name.

        Args:
            task: the task; of an item, its map.
            context: the attempt that is the first to use it, where its factory asks for one.
        """
        return {
            name: await self._open_one(resource, context)
            for name, resource in self._declared.items()
            if resource.is_used_by(task)
        }

    async def _open_one(self, resource: Resource, context: TaskContext) -> Any:
        held = self._held.get(resource.name)
        if held is None:
            held = self._held[resource.name] = _Held()
            self._nursery.start_soon(self._hold, resource, held, context, name=f"resource {resource.name}")
        await held.opened.wait()
        if held.error is not None:
            cause = f"{type(held.error).__name__}: {held.error}"
            raise OperatorError(f"resource {resource.name!r} could not be opened: {cause}") from held.error
        return held.value

    async def _hold(self, resource: Resource, held: _Held, context: TaskContext) -> None:
        try:
            async with _made(resource, context) as value:
                held.value = value
                held.opened.set()
                await held.done.wait()
        except trio.Cancelled:
            raise
        except BaseException as error:  # its code is the user's
            if isinstance(error, BaseExceptionGroup) and error.subgroup(trio.Cancelled) is not None:
                raise
            held.error = error
            if held.opened.is_set():
                logger.warning(
                    "execution %s: resource %r broke, or its closing did", self._execution, resource.name, exc_info=True
                )
        finally:
            if self._held.get(resource.name) is held:  # the next that uses it opens it anew
                del self._held[resource.name]
            held.opened.set()
            held.closed.set()

    def follow(self, events: Iterable[Event]) -> None:
        """Close what the last user of has ended."""
        for event in events:
            if not isinstance(event, _ENDS):
                continue
            for name, resource in self._declared.items():
                if resource.is_used_by(event.task):
                    self._left[name] -= 1
                    if self._left[name] == 0 and name in self._held:
                        self._held[name].done.set()

    async def aclose(self) -> None:
        """Close what is open and wait until it is, for `limits.RESOURCE_SECONDS` at most."""
        held = dict(self._held)
        for one in held.values():
            one.done.set()
        with trio.move_on_after(limits.RESOURCE_SECONDS):
            for one in held.values():
                await one.closed.wait()
        for name in [name for name, one in held.items() if not one.closed.is_set()]:
            logger.warning(
                "execution %s: closing resource %r took over %g s and is cut off",
                self._execution,
                name,
                limits.RESOURCE_SECONDS,
            )


def _made(resource: Resource, context: TaskContext) -> Any:
    """Return the context manager that a factory makes."""
    factory = resource.factory
    takes_context = not inspect.isclass(factory) and prepare(factory).takes_context
    made = factory(context) if takes_context else factory()
    if not hasattr(made, "__aenter__"):
        raise TypeError(f"its factory must return an async context manager, got {type(made).__name__}")
    return made


class UsedResources(dict[str, Any]):
    """What one attempt uses; a name it does not use is refused with the mend.

    Args:
        task: the task's name.
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        self._task = task

    def __missing__(self, name: str) -> Any:
        used = ", ".join(self) or "none"
        raise OperatorError(
            f"task {self._task!r} uses no resource {name!r} (it uses: {used}); name it in job.resource(…, users=…)"
        )
