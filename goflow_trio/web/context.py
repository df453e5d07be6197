"""A run with what makes sense of it: its graph, its neighbours in time, and the job's other runs to compare with."""

from __future__ import annotations

import statistics
from typing import Any

from goflow_trio.actors.engine import Engine
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State
from goflow_trio.jobs.job import Job
from goflow_trio.web import wire
from goflow_trio.web.executions import known
from goflow_trio.web.grid import TaskDefinition, good_seconds, task_definition
from goflow_trio.web.history import Run, history_of, sum_up
from goflow_trio.web.overview import RootFailure, Stamp, root_failure, short, stamp
from goflow_trio.web.routes import Routes
from goflow_trio.web.shapes import ExecutionDetails

routes = Routes("runs")

_COMPARED = 10


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
    record = await known(engine, execution)
    newest = await engine.newest(record.job, limit=_COMPARED)
    history = history_of(engine)
    await history.catch_up(record.job)
    record = await engine.find(execution) or record  # last: who goes on from the position that is told misses nothing
    runs = history.of(record.job)
    own = sum_up(record)
    before = [run for run in runs if run.id < record.id]
    took = [run.seconds for run in runs if run.seconds is not None and run.state is State.SUCCESSFUL]
    good = {name: good_seconds(one.tasks[name] for one in newest if name in one.tasks) for name in record.tasks}
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
