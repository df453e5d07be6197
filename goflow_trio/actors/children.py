"""Runs a job as the child of an attempt: begins it, or finds it again after a restart; ends it with its parent.

The child's id follows from the attempt (`core/ids.py`), so it is begun once, whatever is cut off in between. Only an
end of the attempt itself (cancel, time-out) ends the child; the end of the engine leaves both to be resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from goflow_trio.actors.execution import Execution
from goflow_trio.actors.executions import Executions
from goflow_trio.actors.resuming import retry
from goflow_trio.actors.submitting import submit
from goflow_trio.actors.surroundings import Parent
from goflow_trio.core.messages import CancelRequested
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State
from goflow_trio.errors import EngineClosed, JobFailed, StoreUnavailable, WrongState
from goflow_trio.operators.toll import Toll, current_toll

_STORE_SECONDS = 1.0


async def run_child(executions: Executions, parent: Parent, job: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of the child once it is over.

    Raises:
        JobFailed: it did not end successful.
        UnknownJob: there is no such job.
        UsageError: its parameters are wrong.
        Overloaded: too many executions are unfinished.
    """
    try:
        record = await _until_over(executions, parent, job, params)
    except EngineClosed:
        await trio.sleep_forever()  # until this is cut off with the engine; both are resumed
        raise
    except trio.Cancelled:
        if parent.scope.cancel_called:
            with trio.CancelScope(shield=True):
                await _end(executions, parent)
        raise
    if record.state is not State.SUCCESSFUL:
        raise JobFailed(f"job {job!r} is {record.state} (execution {record.id}): {record.reason}")
    return record.results


async def _until_over(executions: Executions, parent: Parent, job: str, params: Mapping[str, Any]) -> ExecutionRecord:
    while True:
        try:
            known = executions.running(parent.child)
            if known is not None:
                return await known.wait()
            record = await executions.store.find(parent.child)
            if record is None:
                await submit(executions, job, params, trigger="job", execution_id=parent.child, parent=parent)
            elif not await _goes_on(executions, parent, record):
                return record
        except StoreUnavailable:
            await trio.sleep(_STORE_SECONDS)  # what was tried may have happened: look again


async def _goes_on(executions: Executions, parent: Parent, record: ExecutionRecord) -> bool:
    """Run again what failed in a child that an earlier attempt left, once for this attempt; return whether it runs."""
    done = any(one.by == parent.name for one in record.reopenings)
    if not parent.again or done or record.state is State.SUCCESSFUL:
        return False
    try:
        await retry(executions, record.id, by=parent.name, reason="its parent runs again")
    except WrongState:  # nothing in it failed
        return executions.running(record.id) is not None
    return True


async def _end(executions: Executions, parent: Parent) -> None:
    """End the child, and return when nothing of it is left."""
    child: Execution | None = executions.running(parent.child)
    if child is not None:
        try:
            receipt = await child.cancel(f"its parent {parent.name} ended")
        except EngineClosed:
            return
        toll = current_toll.get()
        if toll is not None:  # the parent's receipt counts it too
            toll.add(Toll(receipt.processes, receipt.killed, receipt.threads_abandoned))


def force(executions: Executions, child: str) -> None:
    """Pass on that clean-up is to be ended too."""
    known = executions.running(child)
    if known is not None:
        known.send(CancelRequested("its parent was ended by force", force=True))
