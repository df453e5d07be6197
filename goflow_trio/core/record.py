"""What an execution looks like: the fold of its events. This file is the only one that changes a record.

`apply_event(record, event)` is total over the events of an execution and idempotent: an event whose version the record
has already seen changes nothing, so that a snapshot and an overlapping tail of the log give the same record as the
whole log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import Factory, define, evolve, field, frozen

from goflow_trio.core.messages import (
    Event,
    ExecutionCancelling,
    ExecutionFinished,
    ExecutionReopened,
    ExecutionStarted,
    ExecutionSubmitted,
    TaskCancelled,
    TaskError,
    TaskExpanded,
    TaskFailed,
    TaskRetryScheduled,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
)
from goflow_trio.core.states import State
from goflow_trio.errors import CodecError


@define
class AttemptRecord:
    """One try of a task: `state` is `running`, then `successful`, `failed`, `skipped` or `cancelled`.

    `child` is the id of the execution that it ran and waited for, if it did.
    """

    number: int
    started: datetime
    finished: datetime | None = None
    state: State = State.RUNNING
    error: TaskError | None = None
    reason: str = ""
    child: str = ""


@define
class TaskRecord:
    """One task's place in an execution.

    Args:
        name: the task's name.
        state: where it stands.
        result: what its last attempt returned, as stored.
        reason: why it is in this state, where that is not plain: why it was skipped, cancelled, cut off.
        attempts: its tries, oldest first.
        retry_at: when the next attempt starts, while up for retry.
        spared: how many failed attempts did not use up a retry.
        finished: when it reached its final state.
        earlier: how many attempts it had made when the execution was last opened again; they use up no retry.
        waiting: what kind of wait its attempt is, holding no slot: `sleep`, `condition`, `approval`, …; empty if none.
        chosen: of a branch that was successful, the tasks after it that are to run.
        items: of a map, how many items it has, once that is known; its result is the list of theirs.
        mapped_from: of an item, the name of its map.
        index: of an item, its place from 0.
        item: of an item, what it is for, as stored.
    """

    name: str
    state: State = State.NOTSTARTED
    result: Any = None
    reason: str = ""
    attempts: list[AttemptRecord] = field(factory=list)
    retry_at: datetime | None = None
    spared: int = 0
    finished: datetime | None = None
    earlier: int = 0
    waiting: str = ""
    chosen: tuple[str, ...] | None = None
    items: int | None = None
    mapped_from: str = ""
    index: int | None = None
    item: Any = None

    @property
    def attempt(self) -> int:
        """The number of the last attempt, 0 before the first."""
        return len(self.attempts)

    @property
    def started(self) -> datetime | None:
        """When the first attempt started."""
        return self.attempts[0].started if self.attempts else None

    @property
    def error(self) -> TaskError | None:
        """Why the last attempt failed, if it did; None if it is to begin anew."""
        return self.attempts[-1].error if self.attempt > self.earlier else None


@frozen
class Reopening:
    """That an execution was opened again.

    Args:
        at: when.
        by: who asked for it.
        reason: why.
        tasks: which tasks began anew.
        start: `"start"` if everything did.
    """

    at: datetime
    by: str
    reason: str
    tasks: tuple[str, ...]
    start: str = ""


@define
class ExecutionRecord:
    """One run of a job, as far as it is durable. Changed only by `apply_event`; treat it as read-only.

    Args:
        id: unique; ids sort by time of submission.
        job: the job's name.
        submitted: when it was accepted (aware, UTC).
        state: where it stands.
        tasks: its tasks by name, in the job's order.
        params: the parameters it runs with.
        trigger: what caused it: `manual`, `schedule`, …
        scheduled_for: the scheduled instant it stands for, None when submitted by hand.
        definition: digest of the graph it runs on.
        started: when its first tasks could run; when they last could, if it was opened again.
        finished: when it reached its final state.
        modified: when it last changed.
        reason: why it ended as it did, where that is not plain from its tasks.
        ending: what it will be once all is done, after it was told to end; None before.
        forced: whether its clean-up was told to end too.
        version: how many events it is the fold of.
        reopenings: how often it was opened again after its end, by whom and why; oldest first.
        parent: the execution whose task runs this one, if one does.
        parent_task: that task.
        by: who submitted it, where that is known.
    """

    id: str
    job: str
    submitted: datetime
    state: State = State.NOTSTARTED
    tasks: dict[str, TaskRecord] = field(factory=dict)
    params: Mapping[str, Any] = field(factory=dict)
    trigger: str = "manual"
    scheduled_for: datetime | None = None
    definition: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    modified: datetime = field(default=Factory(lambda self: self.submitted, takes_self=True))
    reason: str = ""
    ending: State | None = None
    forced: bool = False
    version: int = 0
    reopenings: list[Reopening] = field(factory=list)
    parent: str = ""
    parent_task: str = ""
    by: str = ""

    def __getitem__(self, task: str) -> TaskRecord:
        """Return a task, as `job["name"]` does; KeyError if there is none of that name."""
        return self.tasks[task]

    @property
    def results(self) -> dict[str, Any]:
        """Results of the successful tasks, by name; those of items are in the result of their map."""
        return {
            name: task.result
            for name, task in self.tasks.items()
            if task.state is State.SUCCESSFUL and not task.mapped_from
        }


def item_name(mapped: str, index: int) -> str:
    """Return the name of an item's task."""
    return f"{mapped}[{index}]"


def item_results(tasks: Mapping[str, TaskRecord], mapped: TaskRecord) -> list[Any]:
    """Return the results of a map's items, in order; None for one that was not successful."""
    return [tasks[item_name(mapped.name, index)].result for index in range(mapped.items or 0)]


def submitted_record(event: ExecutionSubmitted) -> ExecutionRecord:
    """Return the record that the first event of an execution begins."""
    return ExecutionRecord(
        id=event.execution,
        job=event.job,
        submitted=event.at,
        tasks={name: TaskRecord(name) for name in event.tasks},
        params=event.params,
        trigger=event.trigger,
        scheduled_for=event.scheduled_for,
        definition=event.definition,
        parent=event.parent,
        parent_task=event.parent_task,
        by=event.by,
        version=event.version,
    )


def apply_event(record: ExecutionRecord, event: Event) -> None:
    """Fold one event into the record of its execution. Costs the same for 1 task as for 100,000.

    An `ExecutionReopened` costs what it begins anew; what begins and ends a map costs its items.

    Raises:
        CodecError: an event is missing before this one; the log has lost something.
    """
    if event.version <= record.version:
        return
    if event.version != record.version + 1:
        raise CodecError(
            f"execution {record.id}: event {event.version} ({event.type}) follows {record.version}; "
            f"the events between are missing from the log"
        )
    if event.task and event.task not in record.tasks:
        raise CodecError(
            f"execution {record.id}: event {event.version} is about task {event.task!r}, which it does not have"
        )
    record.version = event.version
    record.modified = event.at
    if event.task:
        _apply_to_task(record, record.tasks[event.task], event)
        return
    match event:
        case ExecutionStarted():
            record.state = State.RUNNING
            record.started = event.at
        case ExecutionCancelling():
            record.ending = event.state
            record.forced = event.forced
            record.reason = event.reason
        case ExecutionFinished():
            record.state = event.state
            record.finished = event.at
            record.reason = event.reason
        case ExecutionReopened():
            _reopen(record, event)
        case _:
            raise CodecError(f"execution {record.id}: event {event.version} has no meaning here: {event.type}")


def reopened_record(record: ExecutionRecord, event: ExecutionReopened) -> ExecutionRecord:
    """Return the record of an execution that is opened again; the one it had at its end stays as it is."""
    copy = evolve(
        record,
        tasks={
            name: evolve(task, attempts=[evolve(attempt) for attempt in task.attempts])
            for name, task in record.tasks.items()
        },
        reopenings=list(record.reopenings),
    )
    apply_event(copy, event)
    return copy


def _reopen(record: ExecutionRecord, event: ExecutionReopened) -> None:
    record.state = State.NOTSTARTED
    record.started = record.finished = None
    record.reason = ""
    record.ending = None
    record.forced = False
    record.reopenings.append(Reopening(event.at, event.by, event.reason, event.tasks, event.start))
    for name in event.tasks:
        _begin_anew_with_items(record, record.tasks[name], event)


def _expand(record: ExecutionRecord, mapped: TaskRecord, event: TaskExpanded) -> None:
    """Give each item a task; one that has run before, in an earlier opening of the execution, begins anew."""
    mapped.items = len(event.items)
    for index, item in enumerate(event.items):
        name = item_name(mapped.name, index)
        task = record.tasks.get(name)
        if task is None:
            task = record.tasks[name] = TaskRecord(name, mapped_from=mapped.name, index=index)
        else:
            _begin_anew(task, event)
        task.item = item


def _begin_anew_with_items(record: ExecutionRecord, task: TaskRecord, event: Event) -> None:
    """Let a task begin anew. A map forgets its items; the map of an item goes on with it."""
    for index in range(task.items or 0):
        former = record.tasks[item_name(task.name, index)]
        _begin_anew(former, event)
        former.state = State.SKIPPED
        former.reason = "its map begins anew"
    _begin_anew(task, event)
    mapped = record.tasks.get(task.mapped_from)
    if mapped is not None and mapped.items is not None and mapped.state.is_final:
        mapped.state = State.RUNNING
        mapped.result = mapped.finished = None
        mapped.reason = ""
        attempt = mapped.attempts[-1]
        attempt.state, attempt.finished, attempt.error, attempt.reason = State.RUNNING, None, None, ""


def _begin_anew(task: TaskRecord, event: Event) -> None:
    _end_attempt(task, event, State.FAILED, None, "interrupted")  # where an internal error left one running
    task.state = State.NOTSTARTED
    task.result = None
    task.reason = ""
    task.retry_at = None
    task.spared = 0
    task.finished = None
    task.earlier = task.attempt
    task.waiting = ""
    task.chosen = None
    task.items = None


def _apply_to_task(record: ExecutionRecord, task: TaskRecord, event: Event) -> None:
    if isinstance(event, TaskExpanded):
        _expand(record, task, event)
        return
    _apply_task(task, event)
    if task.items is not None:  # the one event that a map has after it was expanded is its end
        task.result = item_results(record.tasks, task)


def _apply_task(task: TaskRecord, event: Event) -> None:
    match event:
        case TaskStarted():
            task.state = State.RUNNING
            task.retry_at = None
            task.reason = event.reason
            task.waiting = event.waiting
            task.attempts.append(AttemptRecord(event.attempt, event.at, child=event.child))
        case TaskSucceeded():
            task.result = event.result
            task.chosen = event.chosen
            _end(task, event, State.SUCCESSFUL)
        case TaskFailed():
            _end(task, event, State.FAILED, event.error, event.reason)
        case TaskRetryScheduled():
            _end_attempt(task, event, State.FAILED, event.error, event.reason)
            task.state = State.UPFORRETRY
            task.reason = event.reason
            task.retry_at = event.retry_at
            task.waiting = ""
            task.spared += event.spared
        case TaskSkipped():
            _end(task, event, State.SKIPPED, reason=event.reason)
        case TaskCancelled():
            _end(task, event, State.CANCELLED, reason=event.reason)
        case _:
            raise CodecError(f"event {event.version} has no meaning for a task: {event.type}")


def _end(task: TaskRecord, event: Event, state: State, error: TaskError | None = None, reason: str = "") -> None:
    _end_attempt(task, event, state, error, reason)
    task.state = state
    task.reason = reason
    task.waiting = ""
    task.retry_at = None
    task.finished = event.at


def _end_attempt(task: TaskRecord, event: Event, state: State, error: TaskError | None, reason: str) -> None:
    if task.attempts and task.attempts[-1].finished is None:
        attempt = task.attempts[-1]
        attempt.state = state
        attempt.finished = event.at
        attempt.error = error
        attempt.reason = reason


def fold(events: Iterable[Event]) -> dict[str, ExecutionRecord]:
    """Fold a stream of events, from the first on, into the records it tells of, by execution id."""
    records: dict[str, ExecutionRecord] = {}
    for event in events:
        if isinstance(event, ExecutionSubmitted):
            records.setdefault(event.execution, submitted_record(event))
        elif event.version:
            if event.execution not in records:
                raise CodecError(f"execution {event.execution}: its first event is missing from the log")
            apply_event(records[event.execution], event)
    return records
