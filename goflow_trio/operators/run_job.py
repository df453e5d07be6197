"""The operator that runs another job and waits for it. Starting, finding and ending the child is the engine's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from goflow_trio.errors import DefinitionError, UsageError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Wait
from goflow_trio.operators.base import call_operator, prepare
from goflow_trio.operators.flow import condition_threads


def _check_job(_instance: object, _attribute: object, job: Any) -> None:
    if not (isinstance(job, Job) or (isinstance(job, str) and job)):
        raise DefinitionError(f"RunJob: job must be a Job or the name of one, got {job!r}")


def _check_params(_instance: object, _attribute: object, params: Any) -> None:
    if not (params is None or isinstance(params, Mapping) or callable(params)):
        raise DefinitionError(f"RunJob: params must be a mapping, or a function that returns one, got {params!r}")


@frozen
class RunJob:
    """Run another job as a child of this execution, wait for it, and return its results: `RunJob("load", {"day": 1})`.

    It holds no slot while it waits. The child is an execution of its own, with `trigger` `job`; the two name each other
    in their records. If the child does not end successful, the attempt fails. A retry of the task starts a new child. A
    cancel, or a time-out, of the task ends its child, and returns when nothing of it is left. When the parent is run
    again from what failed (`engine.retry`), so is the child. A crash in between starts none twice.

    Args:
        job: the job, or its name; a Job that is given here need not be registered besides.
        params: the child's parameters; or a function of the context, sync or async, that returns them.
    """

    job: Job | str = field(validator=_check_job)
    params: Mapping[str, Any] | Callable[..., Any] | None = field(default=None, validator=_check_params)

    @property
    def name(self) -> str:
        """The name of the job."""
        return self.job if isinstance(self.job, str) else self.job.name

    @property
    def waits(self) -> Wait:
        """What it waits for."""
        return Wait("job", f"waiting for job {self.name!r}")

    async def run(self, context: TaskContext) -> Any:
        """Run the job, or go on waiting for it."""
        params = self.params
        if callable(params):
            params = await call_operator(prepare(params), context, limiter=condition_threads())
        if params is not None and not isinstance(params, Mapping):
            raise UsageError(f"RunJob: the function for its params must return a mapping, got {params!r}")
        return await context.run_job(self.name, params or {})
