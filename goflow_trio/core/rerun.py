"""Which tasks begin anew when an execution that is over is opened again. Pure."""

from __future__ import annotations

from typing import Literal, get_args

from goflow_trio.core.plan import Plan
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State
from goflow_trio.errors import UnknownTask, UsageError, WrongState

Start = Literal["failed", "start"]
"""Where to begin again: at what failed or was cancelled, or at the very start."""


def tasks_to_rerun(
    plan: Plan, record: ExecutionRecord, start: Start = "failed", task: str | None = None, *, downstream: bool = True
) -> tuple[str, ...]:
    """Return the names of the tasks that begin anew, in the order of the graph's definition.

    What comes after a task that runs again was decided by how that ended, so it begins anew with it, whether it had
    been skipped, cancelled or successful (a clean-up, say); all else keeps its result.

    Args:
        plan: the graph it ran on.
        record: how it ended.
        start: `"failed"`: what failed or was cancelled; `"start"`: everything.
        task: this one instead, however it ended.
        downstream: whether what comes after a single `task` begins anew too.

    Raises:
        WrongState: it is not over, or nothing failed.
        UnknownTask: it has no such task.
        UsageError: `start` is neither.
    """
    if start not in get_args(Start):
        raise UsageError(f"start must be one of {', '.join(get_args(Start))}, got {start!r}")
    if not record.state.is_final:
        raise WrongState(f"execution {record.id} is still {record.state}; cancel it, or wait for its end")
    if task is not None and task not in plan.index:
        raise UnknownTask(f"execution {record.id} has no task {task!r}; it has: {', '.join(plan.names[:20])}")
    if task is not None:
        first = [task]
    elif start == "start":
        return plan.names
    else:
        first = [name for name in plan.index if record.tasks[name].state not in _GOOD]
    if not first:
        raise WrongState(f"execution {record.id} has nothing to run again: no task of it failed or was cancelled")
    return tuple(first) if task is not None and not downstream else _with_downstream(plan, first)


_GOOD = frozenset({State.SUCCESSFUL, State.SKIPPED})


def _with_downstream(plan: Plan, names: list[str]) -> tuple[str, ...]:
    """Return these tasks and all that come after them, in the order of definition."""
    to_follow = [plan.index[name] for name in names]
    found = set(to_follow)
    while to_follow:
        for after in plan.tasks[to_follow.pop()].downstream:
            if after not in found:
                found.add(after)
                to_follow.append(after)
    return tuple(name for index, name in enumerate(plan.index) if index in found)
