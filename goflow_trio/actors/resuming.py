"""How an execution goes on: one that the last engine left unfinished, and one that is over and is to run once more.

Both run on the graph they began with, whatever became of the job meanwhile.
"""

from __future__ import annotations

from goflow_trio.actors.execution import Execution
from goflow_trio.actors.executions import Executions
from goflow_trio.actors.store import unfinished
from goflow_trio.core.ending import end_broken
from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.plan import Plan, plan_shape
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.rerun import Start, tasks_to_rerun
from goflow_trio.core.states import State
from goflow_trio.errors import CodecError, EngineClosed, WrongState


async def resume_all(executions: Executions) -> None:
    """Go on with all that the last engine left unfinished; end those whose record or graph is damaged."""
    store = executions.store
    plans: list[tuple[ExecutionRecord, Plan]] = []
    for record in unfinished(store.ledger.live.values()):
        try:
            lost = store.ledger.broken.get(record.id)
            plan = await _plan_of(executions, record)
        except CodecError as error:
            lost = lost or str(error)
        if lost is not None:
            await store.append(end_broken(record, executions.now(), f"its record is damaged: {lost}"))
            continue
        plans.append((record, plan))
    for record, plan in plans:  # without a pause in between: a parent must find its child resumed
        _resume(executions, record, plan)


def _resume(executions: Executions, record: ExecutionRecord, plan: Plan) -> None:
    job = executions.registry.jobs.get(record.job)
    account = executions.gate.account(record.id, job)
    machine, step = ExecutionMachine.restore(plan, record, executions.now(), account.ask)
    waits = record.trigger == "at" and record.state is State.NOTSTARTED
    begins_at = record.scheduled_for if waits else None
    executions.supervise(machine, job, record.params, step, account, begins_at=begins_at)


async def retry(
    executions: Executions,
    execution_id: str,
    *,
    start: Start = "failed",
    task: str | None = None,
    downstream: bool = True,
    by: str = "",
    reason: str = "",
) -> Execution:
    """Run an execution that is over once more, in the same record; see `Engine.retry`."""
    executions.check_takes_new()
    record = await executions.known(execution_id)
    plan = await _plan_of(executions, record)
    executions.check_open()
    if executions.running(execution_id) is not None:
        raise WrongState(f"execution {execution_id} still runs; cancel it, or wait for its end")
    ledger = executions.store.ledger
    record = ledger.find(execution_id) or record  # another retry of it may have come and gone
    tasks = tasks_to_rerun(plan, record, start, task, downstream=downstream)
    job = executions.registry.jobs.get(record.job)
    account = executions.gate.account(record.id, job)
    machine, step = ExecutionMachine.reopen(
        plan,
        record,
        executions.now(),
        tasks=tasks,
        by=by,
        reason=reason,
        start=start if task is None else "",
        admit=account.ask,
    )
    ledger.held[execution_id] = record
    execution = executions.supervise(machine, job, record.params, step, account)
    await executions.until_durable(execution)
    if ledger.find(execution_id) is record:
        raise EngineClosed("the engine shut down before the retry was durable; ask for it again")
    return execution


async def _plan_of(executions: Executions, record: ExecutionRecord) -> Plan:
    """Return the graph an execution began with: the job's own, if that is still the same.

    Raises:
        CodecError: it is lost.
    """
    plan = executions.registry.plans.get(record.job)
    if plan is not None and plan.digest == record.definition:
        return plan
    shape = await executions.store.graph(record.definition)
    return plan_shape(record.job, shape, executions.registry.jobs.get(record.job))
