"""How an execution comes to be: checked, given an id, made durable; and only then is it told of.

An idempotency key names an execution once and for all: it is claimed in the store before the execution is, so that
whoever comes with the same key later, also to another engine after a crash, is given the same execution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.batch import Submission, submit_all
from goflow_trio.actors.execution import Execution
from goflow_trio.actors.executions import Executions
from goflow_trio.actors.surroundings import Parent
from goflow_trio.core import limits
from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.errors import UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.schedules import in_utc


async def submit(
    executions: Executions,
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    idempotency_key: str | None = None,
    scheduled_for: datetime | None = None,
    trigger: str = "manual",
    execution_id: str | None = None,
    parent: Parent | None = None,
    by: str = "",
) -> Execution:
    """Run a job. Returns once the execution is durable; see `Engine.submit` for what it raises.

    Args:
        executions: where it is run.
        name: the job's name.
        params: override the job's defaults.
        idempotency_key: submits of one job with equal keys are one execution, whenever they come.
        scheduled_for: the instant that it is for; with the trigger `"at"`, that at which it begins.
        trigger: why it is run, as its record tells.
        execution_id: its id, where that follows from something else; by default a new one.
        parent: the attempt whose child it is.
        by: who submits it.
    """
    job = executions.registry.job(name)
    merged = _merged_params(job, params)
    check = executions.check_takes_new if parent is None else executions.check_open
    check()
    execution_id = execution_id or executions.new_id()
    if idempotency_key is not None:
        claim = {"execution": execution_id, "at": executions.now()}
        winner = await executions.store.claim(keys.idempotency(name, idempotency_key), claim)
        execution_id = winner["execution"]
        known = executions.running(execution_id) or await executions.finished(execution_id)
        if known is not None:
            await executions.until_durable(known)
            return known
        check()
    execution = executions.running(execution_id)  # another submit with the same key was quicker
    if execution is None:
        execution = _launch(
            executions, execution_id, job, merged, scheduled_for=scheduled_for, trigger=trigger, parent=parent, by=by
        )
    await executions.until_durable(execution)
    return execution


async def submit_at(executions: Executions, submission: Submission) -> Execution:
    """Run a job for somebody, at once or at an instant; see `Engine.submit`."""
    trigger, instant = ("manual", None) if submission.at is None else ("at", in_utc(submission.at))
    return await submit(
        executions,
        submission.job,
        submission.params,
        idempotency_key=submission.idempotency_key,
        scheduled_for=instant,
        trigger=trigger,
        by=submission.by,
    )


async def submit_many(executions: Executions, submissions: Sequence[Submission]) -> list[Execution]:
    """Run many jobs at the price of few commits; see `Engine.submit_many`."""
    for submission in submissions:
        _merged_params(executions.registry.job(submission.job), submission.params)
    executions.check_takes_new(len(submissions))
    return await submit_all(lambda one: submit_at(executions, one), submissions)


def _launch(
    executions: Executions,
    execution_id: str,
    job: Job,
    params: dict[str, Any],
    *,
    scheduled_for: datetime | None,
    trigger: str,
    parent: Parent | None,
    by: str,
) -> Execution:
    account = executions.gate.account(execution_id, job)
    machine = ExecutionMachine(executions.registry.plans[job.name], execution_id, account.ask)
    step = machine.submit(
        executions.now(),
        params=params,
        scheduled_for=scheduled_for,
        trigger=trigger,
        parent="" if parent is None else parent.execution,
        parent_task="" if parent is None else parent.task,
        by=by,
    )
    begins_at = scheduled_for if trigger == "at" else None
    return executions.supervise(machine, job, params, step, account, begins_at=begins_at)


def _merged_params(job: Job, params: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = job.check_params(params or {})
    plain = codec.storable(merged, limits.PARAMS_BYTES)
    if "$unstored" in plain:
        raise UsageError(f"job {job.name!r}: these parameters cannot be stored: {plain['reason']}")
    return dict(plain)
