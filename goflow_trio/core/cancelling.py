"""How an execution is told to end, as a whole or one task of it; and what may go on nevertheless."""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core.board import Board
from goflow_trio.core.finishing import finish
from goflow_trio.core.messages import CancelAttempt, ExecutionCancelling, TaskCancelled
from goflow_trio.core.plan import PlannedTask
from goflow_trio.core.states import State


def end(board: Board, state: State, reason: str, now: datetime, *, force: bool) -> None:
    """Begin to end the execution: cancel what is not clean-up; with `force`, that too."""
    if board.ending is not None and (board.forced or not force):
        return
    if board.ending is None:
        board.ending, board.ending_reason = state, reason
    board.forced = force
    board.emit(ExecutionCancelling(now, board.job, reason=board.ending_reason, state=board.ending, forced=force))
    for index in range(len(board.states)):
        if spares(board, board.places.tasks[index]) or index in board.places.groups:  # a map ends with its items
            continue
        if board.states[index] is State.RUNNING:
            board.order(CancelAttempt(board.places.name(index), board.attempts.latest[index]))
        elif not board.states[index].is_final:
            cancel(board, index, now)


def spares(board: Board, task: PlannedTask) -> bool:
    """Whether a task may go on: nothing is to end, or it is the clean-up of what had begun."""
    return board.ending is None or (task.is_cleanup and not board.forced and board.state is State.RUNNING)


def end_task(board: Board, index: int, reason: str, now: datetime) -> None:
    """End one task, or keep it from starting. A map is over when its items are."""
    if board.states[index].is_final or index in board.cancel_reasons:
        return
    board.cancel_reasons[index] = reason
    if index in board.places.groups:
        for item in board.places.items_of(index):
            end_task(board, item, reason, now)
    elif board.states[index] is State.RUNNING:
        board.order(CancelAttempt(board.places.name(index), board.attempts.latest[index]))
    else:
        cancel(board, index, now)


def cancel(board: Board, index: int, now: datetime, detail: str = "") -> None:
    """Note that a task has come to its end as it was told to.

    Args:
        board: the execution.
        index: the task's place.
        now: when.
        detail: what more there is to say, besides why it was told to.
    """
    board.cancelled += 1
    why = board.cancel_reasons.get(index) or board.ending_reason
    event = TaskCancelled(
        now,
        board.job,
        task=board.places.name(index),
        attempt=board.attempts.latest[index],
        reason="; ".join(filter(None, (why, detail))),
    )
    finish(board, index, State.CANCELLED, event)
