"""Runs, for people who look for one: a list that says why each failed, a job's runs by its tasks, a run in its context.

All of it is read-only and made of records; what is compact is coded as in `overview`.
"""

from __future__ import annotations

import difflib
import statistics
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any

import trio
from msgspec import Meta, Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core.record import ExecutionRecord, TaskRecord
from goflow_trio.core.states import State
from goflow_trio.errors import ScheduleError, UnknownExecution, UnknownJob, UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from goflow_trio.schedules.zones import load_zone
from goflow_trio.web import wire
from goflow_trio.web.history import CODES, Run, first_line, history_of, sum_up
from goflow_trio.web.overview import HowManyRuns, RootFailure, Stamp, root_failure, short, stamp
from goflow_trio.web.routes import Routes
from goflow_trio.web.shapes import ExecutionDetails, Maybe, Timestamp

routes = Routes("runs")

SCANNED = 2_000
"""Executions that a search or a calendar looks at, at most, newest first."""

_PAGE = 200
_NEXT = 5
_COMPARED = 10
_DEFINITION_CHARS = 2_000


class RunLine(Struct, rename="camel", kw_only=True):
    """One run in one line. `attempts` is the most that a task had, `reopened` how often it was run again."""

    id: str
    job: str
    state: State
    submitted: Timestamp
    started: Maybe
    finished: Maybe
    trigger: str
    scheduled_for: Maybe
    reason: str
    attempts: int
    reopened: int
    done: int
    total: int
    failure: RootFailure | None


class RunList(Stamp, kw_only=True):
    """Runs, newest first.

    `counts` are those of all that match but for their state. `scanned` runs were looked at for them; unless `complete`
    there are older ones that were not, and a `next` to look at them from. Of states that are not final, `runs` and
    `counts` are always complete. `tags` are those of all jobs, whatever matches.
    """

    runs: list[RunLine]
    next: str | None
    counts: dict[State, int]
    scanned: int
    complete: bool
    tags: list[str]


class WantedRuns(Struct):
    """Which runs."""

    state: Annotated[str, Meta(description="only those in one of these states, with commas between")] = ""
    job: Annotated[str, Meta(description="only those of this job")] = ""
    tag: Annotated[str, Meta(description="only those of jobs with this tag")] = ""
    trigger: Annotated[str, Meta(description="only those begun so: `manual`, `schedule`, …")] = ""
    since: Annotated[str, Meta(description="only those submitted at this instant or later")] = ""
    until: Annotated[str, Meta(description="only those submitted before this instant")] = ""
    ids: Annotated[str, Meta(max_length=4000, description="only these, with commas between")] = ""
    search: Annotated[str, Meta(description="only those with this text in id, job, parameters or error")] = ""
    limit: Annotated[int, Meta(ge=1, le=500, description="at most so many")] = 50
    cursor: Annotated[str, Meta(description="the `next` of the page before")] = ""


@routes.get("/api/runs")
async def list_runs(engine: Engine, query: WantedRuns) -> RunList:
    """Runs, newest first, each with the error it failed by, and counts of what matches.

    Looks at 2,000 at a time: `complete` tells whether those were all, and `next` leads on if not.
    """
    wanted = _Filter(query)
    seq = stamp(engine, history_of(engine))
    counts: Counter[State] = Counter()
    found: list[tuple[ExecutionRecord, Run]] = []
    if query.ids:
        known = [await engine.find(one) for one in sorted(set(query.ids.split(",")), reverse=True)]
        records, complete = [record for record in known if record is not None], True
    else:
        records, complete = await _newest(engine, query.job or None, query.cursor or None, wanted.since, wanted.until)
    last = records[-1].id if records else ""
    for record in records:
        if wanted.fits(record, engine):
            run = sum_up(record)
            counts[run.state] += 1
            if wanted.has(run.state) and len(found) <= query.limit:
                found.append((record, run))
    following = found[query.limit - 1][1].id if len(found) > query.limit else None if complete else last
    if not complete:  # what is unfinished is at hand, however old it is
        older = [(record, sum_up(record)) for record in _unfinished(engine, last) if wanted.fits(record, engine)]
        counts.update(run.state for _, run in older)
        if wanted.states and not any(State(state).is_final for state in wanted.states):
            found += [(record, run) for record, run in older if wanted.has(run.state)]
            following = found[query.limit - 1][1].id if len(found) > query.limit else None
    rows = [run_line(record, run) for record, run in found[: query.limit]]
    return RunList(
        runs=rows,
        next=following,
        counts=dict(counts),
        scanned=len(records),
        complete=complete,
        tags=sorted({tag for job in engine.jobs.values() for tag in job.tags}),
        **seq,  # type: ignore[arg-type]
    )


def _unfinished(engine: Engine, before: str) -> list[ExecutionRecord]:
    """Return what is unfinished of the executions that are older than one, newest first."""
    live = engine.store.ledger.live.values()
    return sorted((one for one in live if one.id < before), key=lambda one: one.id, reverse=True)


class _Filter:
    """Which runs a query asks for, read from its words."""

    def __init__(self, query: WantedRuns) -> None:
        self.states = frozenset(query.state.split(",")) if query.state else frozenset()
        unknown = self.states.difference(State)
        if unknown:
            raise UsageError(f"there is no state {min(unknown)[:100]!r}; states are: {', '.join(State)}")
        self.since = _instant("since", query.since)
        self.until = _instant("until", query.until)
        self._query = query
        self._text = query.search.casefold()

    def has(self, state: State) -> bool:
        """Return whether runs in this state are asked for."""
        return not self.states or state in self.states

    def fits(self, record: ExecutionRecord, engine: Engine) -> bool:
        """Return whether it is asked for, whatever its state."""
        query = self._query
        if query.job and record.job != query.job:
            return False
        if self.since is not None and record.submitted < self.since:
            return False
        if self.until is not None and record.submitted >= self.until:
            return False
        if query.trigger and record.trigger != query.trigger:
            return False
        if query.tag and (record.job not in engine.jobs or query.tag not in engine.jobs[record.job].tags):
            return False
        return not self._text or self._text in _searchable(record)


def _searchable(record: ExecutionRecord) -> str:
    failure = sum_up(record).failure
    parts = [record.id, record.job, record.reason, str(dict(record.params))]
    if failure is not None:
        parts += [failure.task, failure.type, failure.message]
    return "\n".join(parts).casefold()


def _instant(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UsageError(f"{name} must be an instant such as 2026-11-24T03:00:00Z, got {text[:100]!r}")
    return instant


async def _newest(
    engine: Engine,
    job: str | None,
    before: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[list[ExecutionRecord], bool]:
    """Return executions, newest first, as many as are looked at, and whether those are all."""
    found: list[ExecutionRecord] = []
    while True:
        page = await engine.newest(job, None, _PAGE, before, since, until)
        found += page
        if len(page) < _PAGE or len(found) > SCANNED:
            return found[:SCANNED], len(found) <= SCANNED
        before = page[-1].id
        await trio.lowlevel.checkpoint()


def run_line(record: ExecutionRecord, run: Run) -> RunLine:
    """Return a run in one line."""
    return RunLine(**_line(record, run))


def _line(record: ExecutionRecord, run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "job": record.job,
        "state": run.state,
        "submitted": wire.instant(run.submitted),
        "started": wire.timestamp(run.started),
        "finished": wire.timestamp(run.finished),
        "trigger": run.trigger,
        "scheduled_for": wire.timestamp(record.scheduled_for),
        "reason": first_line(record.reason),
        "attempts": max((task.attempt for task in record.tasks.values()), default=0),
        "reopened": len(record.reopenings),
        "done": run.done,
        "total": run.total,
        "failure": root_failure(run),
    }


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
        near = difflib.get_close_matches(job[:100], engine.jobs, n=3)
        mend = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownJob(f"no job {job[:100]!r} is registered, and no run of one is kept{mend}")
    if definition is not None:
        names, dag = [task.name for task in definition], {name: list(to) for name, to in definition.graph.items()}
    else:  # its code is gone, its history is not
        names, dag = list(records[-1].tasks), {name: [] for name in records[-1].tasks}
    runs = [
        GridRun(cells="".join(_cell(record, name) for name in names), **_line(record, sum_up(record)))
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
    took = _good_seconds(found)
    return TaskLine(
        name=name,
        successful=sum(task.state is State.SUCCESSFUL for task in found),
        failed=sum(task.state is State.FAILED for task in found),
        retries=sum(max(0, task.attempt - 1) for task in found),
        median=short(statistics.median(took)) if took else None,
        longest=short(max(took)) if took else None,
        definition=None if job is None else task_definition(job[name]),
    )


def _good_seconds(tasks: Iterable[TaskRecord]) -> list[float]:
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


class CalendarRange(Struct):
    """Which days, and where they begin."""

    days: Annotated[int, Meta(ge=1, le=400, description="how many days back")] = 182
    zone: Annotated[str, Meta(description="IANA zone the days are those of")] = "UTC"


class Day(Struct):
    """How many runs ended, or stand, in each state on one day."""

    day: str
    states: dict[State, int]


class Calendar(Struct):
    """A job's days that had runs, oldest first. `complete_from`: of days before it not all runs were counted."""

    job: str
    days: list[Day]
    complete_from: Timestamp


@routes.get("/api/jobs/{job}/calendar")
async def job_calendar(engine: Engine, job: str, query: CalendarRange) -> Calendar:
    """A job's runs counted by day and state, of the newest 2,000 at most."""
    try:
        zone = load_zone(query.zone)
    except ScheduleError as error:
        raise UsageError(str(error)) from None
    complete_from = since = engine.now() - timedelta(days=query.days)
    counts: dict[str, Counter[State]] = {}
    records, complete = await _newest(engine, job, since=since)
    for record in records:
        counts.setdefault(record.submitted.astimezone(zone).date().isoformat(), Counter())[record.state] += 1
    if not complete:
        complete_from = records[-1].submitted
    days = [Day(day, dict(count)) for day, count in sorted(counts.items())]
    return Calendar(job, days, wire.instant(complete_from))


class RunContext(Stamp, kw_only=True):
    """A run, and what makes sense of it.

    `median` is how long the job's good runs take, in seconds, `timeout` how long one may. `medians` is how long each of
    its tasks takes where it is good, over the job's ten newest runs; one that never was is not in it. `alike` are those
    of the `compared` runs before it that failed in the same way: the same task, and an error that differs in numbers
    only.
    """

    execution: ExecutionDetails
    registered: bool
    dag: dict[str, list[str]]
    groups: dict[str, list[str]]
    definitions: dict[str, TaskDefinition]
    defaults: dict[str, Any]
    timezone: str
    previous: str | None
    next: str | None
    median: float | int | None
    medians: dict[str, float | int]
    timeout: float | None
    failure: RootFailure | None
    alike: list[str]
    compared: int


@routes.get("/api/executions/{execution}/context", errors=[404, 410])
async def execution_context(engine: Engine, execution: str) -> RunContext:
    """One execution with its graph, its neighbours in time, and how it compares to the job's other runs."""
    record = await engine.find(execution)
    if record is None:
        raise UnknownExecution(f"no execution has the id {execution[:100]!r}; it may be older than what is kept")
    history = history_of(engine)
    await history.catch_up(record.job)
    record = await engine.find(execution) or record
    runs = history.of(record.job)
    own = sum_up(record)
    before = [run for run in runs if run.id < record.id]
    took = [run.seconds for run in runs if run.seconds is not None and run.state is State.SUCCESSFUL]
    newest = await engine.newest(record.job, limit=_COMPARED)
    good = {name: _good_seconds(one.tasks[name] for one in newest if name in one.tasks) for name in record.tasks}
    job = engine.jobs.get(record.job)
    return RunContext(
        execution=wire.execution_details(record),
        registered=job is not None,
        dag=_dag(record, job),
        groups={} if job is None else job.groups,
        definitions={} if job is None else {t.name: task_definition(t) for t in job if t.name in record.tasks},
        defaults={} if job is None else wire.plain(dict(job.params)),
        timezone="UTC" if job is None else job.timezone,
        previous=before[-1].id if before else None,
        next=next((run.id for run in runs if run.id > record.id), None),
        median=short(statistics.median(took)) if took else None,
        medians={name: short(statistics.median(seconds)) for name, seconds in good.items() if seconds},
        timeout=None if job is None else job.timeout,
        failure=root_failure(own),
        alike=[run.id for run in before[-_COMPARED:] if _are_alike(run, own)],
        compared=len(before[-_COMPARED:]),
        **stamp(engine, history),  # type: ignore[arg-type]
    )


def _are_alike(one: Run, other: Run) -> bool:
    if one.failure is None or other.failure is None:
        return False
    return one.failure.fingerprint == other.failure.fingerprint


def _dag(record: ExecutionRecord, job: Job | None) -> dict[str, list[str]]:
    graph = {} if job is None else job.graph
    return {
        name: [to for to in graph.get(name, ()) if to in record.tasks]
        for name, task in record.tasks.items()
        if not task.mapped_from  # an item stands where its map does
    }
