"""How a task that may run comes to run: it stands in line, is given its slots, and its attempt is ordered."""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core import limits
from goflow_trio.core.board import Board
from goflow_trio.core.failing import fail_unrun
from goflow_trio.core.messages import RunAttempt, TaskError

_MOST_ASKING = limits.ACTIVE_TASKS_PER_EXECUTION  # a wide graph does not flood the engine's queue


def enqueue(board: Board, index: int) -> None:
    """Note that a task is ready; let it stand in line, unless it is an item whose map has enough of them run."""
    places = board.places
    board.is_ready[index] = True
    if index < places.count or places.groups[places.map_of(index)].admits(index):
        board.queue.push(index, places.tasks[index])


def start_ready(board: Board, now: datetime) -> None:
    """Start what may start, as far as the bounds allow."""
    queue, most = board.queue, board.plan.max_active
    while queue.free and not board.held:
        _start(board, queue.free.popleft(), now)
    while queue and not board.held and board.active < most and len(queue.asked) < _MOST_ASKING:
        _start(board, queue.pop(), now)


def take_slot(board: Board, index: int, now: datetime) -> None:
    """Let a task run that has been given the slots it had asked for, if it still may."""
    board.queue.asked.discard(index)
    if not board.is_ready[index] or board.held:  # cancelled while it waited, or nothing starts any more
        return
    if board.active < board.plan.max_active:
        _run(board, index, now)
    else:  # others of the execution took its places meanwhile: ask again when there is one
        board.queue.push(index, board.places.tasks[index])


def order_attempt(board: Board, index: int, now: datetime) -> None:
    """Have the latest attempt of a task run, or go on."""
    task, name, attempt = board.places.tasks[index], board.places.name(index), board.attempts.latest[index]
    seconds = board.attempts.time_left(index, task, now)
    board.order(RunAttempt(name, attempt, waits=task.waits is not None, seconds=seconds))


def _start(board: Board, index: int, now: datetime) -> None:
    if not board.is_ready[index]:  # cancelled while it was in the queue
        return
    task = board.places.tasks[index]
    if task.definition is None:
        error = TaskError("DefinitionError", f"job {board.job!r} no longer has this task")
        fail_unrun(board, index, error, "definition gone", now)
    elif task.waits is not None or board.admit(board.places.name(index), task.definition):
        _run(board, index, now)
    else:
        board.queue.asked.add(index)


def _run(board: Board, index: int, now: datetime) -> None:
    board.begin_attempt(index, now)
    order_attempt(board, index, now)
