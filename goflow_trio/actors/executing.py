"""The executors of an engine: made when a task names one, checked when it is registered, closed at the engine's end."""

from __future__ import annotations

import logging
from typing import cast

import trio

from goflow_trio.core import limits
from goflow_trio.executors import Executor, Process, Thread
from goflow_trio.jobs.task import Task
from goflow_trio.operators.base import Prepared

logger = logging.getLogger("goflow_trio.executors")


class Executors:
    """All executors that the engine's tasks run in."""

    def __init__(self) -> None:
        self._named: dict[str, Executor] = {}
        self._all: dict[int, Executor] = {}

    def of(self, task: Task, work: Prepared) -> Executor | None:
        """Return where a task runs; None is here.

        Raises:
            DefinitionError: its work cannot run there.
        """
        if task.executor is None:
            return None
        executor = self._make(task.executor) if isinstance(task.executor, str) else cast("Executor", task.executor)
        executor.check(work, task.name)
        self._all[id(executor)] = executor
        return executor

    def _make(self, name: str) -> Executor:
        """Return the executor of a name; all who say it share one."""
        if name not in self._named:
            self._named[name] = Process() if name == "process" else Thread()
        return self._named[name]

    async def aclose(self) -> None:
        """Close all, side by side. What cannot be closed is logged and left."""
        async with trio.open_nursery() as nursery:
            for executor in self._all.values():
                nursery.start_soon(self._close, executor)

    @staticmethod
    async def _close(executor: Executor) -> None:
        try:
            with trio.move_on_after(limits.EXECUTOR_CLOSE_SECONDS):
                await executor.aclose()
        except Exception:
            logger.warning("%r could not be closed", executor, exc_info=True)
