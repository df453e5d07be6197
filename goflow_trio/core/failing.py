"""What becomes of a task whose attempt failed: another attempt after a while, or its end."""

from __future__ import annotations

from datetime import datetime, timedelta

from goflow_trio.core import limits
from goflow_trio.core.attempts import GAVE_UP
from goflow_trio.core.board import Board
from goflow_trio.core.cancelling import spares
from goflow_trio.core.finishing import fail_for_good
from goflow_trio.core.items import leave_group
from goflow_trio.core.messages import TaskError, TaskRetryScheduled, WaitForRetry
from goflow_trio.core.states import State


def fail(board: Board, index: int, error: TaskError, reason: str, now: datetime, *, spare: bool = False) -> None:
    """End the running attempt as failed; plan another if the task has retries left, or is to be spared.

    Args:
        board: the execution.
        index: the task's place.
        error: what went wrong.
        reason: in a word.
        now: when.
        spare: whether the attempt costs no retry: it failed by no fault of the task.
    """
    task, name, attempts = board.places.tasks[index], board.places.name(index), board.attempts
    attempt = attempts.latest[index]
    retries_are_left = spare or attempts.counted(index) <= task.retries
    if not retries_are_left or reason == GAVE_UP or not spares(board, task) or index in board.cancel_reasons:
        fail_for_good(board, index, error, reason, now)
        return
    try:
        key = f"{board.execution}/{name}/{attempt}"
        wait = 0.0 if spare else _checked_wait(task.retry_delay.seconds(attempts.fresh(index), key))
        retry_at = now + timedelta(seconds=wait)
    except BaseException as broken:  # noqa: BLE001, ASYNC103  # the delay may be the user's code
        fail_for_good(board, index, error_of(broken), "retry delay failed", now)
        return
    if attempts.time_left(index, task, retry_at) == 0:
        why = reason if reason != "error" else "no time left for a retry"
        fail_for_good(board, index, error, why, now)
        return
    event = TaskRetryScheduled(
        now, board.job, task=name, attempt=attempt, error=error, reason=reason, retry_at=retry_at, spared=spare
    )
    board.move(index, State.UPFORRETRY, event)
    board.active -= not board.waits(index)
    if spare:
        attempts.spare(index)
    if index >= board.places.count:
        leave_group(board, index)
    board.order(WaitForRetry(name, attempt, wait))


def fail_unrun(board: Board, index: int, error: TaskError, reason: str, now: datetime) -> None:
    """Fail a task that cannot be run at all: it starts and fails in one step, and retries would not help."""
    board.begin_attempt(index, now)
    fail_for_good(board, index, error, reason, now)


def error_of(broken: BaseException) -> TaskError:
    """Return what a record keeps of an exception that the user's code raised."""
    try:
        message = str(broken)[: limits.ERROR_CHARS]
    except Exception:  # noqa: BLE001  # its __str__ is the user's code too
        message = "its message cannot be shown"
    return TaskError(type(broken).__name__, message)


def _checked_wait(seconds: float) -> float:
    wait = float(seconds)
    if not 0 <= wait < float("inf"):
        raise ValueError(f"a retry delay must be a finite number of seconds, 0 or more, got {seconds!r}")
    return wait
