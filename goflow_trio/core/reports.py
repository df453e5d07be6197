"""The event-triggered rules: what each report does to the one task it is about.

A report that is out of date (a superseded attempt, a task that ended meanwhile) changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from goflow_trio.core.approving import decide
from goflow_trio.core.board import Board
from goflow_trio.core.cancelling import cancel, end, end_task, spares
from goflow_trio.core.failing import fail
from goflow_trio.core.finishing import finish, skip
from goflow_trio.core.items import make_items
from goflow_trio.core.messages import (
    AttemptCancelled,
    AttemptExpanded,
    AttemptFailed,
    AttemptSkipped,
    AttemptSucceeded,
    CancelRequested,
    DeadlineReached,
    Decided,
    Report,
    RetryDue,
    SlotGranted,
    TaskCancelRequested,
    TaskError,
    TaskExpanded,
    TaskSkipped,
    TaskSucceeded,
)
from goflow_trio.core.starting import enqueue, take_slot
from goflow_trio.core.states import State


def _attempt_succeeded(board: Board, report: AttemptSucceeded, now: datetime) -> None:
    index = board.running(report.task, report.attempt)
    if index is None:
        return
    error = None if report.chosen is None else _wrong_choice(board, index, report.chosen)
    if error is not None:
        fail(board, index, error, "error", now)
        return
    event = TaskSucceeded(
        now, board.job, task=report.task, attempt=report.attempt, result=report.result, chosen=report.chosen
    )
    finish(board, index, State.SUCCESSFUL, event, report.chosen)


def _wrong_choice(board: Board, index: int, chosen: tuple[str, ...]) -> TaskError | None:
    """Return what is wrong with what a branch chose."""
    names = [board.plan.tasks[after].name for after in board.plan.tasks[index].downstream]
    wrong = set(chosen).difference(names)
    if not wrong:
        return None
    known = ", ".join(names) or "none"
    return TaskError("UnknownTask", f"the branch chose {min(wrong)!r}; the tasks directly after it are: {known}")


def _attempt_expanded(board: Board, report: AttemptExpanded, now: datetime) -> None:
    index = board.running(report.task, report.attempt)
    if index is None:
        return
    if not spares(board, board.places.tasks[index]):
        cancel(board, index, now)
    elif not report.items:
        skip(board, index, "there is nothing to map it over", now)
    else:
        board.emit(TaskExpanded(now, board.job, task=report.task, attempt=report.attempt, items=report.items))
        board.active -= 1  # the map itself holds no slot while its items run
        board.to_ask.extend(make_items(board, index, len(report.items)))


def _attempt_skipped(board: Board, report: AttemptSkipped, now: datetime) -> None:
    index = board.running(report.task, report.attempt)
    if index is not None:
        event = TaskSkipped(now, board.job, task=report.task, attempt=report.attempt, reason=report.reason)
        finish(board, index, State.SKIPPED, event)


def _attempt_failed(board: Board, report: AttemptFailed, now: datetime) -> None:
    index = board.running(report.task, report.attempt)
    if index is not None:
        fail(board, index, report.error, report.reason, now)


def _attempt_cancelled(board: Board, report: AttemptCancelled, now: datetime) -> None:
    index = board.running(report.task, report.attempt)
    if index is not None:
        cancel(board, index, now, report.reason)


def _retry_due(board: Board, report: RetryDue, now: datetime) -> None:  # noqa: ARG001
    index = board.places.find(report.task)
    waits = board.states[index] is State.UPFORRETRY and not board.is_ready[index]
    if waits and board.attempts.latest[index] == report.attempt:
        enqueue(board, index)


def _slot_granted(board: Board, report: SlotGranted, now: datetime) -> None:
    take_slot(board, board.places.find(report.task), now)


def _cancel_requested(board: Board, report: CancelRequested, now: datetime) -> None:
    end(board, State.CANCELLED, report.reason, now, force=report.force)


def _task_cancel_requested(board: Board, report: TaskCancelRequested, now: datetime) -> None:
    end_task(board, board.places.find(report.task), report.reason, now)


def _deadline_reached(board: Board, report: DeadlineReached, now: datetime) -> None:  # noqa: ARG001
    timeout = board.plan.timeout
    bound = f" after {timeout:g} s" if timeout is not None else ""  # a restart may find it gone
    end(board, State.FAILED, f"timed out{bound}", now, force=False)


_RULES: dict[type[Report], Callable[[Board, Any, datetime], None]] = {
    AttemptSucceeded: _attempt_succeeded,
    AttemptExpanded: _attempt_expanded,
    AttemptSkipped: _attempt_skipped,
    AttemptFailed: _attempt_failed,
    AttemptCancelled: _attempt_cancelled,
    RetryDue: _retry_due,
    Decided: decide,
    CancelRequested: _cancel_requested,
    TaskCancelRequested: _task_cancel_requested,
    SlotGranted: _slot_granted,
    DeadlineReached: _deadline_reached,
}


def take_report(board: Board, report: Report, now: datetime) -> None:
    """Do what a report says to the task it is about."""
    _RULES[type(report)](board, report, now)
