"""Ends an execution from outside its machine: its record has lost something, so nobody can say how it would go on."""

from __future__ import annotations

from datetime import datetime

from goflow_trio.core.messages import Event, ExecutionFinished, TaskCancelled
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State


def end_broken(record: ExecutionRecord, now: datetime, reason: str) -> list[Event]:
    """Return the events that end an execution as failed and its unfinished tasks as cancelled.

    Args:
        record: it, as far as it is known.
        now: when this happens.
        reason: why; kept with the execution and these tasks.
    """
    events: list[Event] = []
    version = record.version
    for task in record.tasks.values():
        if not task.state.is_final:
            version += 1
            attempt = task.attempt if task.state is State.RUNNING else 0
            events.append(
                TaskCancelled(now, record.job, record.id, version, task=task.name, attempt=attempt, reason=reason)
            )
    events.append(ExecutionFinished(now, record.job, record.id, version + 1, state=State.FAILED, reason=reason))
    return events
