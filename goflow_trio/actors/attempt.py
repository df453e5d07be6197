"""The task actor: runs one attempt of one task and reports how it ended. Lives from the attempt's start to its end.

Whatever the work raises becomes data here, `SystemExit` and `KeyboardInterrupt` included; only trio's own cancellation
passes. What the work prints and logs, and why it failed, goes to the output of the attempt. It decides nothing: whether
to try again is the machine's question.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import trio
from attrs import frozen

from goflow_trio.actors.mapping import map_items
from goflow_trio.actors.printing import AttemptOutput
from goflow_trio.codec import storable
from goflow_trio.core import limits
from goflow_trio.core.attempts import GAVE_UP
from goflow_trio.core.messages import (
    AttemptCancelled,
    AttemptExpanded,
    AttemptFailed,
    AttemptSkipped,
    AttemptSucceeded,
    Report,
    TaskError,
)
from goflow_trio.errors import GiveUp, GoflowError, Skip
from goflow_trio.executors.base import Executor
from goflow_trio.executors.parcel import RemoteTraceback
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.base import Prepared, call_operator
from goflow_trio.operators.flow import chosen_names
from goflow_trio.operators.logs import current_output
from goflow_trio.operators.secrets import mask, mask_value
from goflow_trio.operators.toll import Toll, current_toll

_CALLERS = frozenset({"goflow_trio", "trio", "outcome"})
"""The packages whose frames lead to the work."""

TIMEOUT = "timeout"
"""Reason of an attempt that was cut off because its time was up."""

ABANDONED = "abandoned"
"""Reason of an attempt that was cut off, or cancelled, while its work goes on: a thread cannot be stopped, nor
what most executors have begun."""


@frozen
class Assignment:
    """What one attempt needs.

    Args:
        work: the operator, looked at.
        context: what the operator sees.
        scope: cancel it to end the attempt.
        too_long: what to say when the time of `scope` is up.
        limiter: counts the threads of synchronous work.
        output: takes what the work prints; closed here.
        toll: counts what of the execution was ended, or could not be.
        when: the condition to ask before, looked at; None if there is none.
        is_branch: whether the result says which tasks are to run.
        expands: whether the work gives the items that the task is mapped over.
        executor: where the work runs; None is here.
        open_resources: opens what the task uses, and puts it into the context; None if it uses nothing.
    """

    work: Prepared
    context: TaskContext
    scope: trio.CancelScope
    too_long: str
    limiter: trio.CapacityLimiter
    output: AttemptOutput
    toll: Toll
    when: Prepared | None = None
    is_branch: bool = False
    expands: bool = False
    open_resources: Callable[[], Awaitable[None]] | None = None
    executor: Executor | None = None


async def run_attempt(
    assignment: Assignment, report: Callable[[Report], None], keep_result: Callable[[str, Any], None]
) -> None:
    """Run the work and report how it ended, exactly once; not at all if the engine itself is going down.

    Args:
        assignment: what to run.
        report: takes the outcome.
        keep_result: takes the result as it is, for the tasks downstream.
    """
    toll = Toll(strays=assignment.toll.strays)
    current_output.set(assignment.output)  # for this trio task alone, and what it starts
    current_toll.set(toll)
    try:
        outcome = await _outcome(assignment, keep_result, toll)
    finally:
        assignment.output.close()
        assignment.toll.add(toll)
    report(outcome)


async def _outcome(assignment: Assignment, keep_result: Callable[[str, Any], None], toll: Toll) -> Report:
    task, attempt = assignment.context.task, assignment.context.attempt
    scope = assignment.scope
    try:
        with scope:
            return await _work(assignment, keep_result)
    except Skip as skip:
        return AttemptSkipped(task, attempt, describe_error(skip).message)
    except trio.Cancelled:
        raise
    except BaseException as error:  # whatever the work raises is its own affair
        if isinstance(error, BaseExceptionGroup) and error.subgroup(trio.Cancelled) is not None:
            raise
        failure = describe_error(error)
        assignment.output.write(_last_words(error, failure), "error")
        return AttemptFailed(task, attempt, failure, GAVE_UP if isinstance(error, GiveUp) else "error")
    abandoned = "; its thread cannot be stopped and goes on" if toll.threads else ""
    if toll.elsewhere:
        abandoned = "; it had begun, and goes on where it runs: its executor cannot stop it"
    if trio.current_time() >= scope.deadline:
        message = assignment.too_long + abandoned
        assignment.output.write(f"TimeoutError: {message}\n", "error")
        cut = TaskError("TimeoutError", message)
        return AttemptFailed(task, attempt, cut, ABANDONED if abandoned else TIMEOUT)
    if toll.elsewhere:
        assignment.output.write(f"cancelled{abandoned}\n", "error")
    return AttemptCancelled(task, attempt, ABANDONED if abandoned else "")


async def _work(assignment: Assignment, keep_result: Callable[[str, Any], None]) -> Report:
    """Do the work, and return what came of it; whatever goes wrong is raised."""
    context, limiter = assignment.context, assignment.limiter
    if assignment.open_resources is not None:
        await assignment.open_resources()
    if assignment.when is not None and not await call_operator(assignment.when, context, limiter=limiter):
        return AttemptSkipped(context.task, context.attempt, "its condition does not hold")
    if assignment.executor is None:
        result = await call_operator(assignment.work, context, limiter=limiter)
    else:
        result = await assignment.executor.run(assignment.work, context)
    if trio.current_time() >= assignment.scope.deadline:  # it swallowed or held off what was to end it: late is late
        assignment.scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
    if assignment.expands:
        return AttemptExpanded(context.task, context.attempt, mask_value(map_items(result)))
    result = mask_value(result)
    chosen = chosen_names(result) if assignment.is_branch else None
    keep_result(context.task, result)
    return AttemptSucceeded(context.task, context.attempt, storable(result if chosen is None else list(chosen)), chosen)


def _last_words(error: BaseException, failure: TaskError) -> str:
    """Return what the output tells of a failure: where it happened, unless that is in an operator of ours."""
    if isinstance(error, GoflowError) or not failure.traceback:  # a command has printed its reasons already
        return f"{failure.type}: {failure.message.partition(chr(10))[0]}\n"
    return failure.traceback


def describe_error(error: BaseException) -> TaskError:
    """Return an exception as data, within limits; nothing that its own methods do can hurt."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # a broken __str__ is the user's
        message = "(its text could not be made)"
    try:
        if isinstance(error.__cause__, RemoteTraceback):  # where it was raised; our side of it is nobody's concern
            lines = str(error.__cause__)
        else:
            lines = "".join(traceback.format_exception(type(error), error, _from_the_work_on(error.__traceback__)))
    except Exception:  # noqa: BLE001
        lines = ""
    return TaskError(
        type(error).__name__,
        mask(_clean(message))[: limits.ERROR_CHARS],
        mask(_clean(lines))[-limits.TRACEBACK_CHARS :],
    )


def _from_the_work_on(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames that called the work: they are the same each time, and nobody's concern."""
    first = trace
    while first is not None and str(first.tb_frame.f_globals.get("__name__")).partition(".")[0] in _CALLERS:
        first = first.tb_next
    return first or trace


def _clean(text: str) -> str:
    """Return text that every encoder takes: lone surrogates are replaced."""
    return text.encode("utf-8", "replace").decode()
