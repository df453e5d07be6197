"""How a task comes to its end, what that means to the tasks after it, and how the execution ended once all have."""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core.board import Board
from goflow_trio.core.items import end_group, leave_group
from goflow_trio.core.messages import Event, TaskError, TaskFailed, TaskSkipped
from goflow_trio.core.plan import BRANCH
from goflow_trio.core.states import State
from goflow_trio.jobs.trigger_rules import Tally

_NAMED_FAILURES = 5


def finish(board: Board, index: int, state: State, event: Event, chosen: tuple[str, ...] | None = None) -> None:
    """Bring a task to a final state and let its downstreams know.

    Args:
        board: the execution.
        index: the task's place.
        state: which state.
        event: what tells of it.
        chosen: of a branch, the names of what it chose.
    """
    was_running = board.states[index] is State.RUNNING
    board.move(index, state, event)
    board.active -= was_running and not board.waits(index)
    board.is_ready[index] = False
    count_ended(board, index, state, chosen)
    board.to_ask.extend(board.places.tasks[index].downstream)
    if index >= board.places.count:
        leave_group(board, index)
        mapped = board.places.map_of(index)
        if not board.places.groups[mapped].left:
            end_group(board, mapped, event.at)


def count_ended(board: Board, index: int, state: State, chosen: tuple[str, ...] | None) -> None:
    """Count a task that is in its final state, for the whole and for its downstreams."""
    task = board.places.tasks[index]
    board.unfinished -= 1
    if index >= board.places.count:
        _count(board.places.groups[board.places.map_of(index)].tally, state)
    for after in task.downstream:
        _count(board.tallies[after], state)
        if task.kind == BRANCH:
            board.undecided[after] -= 1
    if chosen is not None:
        names = frozenset(chosen)
        board.unchosen.update(
            (after, task.name) for after in task.downstream if board.plan.tasks[after].name not in names
        )


def skip(board: Board, index: int, reason: str, now: datetime) -> None:
    """End a task as skipped."""
    attempt = board.attempts.latest[index]  # 0, unless it had run before the execution was opened again
    event = TaskSkipped(now, board.job, task=board.places.name(index), attempt=attempt, reason=reason)
    finish(board, index, State.SKIPPED, event)


def fail_for_good(board: Board, index: int, error: TaskError, reason: str, now: datetime) -> None:
    """End a task as failed, whatever retries it has."""
    task, attempt = board.places.name(index), board.attempts.latest[index]
    note_failure(board, task)
    event = TaskFailed(now, board.job, task=task, attempt=attempt, error=error, reason=reason)
    finish(board, index, State.FAILED, event)


def note_failure(board: Board, task: str) -> None:
    """Count a task that failed, by its name."""
    board.failed += 1
    if len(board.failures) < _NAMED_FAILURES:
        board.failures.append(task)


def outcome(board: Board) -> tuple[State, str]:
    """Return the final state of the execution, and why, once all tasks are final."""
    if board.ending is not None:
        return board.ending, board.ending_reason
    if board.failed:
        more = board.failed - len(board.failures)
        names = ", ".join(board.failures) + (f" and {more} more" if more else "")
        return State.FAILED, f"failed: {names}"
    one_by_one = [index for index in board.cancel_reasons if board.states[index] is State.CANCELLED]
    if one_by_one:
        names = ", ".join(board.places.name(index) for index in sorted(one_by_one))
        return State.CANCELLED, f"cancelled one by one: {names}"
    if board.cancelled:  # what is left from before it was opened again
        return State.CANCELLED, f"{board.cancelled} tasks are cancelled and did not run again"
    return State.SUCCESSFUL, ""


def _count(tally: Tally, state: State) -> None:
    match state:
        case State.SUCCESSFUL:
            tally.successful += 1
        case State.FAILED:
            tally.failed += 1
        case State.SKIPPED:
            tally.skipped += 1
        case _:
            tally.cancelled += 1
