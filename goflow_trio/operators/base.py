"""What does a task's work, and how it is called.

`prepare` looks at an operator once, when its task is registered: what to call, whether that is async, whether it takes
the context. `call_operator` then calls it, async work in the trio loop and sync work in a thread. Nothing here retries,
times out, or turns an exception into a task's state: that is the engine's, and whatever the work raises passes through.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

import trio
from attrs import frozen

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.toll import Toll, current_toll


@runtime_checkable
class Operator(Protocol):
    """Anything with `run`. A plain function, a `functools.partial` or a callable object will do as well.

    An implementer's obligations:

    - `run` is called once for each attempt, perhaps by several executions at the same time: keep what belongs to
      one attempt in local variables.
    - `async def run` lives in the trio loop, which it shares with everything else: it must not block, and it lets
      `trio.Cancelled` pass, cleaning up within a few seconds. `def run` is called in a worker thread.
    - An attempt fails by raising; whatever is returned is its result. A retry calls `run` again on the same object.
    - A thread cannot be stopped. When a sync `run` is cancelled or timed out it is *abandoned*: the attempt ends at
      once, the function goes on to its own end, its result and its exception are dropped, and until then it keeps
      its slot of the thread limiter. Bound what it waits for; `trio.from_thread.check_cancelled()` asks, in the
      thread, whether it still matters.
    """

    def run(self, context: TaskContext) -> Any | Awaitable[Any]:
        """Do the work of one attempt.

        Args:
            context: names, parameters and upstream results of this attempt. `run()` without it is fine too.

        Returns:
            The result of the task, or an awaitable of it.
        """
        ...  # pragma: no cover


@frozen
class Prepared:
    """An operator, looked at: what to call and how.

    Args:
        call: the function, bound method or callable object.
        asynchronous: calling it gives a coroutine, and may be done in the trio loop.
        takes_context: it is called with the context; without any argument otherwise.
    """

    call: Callable[..., Any]
    asynchronous: bool
    takes_context: bool


def prepare(operator: object, *, task: str | None = None) -> Prepared:
    """Decide how an operator is called, refusing what is none.

    The context is passed to a callable that has a positional parameter without a default, or one that is called
    `context` or annotated `TaskContext`, or `*args`. So `lambda day=day: ...`, the loop idiom, keeps its default. A
    function written in C knows nothing of contexts and is called without: `functools.partial(time.sleep, 1)`.

    Args:
        operator: an object with `run`, or a callable.
        task: name of the task it belongs to, for the message.

    Returns:
        What `call_operator` needs. It costs about 35 µs to make, so keep it for all attempts.

    Raises:
        DefinitionError: it is no operator, or needs arguments that nobody would pass.
    """
    where = f"task {task!r}: " if task is not None else ""
    if inspect.isclass(operator):
        raise DefinitionError(
            f"{where}operator must be an object, got the class {operator.__name__}; write {operator.__name__}(...)"
        )
    run = None if inspect.isroutine(operator) else getattr(operator, "run", None)
    call = run if callable(run) else operator
    if not callable(call):
        raise DefinitionError(
            f"{where}operator must be an object with run(context) or a callable, got {type(operator).__name__}"
        )
    code = _code_of(call)
    if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise DefinitionError(
            f"{where}operator must not be a generator function, nobody would iterate it; return a list instead"
        )
    return Prepared(call, inspect.iscoroutinefunction(code), _takes_context(call, code, where))


async def call_operator(operator: object, context: TaskContext, *, limiter: trio.CapacityLimiter) -> Any:
    """Call an operator for one attempt and give back its result.

    Async work is awaited here: for an already prepared operator that costs 0.2 to 0.5 µs more than awaiting it
    directly, and makes no checkpoint of its own. Sync work runs in a worker thread, seeing the caller's contextvars;
    when this is cancelled meanwhile, the thread is abandoned (see `Operator`). A sync callable that returns an
    awaitable, such as a decorated `async def`, is awaited here afterwards.

    Args:
        operator: what `prepare` returned; any operator will do, and is prepared on the way.
        context: the attempt.
        limiter: counts the threads. Not trio's default one: forty blocked operators would starve everybody
            else's threads. Waiting for a free slot is part of the attempt.

    Returns:
        The operator's result.

    Raises:
        DefinitionError: `operator` is none.
        BaseException: whatever the work raises, `SystemExit` included.
    """
    prepared = operator if type(operator) is Prepared else prepare(operator)
    arguments = (context,) if prepared.takes_context else ()
    if prepared.asynchronous:
        return await prepared.call(*arguments)
    work = _Work(prepared.call, arguments)
    try:
        (result,) = await trio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
    except trio.Cancelled:
        work.abandon(current_toll.get())
        raise
    return await result if inspect.isawaitable(result) else result


class _Work:
    """A call in a worker thread. When nobody waits for it any more, it is counted until it ends by itself."""

    def __init__(self, call: Callable[..., Any], arguments: tuple[TaskContext, ...]) -> None:
        self._call = call
        self._arguments = arguments
        self._lock = threading.Lock()
        self._runs = False
        self._toll: Toll | None = None

    def __call__(self) -> tuple[Any]:
        """Call; the result is boxed, as trio refuses a thread that returns a bare coroutine."""
        self._runs = True
        try:
            return (self._call(*self._arguments),)
        finally:
            with self._lock:
                self._runs = False
                if self._toll is not None:
                    self._toll.strays.left()

    def abandon(self, toll: Toll | None) -> None:
        """Note that this is cancelled; the thread may have ended, or not even begun."""
        with self._lock:
            if self._runs and toll is not None:
                self._toll = toll
                toll.threads += 1
                toll.strays.entered()


def _code_of(call: Callable[..., Any]) -> Any:
    """Give the function behind partials and callable objects, the one that knows whether it is async."""
    while isinstance(call, functools.partial):
        call = call.func
    return call if inspect.isroutine(call) else type(call).__call__


def _takes_context(call: Callable[..., Any], code: Any, where: str) -> bool:
    """Read from the signature whether the context is passed; refuse a signature nobody could call."""
    if inspect.isbuiltin(code):
        return False
    try:
        signature = inspect.signature(call)
    except (ValueError, TypeError):  # other callables without a Python signature
        return False
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    variadic = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values())
    first = positional[0] if positional else None
    takes = variadic or (first is not None and (first.default is first.empty or _means_context(first)))
    try:
        signature.bind(*(["context"] if takes else []))
    except TypeError:
        raise DefinitionError(
            f"{where}operator is called with the context or with nothing, but {_name(call)}{signature} needs more;"
            " give the rest by functools.partial or keep it on an object with run(context)"
        ) from None
    return takes


def _means_context(parameter: inspect.Parameter) -> bool:
    """Tell whether a parameter with a default still asks for the context."""
    return parameter.name == "context" or parameter.annotation in (TaskContext, "TaskContext")


def _name(call: object) -> str:
    """Name a callable for a message."""
    return getattr(call, "__qualname__", type(call).__name__)
