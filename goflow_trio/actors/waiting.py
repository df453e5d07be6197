"""Why does this not run? An answer for each task of an execution that has not ended and does not run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from attrs import frozen

from goflow_trio.actors.supervisor import Supervisor
from goflow_trio.core.states import State


@frozen
class Waiting:
    """What one task waits for.

    Args:
        task: its name.
        reason: `"upstream"`, `"retry"`, `"slot"`, `"execution"` (its execution waits for its turn among those of the
            job), `"engine"` (nothing starts any more, the engine is closing), or what an operator that only waits says:
            `"sleep"`, `"condition"`, `"approval"`, ….
        detail: the same in words.
        held_by: who is in the way: the tasks before it, or who holds the slots, as `"execution/task"`; an execution
            as a whole is its id alone.
        until: when it goes on, if that is known.
    """

    task: str
    reason: str
    detail: str
    held_by: tuple[str, ...] = ()
    until: datetime | None = None


def waiting_tasks(supervisor: Supervisor) -> list[Waiting]:
    """Return what the tasks of an execution wait for, in the order of the job."""
    return list(_answers(supervisor))


def _answers(supervisor: Supervisor) -> Iterator[Waiting]:
    machine, record = supervisor.machine, supervisor.record
    queue = supervisor.account.lacking("")
    for name, task in record.tasks.items():
        if task.state is State.RUNNING and task.waiting:
            yield Waiting(name, task.waiting, task.reason)
        if task.state.is_final or task.state is State.RUNNING:
            continue
        if machine.state is State.NOTSTARTED:
            yield _for_slots(supervisor, name, "execution", queue)
        elif task.state is State.UPFORRETRY and not machine.is_ready(name):
            yield Waiting(name, "retry", f"waiting for attempt {task.attempt + 1}", until=task.retry_at)
        elif not machine.is_ready(name):
            before = machine.plan.upstream_names.get(name, ())
            open_ones = tuple(each for each in before if not record.tasks[each].state.is_final)
            yield Waiting(name, "upstream", f"waiting for {', '.join(open_ones)}", open_ones)
        elif machine.held:
            yield Waiting(name, "engine", "the engine is closing; it goes on with the next start")
        elif lacking := supervisor.account.lacking(name):
            yield _for_slots(supervisor, name, "slot", lacking)
        else:
            running = tuple(f"{record.id}/{each}" for each, one in record.tasks.items() if one.state is State.RUNNING)
            most = machine.plan.max_active
            yield Waiting(name, "slot", f"{most} tasks of the execution run, which is its limit", running)


def _for_slots(
    supervisor: Supervisor, task: str, reason: str, lacking: dict[str, list[tuple[tuple[str, str], int]]]
) -> Waiting:
    """Tell which limits are full, and by whom."""
    held_by = dict.fromkeys("/".join(filter(None, holder)) for holders in lacking.values() for holder, _ in holders)
    parts = [
        f"{name}: {sum(count for _, count in holders)} of {supervisor.account.capacity(name)} slots are taken"
        for name, holders in lacking.items()
    ]
    return Waiting(task, reason, "; ".join(parts) or "about to start", tuple(held_by))
