"""Operators that steer an execution instead of doing work: choose, sleep, wait, ask.

A wait costs no slot and survives a restart: it says by its attribute `waits` that waiting is all it does (see `Wait` in
`jobs/task.py`), and asks `context.waited` how long it has waited already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import trio
from attrs import field, frozen

from goflow_trio.core import limits
from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.checks import check_seconds
from goflow_trio.jobs.context import TaskContext
from goflow_trio.jobs.task import Task, Wait
from goflow_trio.operators.base import call_operator, prepare

_threads: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("goflow_trio.conditions")


def _check_callable(instance: object, _attribute: object, fn: Any) -> None:
    try:
        prepare(fn)
    except DefinitionError as error:
        raise DefinitionError(f"{type(instance).__name__}: {error}") from None


def _check_seconds(instance: object, attribute: Any, value: Any) -> None:
    if value is None and attribute.default is not None:
        raise DefinitionError(f"{type(instance).__name__}: {attribute.name} must be a number of seconds, got None")
    check_seconds(f"{type(instance).__name__}: {attribute.name}", value)


@frozen
class Branch:
    """Choose which of the tasks directly after this one run: `Branch(fn)`; the others are skipped by choice.

    The function returns the name of one, or a list of names, or None for none of them. A name that is not directly
    downstream fails the task. A task after a branch starts only once the branch has ended, whatever its trigger rule; a
    task that joins the arms again takes the rule `noneFailedMinOneSuccessful`, or it is skipped with the arm that was.

    Args:
        fn: sync (called in a worker thread) or async; takes the context, or nothing.
    """

    fn: Callable[..., Any] = field(validator=_check_callable)
    chooses = True

    @property
    def run(self) -> Callable[..., Any]:
        """The function itself, so that whether it is async and what it takes is read from the original."""
        return self.fn


def chosen_names(result: object) -> tuple[str, ...]:
    """Return what the function of a branch returned as names.

    Raises:
        DefinitionError: it is no name and no list of names.
    """
    given = [result] if isinstance(result, str | Task) else [] if result is None else result
    if isinstance(given, Iterable) and not isinstance(given, bytes):
        names = [one.name if isinstance(one, Task) else one for one in given]
        if all(isinstance(name, str) for name in names):
            return tuple(dict.fromkeys(str(name) for name in names))
    raise DefinitionError(f"a branch returns the name of a task after it, a list of names, or None; got {result!r}")


@frozen
class Sleep:
    """Wait for some time, without holding a slot and across restarts: `Sleep(3600)`.

    Args:
        seconds: how long, counted from the attempt's start by the wall clock.
    """

    seconds: float = field(validator=_check_seconds)

    @property
    def waits(self) -> Wait:
        """What it waits for."""
        return Wait("sleep", f"sleeping for {self.seconds:g} s")

    async def run(self, context: TaskContext) -> None:
        """Wait for what is left of the time."""
        await trio.sleep(max(0.0, self.seconds - context.waited))


@frozen
class WaitFor:
    """Wait until a condition holds, without holding a slot and across restarts: `WaitFor(file_is_there, every=60)`.

    The condition is asked at once, then again and again. The first answer that is true in Python's sense is the
    result. A condition that raises fails the attempt.

    Args:
        predicate: sync (called in a worker thread) or async; takes the context, or nothing.
        every: seconds between an answer and the next question.
        timeout: seconds after which the attempt fails; None waits for ever. If they passed while the server was down,
            it is asked once more.
    """

    predicate: Callable[..., Any] = field(validator=_check_callable)
    every: float = field(default=60.0, validator=_check_seconds)
    timeout: float | None = field(default=None, validator=_check_seconds)

    @property
    def waits(self) -> Wait:
        """What it waits for."""
        name = getattr(self.predicate, "__name__", type(self.predicate).__name__)
        return Wait("condition", f"waiting for {name}, asked every {self.every:g} s")

    async def run(self, context: TaskContext) -> Any:
        """Ask until the answer is true."""
        predicate = prepare(self.predicate)
        left = float("inf") if self.timeout is None else self.timeout - context.waited
        if self.timeout is not None and context.waited:  # it may hold since while nobody asked: ask once more
            left = max(left, min(self.every, self.timeout))
        with trio.move_on_after(left):
            while True:
                answer = await call_operator(predicate, context, limiter=condition_threads())
                if answer:
                    return answer
                await trio.sleep(self.every)
        raise TimeoutError(f"its condition did not hold within {self.timeout:g} s")


def condition_threads() -> trio.CapacityLimiter:
    """Return what counts the threads of conditions: they hold no slot, so they may not starve what does."""
    try:
        return _threads.get()
    except LookupError:
        limiter = trio.CapacityLimiter(limits.CONDITION_THREADS)
        _threads.set(limiter)
        return limiter


@frozen
class Approve:
    """Ask a person, and wait for the answer without holding a slot and across restarts: `Approve("Deploy it?")`.

    The answer comes by `engine.approve(execution_id, task)`, the API or the dashboard. Approved, the task is successful
    and its result says by whom; rejected, it fails with the reason `rejected`, whatever retries it has.

    Args:
        prompt: what is asked.
        timeout: seconds after which the attempt fails; None waits for ever.
    """

    prompt: str
    timeout: float | None = field(default=None, validator=_check_seconds)

    @property
    def waits(self) -> Wait:
        """What it waits for."""
        return Wait("approval", f"waiting for approval: {self.prompt}")

    async def run(self, context: TaskContext) -> None:
        """Wait for the end of the time: an answer ends this before."""
        if self.timeout is None:
            await trio.sleep_forever()
        await trio.sleep(max(0.0, self.timeout - context.waited))
        raise TimeoutError(f"nobody approved within {self.timeout:g} s")
