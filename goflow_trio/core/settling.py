"""The state-triggered rules: when tasks have ended, those after them are asked, until nothing moves.

A skip settles its own downstreams. A turn costs the out-degree of the tasks it settles, never the size of the graph.
"""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core.board import Board
from goflow_trio.core.failing import error_of, fail_unrun
from goflow_trio.core.finishing import outcome, skip
from goflow_trio.core.messages import ExecutionFinished, TaskError
from goflow_trio.core.starting import enqueue, start_ready
from goflow_trio.core.states import State
from goflow_trio.jobs.trigger_rules import Verdict


def settle(board: Board, now: datetime) -> None:
    """Ask the rules of all tasks whose upstreams moved, until nothing moves; then start what may run."""
    if board.state is State.NOTSTARTED and board.ending is None:
        return  # a task was cancelled in advance: `start` asks them all
    to_ask = board.to_ask
    while True:
        while to_ask:
            index = to_ask.popleft()
            if board.states[index] is State.NOTSTARTED and not board.is_ready[index]:
                _ask(board, index, now)
        start_ready(board, now)
        if not to_ask:  # a task whose definition is gone fails as it starts, and settles others
            break
    if not board.unfinished and not board.state.is_final and (board.state is State.RUNNING or board.ending):
        state, reason = outcome(board)
        board.move_execution(state, ExecutionFinished(now, board.job, state=state, reason=reason))


def _ask(board: Board, index: int, now: datetime) -> None:
    """Ask a task's trigger rule whether it is to run, is to be skipped, or has to wait for more."""
    if index >= board.places.count:  # an item, which nothing is before
        enqueue(board, index)
        return
    task = board.plan.tasks[index]
    tally = board.tallies[index]
    if index in board.unchosen:
        skip(board, index, f"by choice of {board.unchosen[index]!r}", now)
        return
    if board.undecided.get(index):  # whatever its rule says, a branch before it may yet say no
        return
    try:
        verdict = task.rule(tally)
    except BaseException as broken:  # noqa: BLE001, ASYNC103  # the rule may be the user's code
        fail_unrun(board, index, error_of(broken), "trigger rule failed", now)
        return
    if verdict is Verdict.RUN:
        enqueue(board, index)
    elif verdict is Verdict.SKIP:
        reason = (
            f"{task.rule_name}: of {tally.total} upstreams {tally.successful} successful, "
            f"{tally.failed} failed, {tally.skipped} skipped, {tally.cancelled} cancelled"
        )
        skip(board, index, reason, now)
    elif tally.all_done:
        error = TaskError("DefinitionError", f"its rule answered {verdict!r} though all upstreams ended")
        fail_unrun(board, index, error, "trigger rule failed", now)
