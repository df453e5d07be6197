"""The contract of executors: what runs the work of an attempt somewhere else than in the engine's loop."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.base import Prepared


@runtime_checkable
class Executor(Protocol):
    """Runs the plain functions of attempts. One object serves many tasks, and many attempts at the same time.

    An implementer's obligations:

    - `check` is called for each task when its job is registered, before anything runs, and must not block.
    - `run` calls the work at most once. It opens what it needs when it is first called, and again after `aclose`: an
      executor may outlive the engine that used it.
    - Whatever the work raises is raised, with the traceback of where it ran as its cause (`RemoteTraceback`). A worker
      that died is an error, `WorkerLost`; what cannot take work at all is `ExecutorUnavailable`. Neither is ever
      `trio.Cancelled`.
    - `run` ends soon when it is cancelled, and is honest: work that cannot be stopped and goes on is counted in
      `current_toll`, as is a process that is killed. What goes on is dropped when it is done.
    - What the work prints, logs and hands to `context.log` goes to the outlets of the context, at the latest when
      `run` ends.
    - `aclose` ends what `run` opened; the engine calls it at its end, when no `run` is left.
    """

    def check(self, work: Prepared, task: str) -> None:
        """Refuse work that could never run here.

        Args:
            work: the task's operator, looked at.
            task: the task's name, for the message.

        Raises:
            DefinitionError: it cannot run here, or this executor cannot run at all; the message says what to do.
        """
        ...  # pragma: no cover

    async def run(self, work: Prepared, context: TaskContext) -> Any:
        """Do the work of one attempt and return its result."""
        ...  # pragma: no cover

    async def aclose(self) -> None:
        """End what was opened, if anything was."""
        ...  # pragma: no cover


def check_plain(work: Prepared, task: str) -> None:
    """Refuse a coroutine function: it lives in the engine's loop.

    Raises:
        DefinitionError: it is one.
    """
    if work.asynchronous:
        name = getattr(work.call, "__qualname__", type(work.call).__name__)
        raise DefinitionError(
            f"task {task!r}: {name} is async and runs in the engine's loop only; make it a plain function, or leave"
            " executor out"
        )


def check_extra(module: str, extra: str, task: str) -> None:
    """Refuse to begin without the package that an executor stands on.

    Raises:
        DefinitionError: it is not installed.
    """
    if find_spec(module) is None:
        raise DefinitionError(
            f"task {task!r}: its executor needs the package {module.replace('_', '-')}; install goflow-trio[{extra}]"
        )
