"""A job's latest runs by its tasks, one letter for each state, and what the job and its tasks are, in words."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core.record import ExecutionRecord, TaskRecord
from goflow_trio.core.states import State
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from goflow_trio.web import wire
from goflow_trio.web.history import CODES, history_of, sum_up
from goflow_trio.web.overview import HowManyRuns, Stamp, short, stamp
from goflow_trio.web.routes import Routes
from goflow_trio.web.runs import RunLine, line_fields, unheard_of
from goflow_trio.web.shapes import Timestamp

routes = Routes("runs")

_NEXT = 5
_DEFINITION_CHARS = 2_000


class TaskDefinition(Struct):
    """What a task is, in words."""

    operator: str
    retries: int
    retry_delay: str
    trigger_rule: str
    timeout: float | None
    idempotent: bool
    priority: int


class TaskLine(Struct):
    """A task over several runs. `median` and `longest` are seconds of its attempts that were good."""

    name: str
    successful: int
    failed: int
    retries: int
    median: float | int | None
    longest: float | int | None
    definition: TaskDefinition | None


class JobFacts(Struct):
    """A job's definition, and the next instants of its schedule."""

    schedule: str
    active: bool
    timezone: str
    description: str
    owner: str
    tags: list[str]
    params: dict[str, Any]
    next: list[Timestamp]
    overlap: str
    misfire: str
    dst: str
    timeout: float | None
    max_active_executions: int | None
    max_active_tasks: int | None


class GridRun(RunLine, kw_only=True):
    """A run with the states of the job's tasks, one letter each, in their order; `.` for one it did not have."""

    cells: str


class Missed(Struct):
    """Instants of a schedule, `count` from `first` to `last`, that had no run, and why. `cause` is one word of that."""

    first: Timestamp
    last: Timestamp
    count: int
    cause: str
    reason: str


class Grid(Stamp, kw_only=True):
    """A job's latest runs by its tasks. A job that is no longer registered has history but no definition."""

    job: str
    registered: bool
    definition: JobFacts | None
    tasks: list[TaskLine]
    dag: dict[str, list[str]]
    groups: dict[str, list[str]]
    runs: list[GridRun]
    missed: list[Missed]


@routes.get("/api/jobs/{job}/grid", errors=[404])
async def job_grid(engine: Engine, job: str, query: HowManyRuns) -> Grid:
    """A job's definition, and its latest runs with the state of each task."""
    records = list(reversed(await engine.newest(job, limit=query.runs)))
    definition = engine.jobs.get(job)
    if definition is None and not records:
        raise unheard_of(engine, job)
    if definition is not None:
        names, dag = [task.name for task in definition], {name: list(to) for name, to in definition.graph.items()}
    else:  # its code is gone, its history is not
        names, dag = list(records[-1].tasks), {name: [] for name in records[-1].tasks}
    runs = [
        GridRun(cells="".join(_cell(record, name) for name in names), **line_fields(record, sum_up(record)))
        for record in records
    ]
    return Grid(
        job=job,
        registered=definition is not None,
        definition=None if definition is None else _facts(engine, definition),
        tasks=[_task_line(definition, name, records) for name in names],
        dag=dag,
        groups={} if definition is None else definition.groups,
        runs=runs,
        missed=[
            Missed(wire.instant(event.first), wire.instant(event.last), event.count, event.cause, event.reason)
            for event in engine.missed(job)
            if event.first is not None and event.last is not None
        ],
        **stamp(engine, history_of(engine)),  # type: ignore[arg-type]
    )


def _cell(record: ExecutionRecord, task: str) -> str:
    return CODES[record.tasks[task].state] if task in record.tasks else "."


def _facts(engine: Engine, job: Job) -> JobFacts:
    return JobFacts(
        schedule=job.schedule_text,
        active=engine.is_active(job.name),
        timezone=job.timezone,
        description=job.description,
        owner=job.owner,
        tags=list(job.tags),
        params=wire.plain(dict(job.params)),
        next=[wire.instant(at) for at in engine.upcoming(job.name, _NEXT)],
        overlap=job.overlap,
        misfire=job.misfire,
        dst=job.dst,
        timeout=job.timeout,
        max_active_executions=job.max_active_executions,
        max_active_tasks=job.max_active_tasks,
    )


def _task_line(job: Job | None, name: str, records: list[ExecutionRecord]) -> TaskLine:
    found = [record.tasks[name] for record in records if name in record.tasks]
    took = good_seconds(found)
    return TaskLine(
        name=name,
        successful=sum(task.state is State.SUCCESSFUL for task in found),
        failed=sum(task.state is State.FAILED for task in found),
        retries=sum(max(0, task.attempt - 1) for task in found),
        median=short(statistics.median(took)) if took else None,
        longest=short(max(took)) if took else None,
        definition=None if job is None else task_definition(job[name]),
    )


def good_seconds(tasks: Iterable[TaskRecord]) -> list[float]:
    """Return how long the attempts took that were good."""
    return [
        (last.finished - last.started).total_seconds()
        for task in tasks
        if task.state is State.SUCCESSFUL and task.attempts and (last := task.attempts[-1]).finished is not None
    ]


def task_definition(task: Task) -> TaskDefinition:
    """Return what a task is. Shipped operators keep secrets out of their `repr`; of others only the name is told."""
    kind = type(task.operator)
    name = getattr(task.operator, "__qualname__", kind.__qualname__)
    text = repr(task.operator) if kind.__module__.startswith("goflow_trio.operators") else str(name)
    return TaskDefinition(
        operator=text[:_DEFINITION_CHARS],
        retries=task.retries,
        retry_delay=repr(task.retry_delay)[:_DEFINITION_CHARS],
        trigger_rule=str(getattr(task.trigger_rule, "value", "a function")),
        timeout=task.timeout,
        idempotent=task.idempotent,
        priority=task.priority,
    )
