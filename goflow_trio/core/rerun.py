"""Which tasks begin anew when an execution that is over is opened again. Pure."""

from __future__ import annotations

from typing import Literal, get_args

from goflow_trio.core.plan import Plan
from goflow_trio.core.record import ExecutionRecord, TaskRecord
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
    if task is not None and task not in record.tasks:
        raise UnknownTask(f"execution {record.id} has no task {task!r}; it has: {', '.join(plan.names[:20])}")
    if task is not None:
        first = [task]
        mapped = record.tasks.get(record.tasks[task].mapped_from)
        if mapped is not None and (record.tasks[task].index or 0) >= (mapped.items or 0):
            raise WrongState(f"{task!r} is no longer an item of {mapped.name!r}; run that again")
    elif start == "start":
        return plan.names  # maps are expanded anew
    else:
        first = [name for name, one in record.tasks.items() if one.state not in _GOOD and not _runs_by_items(one)]
    if not first:
        raise WrongState(f"execution {record.id} has nothing to run again: no task of it failed or was cancelled")
    return tuple(first) if task is not None and not downstream else _with_downstream(plan, record, first)


_GOOD = frozenset({State.SUCCESSFUL, State.SKIPPED})


def _runs_by_items(task: TaskRecord) -> bool:
    """Whether it is a map whose items are known: not itself but its items failed, or not."""
    return task.items is not None


def _with_downstream(plan: Plan, record: ExecutionRecord, names: list[str]) -> tuple[str, ...]:
    """Return these tasks and all that come after them, in the order of definition, then items of maps that stay."""
    items = [name for name in names if name not in plan.index]
    found = {plan.index[name] for name in names if name in plan.index}
    to_follow = [*found, *{plan.index[record.tasks[name].mapped_from] for name in items}]
    while to_follow:
        for after in plan.tasks[to_follow.pop()].downstream:
            if after not in found:
                found.add(after)
                to_follow.append(after)
    anew = tuple(name for index, name in enumerate(plan.index) if index in found)
    return (*anew, *(name for name in items if plan.index[record.tasks[name].mapped_from] not in found))
