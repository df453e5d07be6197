"""Records and events as JSON. Goflow's names on the wire are written here, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from goflow_trio.actors.gate import Limit
from goflow_trio.actors.health import Cause
from goflow_trio.actors.statistics import Durations, JobStatistics
from goflow_trio.actors.waiting import Waiting
from goflow_trio.core.messages import Event, TaskError
from goflow_trio.core.record import AttemptRecord, ExecutionRecord, TaskRecord
from goflow_trio.jobs.job import Job
from goflow_trio.web import shapes

_encoder = msgspec.json.Encoder(decimal_format="string")


def encode(value: Any) -> bytes:
    r"""Return JSON as Goflow writes it: no spaces, and `<`, `>`, `&` as `\u003c`, `\u003e`, `\u0026`."""
    data = _encoder.encode(plain(value))
    return data.replace(b"<", rb"\u003c").replace(b">", rb"\u003e").replace(b"&", rb"\u0026")


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: bytes as text, times in Goflow's form, keys as text, no NaN."""
    match value:
        case datetime():
            return timestamp(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def timestamp(at: datetime | None) -> str | None:
    """Return an instant as `instant` does, if there is one."""
    return None if at is None else instant(at)


def instant(at: datetime) -> str:
    """Return an instant in RFC 3339, UTC, trailing zeros of the fraction cut, as Go prints it."""
    text = at.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "Z"


def job_details(job: Job, *, active: bool) -> shapes.JobDetails:
    """Return a job as `GET /api/jobs/{job}` gives it; the graph's keys are sorted, as Goflow's are."""
    return shapes.JobDetails(
        job=job.name,
        tasks=[task.name for task in job],
        dag={name: list(downstream) for name, downstream in sorted(job.graph.items())},
        schedule=job.schedule_text,
        active=active,
        timezone=job.timezone,
        description=job.description,
        owner=job.owner,
        tags=list(job.tags),
        params=plain(dict(job.params)),
        params_schema=plain(job.params_schema()),
        groups=job.groups,
    )


def submitted(record: ExecutionRecord) -> shapes.Submitted:
    """Return the answer to a submit."""
    return shapes.Submitted(
        record.job, success=True, submitted=instant(record.submitted), id=record.id, by=record.by or UNSET
    )


def execution(record: ExecutionRecord) -> shapes.Execution:
    """Return an execution as listings and `/stream` give it: Goflow's fields, then ours."""
    return shapes.Execution(
        id=record.id,
        job=record.job,
        submitted=instant(record.submitted),
        modified_timestamp=instant(record.modified),
        state=record.state,
        tasks=[shapes.TaskSummary(task.name, task.state) for task in record.tasks.values()],
        trigger=record.trigger,
        scheduled_for=timestamp(record.scheduled_for),
        started=timestamp(record.started),
        finished=timestamp(record.finished),
        reason=record.reason,
        by=record.by,
    )


def wait(found: Waiting) -> shapes.Wait:
    """Return what a task waits for."""
    return shapes.Wait(found.task, found.reason, found.detail, list(found.held_by), timestamp(found.until))


def execution_details(record: ExecutionRecord) -> shapes.ExecutionDetails:
    """Return an execution with all that is known of its tasks."""
    return shapes.ExecutionDetails(
        id=record.id,
        job=record.job,
        submitted=instant(record.submitted),
        modified_timestamp=instant(record.modified),
        state=record.state,
        tasks=[_task(task) for task in record.tasks.values()],
        trigger=record.trigger,
        scheduled_for=timestamp(record.scheduled_for),
        started=timestamp(record.started),
        finished=timestamp(record.finished),
        reason=record.reason,
        by=record.by,
        params=plain(dict(record.params)),
        parent=record.parent,
        parent_task=record.parent_task,
        reopenings=[
            shapes.Reopening(at=instant(one.at), by=one.by, reason=one.reason, tasks=list(one.tasks))
            for one in record.reopenings
        ],
    )


def _task(task: TaskRecord) -> shapes.TaskDetails:
    return shapes.TaskDetails(
        name=task.name,
        state=task.state,
        attempt=task.attempt,
        started=timestamp(task.started),
        finished=timestamp(task.finished),
        retry_at=timestamp(task.retry_at),
        result=plain(task.result),
        error=_error(task.error),
        reason=task.reason,
        waiting=task.waiting,
        items=task.items,
        mapped_from=task.mapped_from,
        index=task.index,
        item=plain(task.item),
        attempts=[_attempt(attempt) for attempt in task.attempts],
    )


def _attempt(attempt: AttemptRecord) -> shapes.Attempt:
    return shapes.Attempt(
        number=attempt.number,
        state=attempt.state,
        started=instant(attempt.started),
        finished=timestamp(attempt.finished),
        error=_error(attempt.error),
        reason=attempt.reason,
        child=attempt.child,
    )


def _error(error: TaskError | None) -> shapes.Failure | None:
    return None if error is None else shapes.Failure(error.type, error.message, error.traceback)


def job_run(record: ExecutionRecord) -> shapes.JobRun:
    """Return an execution as Goflow's deprecated `/api/jobruns` gives it, task names sorted."""
    states = {name: task.state for name, task in sorted(record.tasks.items())}
    return shapes.JobRun(record.job, instant(record.submitted), shapes.RunState(record.state, shapes.RunTasks(states)))


def stats(job: str, found: JobStatistics) -> shapes.Stats:
    """Return the statistics of a job."""
    return shapes.Stats(
        job=job,
        executions=found.executions,
        oldest=timestamp(found.oldest),
        states=dict(found.states),
        success_rate=found.success_rate,
        durations=_durations(found.durations),
        tasks={
            name: shapes.TaskStats(dict(task.states), task.attempts, task.retried, _durations(task.durations))
            for name, task in found.tasks.items()
        },
    )


def _durations(found: Durations | None) -> shapes.Durations | None:
    if found is None:
        return None
    return shapes.Durations(found.count, found.mean, found.median, found.p95, found.longest)


def event(fact: Event) -> dict[str, Any]:
    """Return an event of the typed feed."""
    body: dict[str, Any] = {"seq": fact.seq, "at": timestamp(fact.at), "type": fact.type}
    for name in ("execution", "job", "task", "attempt"):
        if getattr(fact, name):
            body[name] = getattr(fact, name)
    for name, value in fact.payload().items():
        body[name] = _error(value) if isinstance(value, TaskError) else value
    return body


def reset(fact: Event, newest: Iterable[ExecutionRecord]) -> dict[str, Any]:
    """Return a `reset` with the snapshot to go on from."""
    return {**event(fact), "executions": [execution(record) for record in newest]}


def limit(one: Limit) -> shapes.Limit:
    """Return how a limit stands."""
    return shapes.Limit(one.name, one.capacity, one.used, one.waiting, list(one.held_by))


def cause(one: Cause) -> shapes.HealthCause:
    """Return one thing that is wrong."""
    return shapes.HealthCause(one.name, one.detail, one.blocks, UNSET if one.since is None else instant(one.since))
