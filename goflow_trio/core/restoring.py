"""How an execution goes on after the engine's end: its record is taken in, then each task where it was found.

Finished tasks stay as they are. An attempt that was running was cut; one that only waited goes on.
"""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core import limits
from goflow_trio.core.attempts import INTERRUPTED
from goflow_trio.core.board import Board
from goflow_trio.core.cancelling import cancel, spares
from goflow_trio.core.failing import fail
from goflow_trio.core.finishing import count_ended, fail_for_good, note_failure
from goflow_trio.core.items import end_group, load_items
from goflow_trio.core.messages import CancelAttempt, TaskError, WaitForRetry
from goflow_trio.core.plan import MAP
from goflow_trio.core.record import ExecutionRecord, TaskRecord
from goflow_trio.core.starting import order_attempt
from goflow_trio.core.states import State

_GONE = "; job {job!r} no longer has this task, so that it cannot run again"

CRASH_LOOP = "crash-loop"
"""Reason of a task that is held to be the cause of the engine's ends."""


def load(board: Board, record: ExecutionRecord) -> None:
    """Bring a new board to where a record stands."""
    board.state = record.state
    board.version = record.version
    board.ending = record.ending
    board.forced = record.forced
    board.ending_reason = record.reason if record.ending else ""
    if len(record.tasks) > len(board.plan.tasks):
        load_items(board, record)
    for index in range(len(board.states)):
        task = record.tasks[board.places.name(index)]
        board.states[index] = task.state
        board.attempts.load(index, task, board.places.tasks[index])
        if task.earlier and record.reopenings[-1].start != "start":
            board.attempts.load_child(index, task)
        if index in board.places.groups:  # what counts are its items
            board.unfinished -= task.state.is_final
        else:
            _load_state(board, index, task)


def _load_state(board: Board, index: int, task: TaskRecord) -> None:
    """Count a task where it counts in its state."""
    if task.state is State.RUNNING:
        board.active += not board.waits(index)
        if index >= board.places.count:
            board.places.groups[board.places.map_of(index)].admits(index)
    if task.state.is_final:
        count_ended(board, index, task.state, task.chosen)
    if task.state is State.FAILED:
        note_failure(board, task.name)
    board.cancelled += task.state is State.CANCELLED


def resume(board: Board, record: ExecutionRecord, now: datetime) -> None:
    """Go on with each task where the engine's end found it."""
    for index in range(len(board.states)):
        _resume_task(board, index, record.tasks[board.places.name(index)], now)


def _resume_task(board: Board, index: int, task: TaskRecord, now: datetime) -> None:
    if index in board.places.groups:
        if task.state is State.RUNNING and not board.places.groups[index].left:
            end_group(board, index, now)
    elif task.state is State.RUNNING and task.waiting and board.waits(index):
        _go_on(board, index, now)
    elif task.state is State.RUNNING:
        _interrupt(board, index, now)
    elif not task.state.is_final and not spares(board, board.places.tasks[index]):
        cancel(board, index, now)  # the log ended between the decision to end and its last effect
    elif task.state is State.UPFORRETRY:
        seconds = max(0.0, ((task.retry_at or now) - now).total_seconds())
        board.order(WaitForRetry(task.name, task.attempt, seconds))


def _interrupt(board: Board, index: int, now: datetime) -> None:
    """Record that the engine's end cut the running attempt."""
    task = board.places.tasks[index]
    crashes = board.attempts.interrupt(index)
    if not spares(board, task):
        cancel(board, index, now)
    elif crashes > limits.CRASH_LIMIT:
        error = TaskError("CrashLoop", f"the engine ended {crashes} times while this task was running")
        fail_for_good(board, index, error, CRASH_LOOP, now)
    else:
        gone = "" if task.definition is not None or index in board.places.groups else _GONE.format(job=board.job)
        error = TaskError("Interrupted", f"the engine ended while this attempt was running{gone}")
        fail(board, index, error, INTERRUPTED, now, spare=task.idempotent or task.kind == MAP)


def _go_on(board: Board, index: int, now: datetime) -> None:
    """Take up an attempt that was waiting when the engine ended; told to end, it is run once more to be told so."""
    order_attempt(board, index, now)
    if not spares(board, board.places.tasks[index]):
        board.order(CancelAttempt(board.places.name(index), board.attempts.latest[index]))
