"""The jobs that an engine runs: by name, checked against each other, each with the graph its executions begin with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from goflow_trio.core.plan import Plan, plan_job
from goflow_trio.errors import CycleError, DefinitionError, UnknownJob
from goflow_trio.jobs.graph import find_cycle, topological_order
from goflow_trio.jobs.job import Job, build_job
from goflow_trio.jobs.names import did_you_mean
from goflow_trio.operators.run_job import RunJob


class Registry:
    """The registered jobs.

    Args:
        jobs: valid jobs; what their `RunJob` tasks hold is registered with them.

    Attributes:
        jobs: by name, in the order of registration.
        plans: the graph of each.

    Raises:
        DefinitionError: two jobs have one name, a name is of none, or a job would run or follow itself.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        registered = with_children(jobs)
        check_triggers(registered)
        self.jobs: Mapping[str, Job] = MappingProxyType(registered)
        self.plans: Mapping[str, Plan] = MappingProxyType({name: plan_job(job) for name, job in registered.items()})

    def job(self, name: str) -> Job:
        """Return a registered job.

        Raises:
            UnknownJob: there is none of this name.
        """
        try:
            return self.jobs[name]
        except KeyError:
            raise UnknownJob(f"no job {name[:100]!r} is registered{did_you_mean(name, self.jobs)}") from None


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


def check_triggers(jobs: Mapping[str, Job]) -> None:
    """Check that what jobs follow is there, and that none follows itself.

    Raises:
        DefinitionError: a job that is followed is not registered.
        CycleError: jobs follow each other; it carries the cycle as a path.
    """
    for job in jobs.values():
        for name in (*job.after, *job.after_done):
            if name not in jobs:
                raise DefinitionError(f"job {job.name!r} runs after {name!r}, which is not registered; add that job")
    graph: dict[str, list[str]] = {name: [] for name in jobs}
    for job in jobs.values():
        for name in dict.fromkeys((*job.after, *job.after_done)):
            graph[name].append(job.name)
    if topological_order(graph) is None:
        path = find_cycle(graph) or []
        raise CycleError(path[0] if path else "", path, "it would run after itself")
