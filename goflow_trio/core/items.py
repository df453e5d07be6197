"""The items of a map: where they come in, how they make room for each other, and how the map ends with the last."""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core.board import Board
from goflow_trio.core.messages import Event, TaskCancelled, TaskError, TaskFailed, TaskSkipped, TaskSucceeded
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State


def make_items(board: Board, index: int, size: int) -> range:
    """Make room for the items of a map, and return their places. For its downstreams, they count in its place."""
    items = board.places.add_items(index, size)
    for place in items:
        board.attempts.add_item(place, board.places.name(place))
    board.states += [State.NOTSTARTED] * size
    board.is_ready.extend(bytes(size))
    board.unfinished += size
    for after in board.plan.tasks[index].downstream:
        board.tallies[after].total += size - 1
    return items


def load_items(board: Board, record: ExecutionRecord) -> None:
    """Take in the items of maps as a record has them."""
    board.attempts.load_former(record)
    for index, name in enumerate(board.plan.index):
        items = record.tasks[name].items
        if items is not None:
            make_items(board, index, items)


def leave_group(board: Board, index: int) -> None:
    """Let the next item of a map run in place of one that does not run any more."""
    following = board.places.groups[board.places.map_of(index)].leave(index, board.is_ready)
    if following is not None:
        board.queue.push(following, board.places.tasks[following])


def end_group(board: Board, index: int, now: datetime) -> None:
    """End a map whose items have ended. They were counted downstream, it is not."""
    tally = board.places.groups[index].tally
    name, attempt, job = board.places.name(index), board.attempts.latest[index], board.job
    event: Event
    if tally.failed:
        error = TaskError("ItemsFailed", f"{tally.failed} of {tally.total} items failed")
        event = TaskFailed(now, job, task=name, attempt=attempt, error=error, reason="items failed")
        state = State.FAILED
    elif tally.cancelled:
        event = TaskCancelled(now, job, task=name, attempt=attempt, reason=board.ending_reason)
        state = State.CANCELLED
    elif tally.successful:
        event = TaskSucceeded(now, job, task=name, attempt=attempt)
        state = State.SUCCESSFUL
    else:
        event = TaskSkipped(now, job, task=name, attempt=attempt, reason="all its items were skipped")
        state = State.SKIPPED
    board.move(index, state, event)
    board.unfinished -= 1
