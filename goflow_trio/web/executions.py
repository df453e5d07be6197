"""The routes about executions: list them, look at one, end one."""

from __future__ import annotations

from typing import Annotated, Any

from attrs import asdict
from msgspec import Meta, Struct

from goflow_trio.actors.batch import Submission
from goflow_trio.actors.engine import Engine
from goflow_trio.core import limits
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.rerun import Start
from goflow_trio.errors import UnknownExecution
from goflow_trio.web import shapes, wire
from goflow_trio.web.routes import Routes

routes = Routes("executions")


class Wanted(Struct):
    """Which executions, in Goflow's words: an empty value counts as none, an unknown one matches nothing."""

    jobname: Annotated[str, Meta(description="only those of this job")] = ""
    state: Annotated[str, Meta(description="only those in this state")] = ""


class Page(Wanted):
    """Which executions, and which of their pages."""

    limit: Annotated[
        Annotated[int, Meta(ge=1, le=limits.LIST_EXECUTIONS)] | None, Meta(description="at most so many")
    ] = None
    cursor: shapes.Cursor = ""
    since: Annotated[shapes.Instant | None, Meta(description="only those submitted at this instant or later")] = None
    until: Annotated[shapes.Instant | None, Meta(description="only those submitted before this instant")] = None


@routes.get("/api/executions")
async def list_executions(engine: Engine, query: Page) -> shapes.Executions:
    """Executions, newest first.

    With a `limit` the answer has `next`, the cursor of the following page or null; without one it has Goflow's shape.
    """
    limit = query.limit or limits.LIST_EXECUTIONS
    records = await engine.newest(
        query.jobname or None, query.state or None, limit, query.cursor or None, query.since, query.until
    )
    answer = shapes.Executions([wire.execution(record) for record in records])
    if query.limit is not None:
        answer.next = records[-1].id if len(records) == limit else None
    return answer


class BatchEntry(Struct, forbid_unknown_fields=True, rename="camel"):
    """One submit of a batch."""

    job: str
    params: dict[str, Any] | None = None
    idempotency_key: str | None = None
    at: shapes.Instant | None = None


@routes.post("/api/executions", errors=[404, 410, 422])
async def submit_batch(
    engine: Engine, caller: str, body: Annotated[list[BatchEntry], Meta(max_length=limits.BATCH)]
) -> shapes.Batch:
    """Submit many executions at once, of one job or several.

    They share their commits, so this is the way to submit in bulk. Nothing is submitted if one of them cannot be. A 2xx
    means that all are durable; after a 503 some may be, and idempotency keys make trying again safe.
    """
    submissions = [Submission(entry.job, entry.params, entry.idempotency_key, entry.at, caller) for entry in body]
    begun = await engine.submit_many(submissions)
    return shapes.Batch([wire.submitted(execution.record) for execution in begun])


@routes.get("/api/jobruns")
async def list_job_runs(engine: Engine, query: Wanted) -> shapes.JobRuns:
    """Executions in the shape of Goflow's older route; use `/api/executions`."""
    records = await engine.newest(query.jobname or None, query.state or None)
    return shapes.JobRuns([wire.job_run(record) for record in records])


async def known(engine: Engine, execution: str) -> ExecutionRecord:
    """Return the record of an execution.

    Raises:
        UnknownExecution: there is none.
    """
    record = await engine.find(execution)
    if record is None:
        raise UnknownExecution(f"no execution has the id {execution[:100]!r}; it may be older than what is kept")
    return record


@routes.get("/api/executions/{execution}", errors=[404, 410])
async def execution_details(engine: Engine, execution: str) -> shapes.ExecutionDetails:
    """One execution, with its tasks, attempts, results and errors."""
    record = await known(engine, execution)
    return wire.execution_details(record)


@routes.get("/api/executions/{execution}/waiting", errors=[404])
async def waiting(engine: Engine, execution: str) -> shapes.Waits:
    """Why its tasks do not run: for each that has not ended and does not run, what it waits for and who holds it."""
    record = await known(engine, execution)
    return shapes.Waits([wire.wait(one) for one in ([] if record.state.is_final else engine.waiting(execution))])


class RetryWish(Struct, forbid_unknown_fields=True, rename={"start": "from"}):
    """What is to run again."""

    start: Annotated[Start, Meta(description="what failed and what comes after it, or everything")] = "failed"
    task: Annotated[str | None, Meta(description="this task instead, however it ended")] = None
    downstream: Annotated[bool, Meta(description="with `task`: whether what comes after it runs again too")] = True
    reason: Annotated[str, Meta(description="why; kept in the record")] = ""


@routes.post("/api/executions/{execution}/retry", errors=[404, 409, 410])
async def retry(engine: Engine, caller: str, execution: str, body: RetryWish | None) -> shapes.Execution:
    """Run an execution that is over once more, in the same record. What does not run again keeps its result."""
    wish = body or RetryWish()
    again = await engine.retry(
        execution, start=wish.start, task=wish.task, downstream=wish.downstream, by=caller, reason=wish.reason
    )
    return wire.execution(again.record)


class CancelWish(Struct, forbid_unknown_fields=True):
    """What is to end."""

    task: Annotated[str | None, Meta(description="this task alone; what comes after it follows its rule")] = None
    force: Annotated[bool, Meta(description="end clean-up tasks too")] = False
    reason: Annotated[str, Meta(description="why; kept in the record")] = ""


@routes.post("/api/executions/{execution}/cancel", errors=[404, 410])
async def cancel(engine: Engine, caller: str, execution: str, body: CancelWish | None) -> shapes.Receipt:
    """End an execution, or one task of it. Answers when nothing of it is left running."""
    wish = body or CancelWish()
    reason = wish.reason or ("" if caller else "cancelled over the API")
    receipt = await engine.cancel(execution, reason, force=wish.force, task=wish.task, by=caller)
    return shapes.Receipt(**(asdict(receipt) | {"seconds": round(receipt.seconds, 6)}))
