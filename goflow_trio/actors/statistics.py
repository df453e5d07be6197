"""What a job's latest executions say together: counts, durations, success rate. Pure: records in, numbers out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import ceil
from statistics import fmean

from attrs import frozen

from goflow_trio.core.record import ExecutionRecord, TaskRecord
from goflow_trio.core.states import State


@frozen
class Durations:
    """How long something took, in seconds; over `count` of them.

    Percentiles are values that occurred (nearest rank), so that each can be looked up.
    """

    count: int
    mean: float
    median: float
    p95: float
    longest: float


@frozen
class TaskStatistics:
    """One task over several executions.

    Args:
        states: how many of them are in which state.
        attempts: tries, all together.
        retried: how many needed more than one try.
        durations: of successful tries; None without any.
    """

    states: Mapping[State, int]
    attempts: int
    retried: int
    durations: Durations | None


@frozen
class JobStatistics:
    """Executions of one job together.

    Args:
        executions: how many were counted.
        oldest: when the first of them was submitted; None without any.
        states: how many are in which state.
        success_rate: successful ones among those that succeeded or failed; None without any.
        durations: of those that succeeded, from start to finish; None without any.
        tasks: by name.
    """

    executions: int
    oldest: datetime | None
    states: Mapping[State, int]
    success_rate: float | None
    durations: Durations | None
    tasks: Mapping[str, TaskStatistics]


def job_statistics(records: Sequence[ExecutionRecord]) -> JobStatistics:
    """Return the statistics of executions of one job."""
    states = Counter(record.state for record in records)
    decided = states[State.SUCCESSFUL] + states[State.FAILED]
    tasks: dict[str, list[TaskRecord]] = {}
    for record in records:
        for name, task in record.tasks.items():
            if task.items is None:  # a map is the sum of its items
                tasks.setdefault(task.mapped_from or name, []).append(task)
    return JobStatistics(
        executions=len(records),
        oldest=min((record.submitted for record in records), default=None),
        states=dict(states),
        success_rate=states[State.SUCCESSFUL] / decided if decided else None,
        durations=_durations(
            _seconds(record.started, record.finished) for record in records if record.state is State.SUCCESSFUL
        ),
        tasks={name: _task_statistics(found) for name, found in tasks.items()},
    )


def _task_statistics(tasks: Sequence[TaskRecord]) -> TaskStatistics:
    return TaskStatistics(
        states=dict(Counter(task.state for task in tasks)),
        attempts=sum(task.attempt for task in tasks),
        retried=sum(task.attempt > 1 for task in tasks),
        durations=_durations(
            _seconds(attempt.started, attempt.finished)
            for task in tasks
            for attempt in task.attempts
            if attempt.state is State.SUCCESSFUL
        ),
    )


def _seconds(started: datetime | None, finished: datetime | None) -> float | None:
    if started is None or finished is None:
        return None
    return max(0.0, (finished - started).total_seconds())  # a clock that was set back makes no time


def _durations(seconds: Iterable[float | None]) -> Durations | None:
    ordered = sorted(value for value in seconds if value is not None)
    if not ordered:
        return None

    def rank(share: float) -> float:
        return ordered[ceil(share * len(ordered)) - 1]

    return Durations(len(ordered), fmean(ordered), rank(0.5), rank(0.95), ordered[-1])
