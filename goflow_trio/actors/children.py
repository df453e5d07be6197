"""Runs a job as the child of an attempt: begins it, or finds it again after a restart; ends it with its parent.

The child's id follows from the attempt (`core/ids.py`), so it is begun once, whatever is cut off in between. Only an
end of the attempt itself (cancel, time-out) ends the child; the end of the engine leaves both to be resumed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio
from attrs import frozen

from goflow_trio.core.messages import CancelRequested
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State
from goflow_trio.errors import DefinitionError, EngineClosed, JobFailed, StoreUnavailable, WrongState
from goflow_trio.jobs.graph import find_cycle
from goflow_trio.jobs.job import Job, build_job
from goflow_trio.operators.run_job import RunJob
from goflow_trio.operators.toll import Toll, current_toll

if TYPE_CHECKING:
    from goflow_trio.actors.engine import Engine, Execution

_STORE_SECONDS = 1.0


@frozen
class Parent:
    """The attempt that runs a child.

    Args:
        execution: its execution.
        task: its task.
        attempt: its number.
        child: the id of the child.
        again: whether an earlier attempt ran the same child, so that it goes on from what failed in it.
        scope: what ends the attempt.
    """

    execution: str
    task: str
    attempt: int
    child: str
    again: bool
    scope: trio.CancelScope

    @property
    def name(self) -> str:
        """How the child's record calls it."""
        return f"{self.execution}/{self.task}/{self.attempt}"


async def run_child(engine: Engine, parent: Parent, job: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of the child once it is over.

    Raises:
        JobFailed: it did not end successful.
        UnknownJob: there is no such job.
        UsageError: its parameters are wrong.
        Overloaded: too many executions are unfinished.
    """
    try:
        record = await _until_over(engine, parent, job, params)
    except EngineClosed:
        await trio.sleep_forever()  # until this is cut off with the engine; both are resumed
        raise
    except trio.Cancelled:
        if parent.scope.cancel_called:
            with trio.CancelScope(shield=True):
                await _end(engine, parent)
        raise
    if record.state is not State.SUCCESSFUL:
        raise JobFailed(f"job {job!r} is {record.state} (execution {record.id}): {record.reason}")
    return record.results


async def _until_over(engine: Engine, parent: Parent, job: str, params: Mapping[str, Any]) -> ExecutionRecord:
    while True:
        try:
            known = engine.running(parent.child)
            if known is not None:
                return await known.wait()
            record = await engine.find(parent.child)
            if record is None:
                await engine.submit_child(parent, job, params)
            elif not await _goes_on(engine, parent, record):
                return record
        except StoreUnavailable:
            await trio.sleep(_STORE_SECONDS)  # what was tried may have happened: look again


async def _goes_on(engine: Engine, parent: Parent, record: ExecutionRecord) -> bool:
    """Run again what failed in a child that an earlier attempt left, once for this attempt; return whether it runs."""
    done = any(one.by == parent.name for one in record.reopenings)
    if not parent.again or done or record.state is State.SUCCESSFUL:
        return False
    try:
        await engine.retry(record.id, by=parent.name, reason="its parent runs again")
    except WrongState:  # nothing in it failed
        return engine.running(record.id) is not None
    return True


async def _end(engine: Engine, parent: Parent) -> None:
    """End the child, and return when nothing of it is left."""
    child: Execution | None = engine.running(parent.child)
    if child is not None:
        try:
            receipt = await child.cancel(f"its parent {parent.name} ended")
        except EngineClosed:
            return
        toll = current_toll.get()
        if toll is not None:  # the parent's receipt counts it too
            toll.add(Toll(receipt.processes, receipt.killed, receipt.threads_abandoned))


def force(engine: Engine, child: str) -> None:
    """Pass on that clean-up is to be ended too."""
    known = engine.running(child)
    if known is not None:
        known.send(CancelRequested("its parent was ended by force", force=True))


def needed_by(job: Job, jobs: Iterable[Job]) -> list[Job]:
    """Return a job, and those of `jobs` that it runs by name, or that these run."""
    by_name = {one.name: one for one in jobs}
    needed = {job.name: job}
    to_look_at = [job]
    while to_look_at:
        for task in to_look_at.pop():
            if isinstance(task.operator, RunJob) and task.operator.name in by_name.keys() - needed.keys():
                needed[task.operator.name] = by_name[task.operator.name]
                to_look_at.append(by_name[task.operator.name])
    return list(needed.values())


def with_children(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return jobs by name, and with them those that their `RunJob` tasks hold.

    Raises:
        DefinitionError: two jobs have one name, a name is of none, or a job would run itself.
    """
    registered: dict[str, Job] = {}
    for job in jobs:
        if job.name in registered:
            raise DefinitionError(f"two jobs are named {job.name!r}; job names are unique in an engine")
        registered[job.name] = job
    to_look_at = deque(registered.values())
    graph: dict[str, list[str]] = {}
    while to_look_at:
        job = to_look_at.popleft()
        runs = [(task, task.operator) for task in job if isinstance(task.operator, RunJob)]
        graph[job.name] = [operator.name for _, operator in runs]
        for task, operator in runs:
            if operator.name in registered:
                continue
            if isinstance(operator.job, str):
                raise DefinitionError(
                    f"job {job.name!r}: task {task.name!r} runs job {operator.name!r}, which is not registered; add it"
                )
            registered[operator.name] = build_job(operator.job)
            to_look_at.append(operator.job)
    cycle = find_cycle(graph)
    if cycle is not None:
        raise DefinitionError(f"job {cycle[0]!r} would run itself without end: {' -> '.join(cycle)}; remove one RunJob")
    return registered
