"""What an answer does to a task that asked for an approval, and how one finds out that it did."""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core.board import Board
from goflow_trio.core.finishing import fail_for_good, finish
from goflow_trio.core.messages import CancelAttempt, Decided, TaskError, TaskSucceeded
from goflow_trio.core.record import TaskRecord
from goflow_trio.core.states import State

REJECTED = "rejected"
"""Reason of a task that asked for an approval and did not get it."""


def decide(board: Board, report: Decided, now: datetime) -> None:
    """End a task by what was answered, unless it was decided already or no longer asks."""
    index = board.places.find(report.task)
    waits = board.places.tasks[index].waits
    if board.states[index] is not State.RUNNING or waits is None or waits.kind != "approval":
        return
    attempt = board.attempts.latest[index]
    board.order(CancelAttempt(report.task, attempt))
    if report.approved:
        result = {"approved": True, "by": report.by, "comment": report.comment}
        event = TaskSucceeded(now, board.job, task=report.task, attempt=attempt, result=result)
        finish(board, index, State.SUCCESSFUL, event)
    else:
        said = f"rejected by {report.by or 'someone'}" + (f": {report.comment}" if report.comment else "")
        fail_for_good(board, index, TaskError("Rejected", said), REJECTED, now)


def was_answered_so(task: TaskRecord, attempt: int, *, approved: bool, by: str) -> bool:
    """Whether an attempt that asked for an approval ended by just this answer."""
    if task.attempt != attempt:
        return False
    if approved:
        return task.state is State.SUCCESSFUL and isinstance(task.result, dict) and task.result.get("by") == by
    return task.state is State.FAILED and task.reason == REJECTED
