"""The routes about backfills: a job run for past instants of its schedule, each at most once."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from goflow_trio.actors.backfill import Backfill
from goflow_trio.actors.engine import Engine
from goflow_trio.errors import NotFound
from goflow_trio.web import shapes, wire
from goflow_trio.web.routes import Routes

routes = Routes("backfills")


class Wish(Struct, forbid_unknown_fields=True):
    """Which instants."""

    since: Annotated[shapes.Instant, Meta(description="the first moment that counts")]
    until: Annotated[shapes.Instant, Meta(description="the first moment that does not count any more")]
    limit: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="so many at once; else one after the other")
    ] = None


@routes.post("/api/jobs/{job}/backfill", errors=[404, 409])
async def backfill(engine: Engine, caller: str, job: str, body: Wish) -> shapes.Backfill:
    """Run a job for past instants of its schedule, each at most once. It goes on by itself, after a restart too."""
    return _shown(await engine.backfill(job, body.since, body.until, limit=body.limit, by=caller))


@routes.get("/api/jobs/{job}/backfills", errors=[404])
async def list_backfills(engine: Engine, job: str) -> shapes.Backfills:
    """The backfills of a job that go on or ended lately, the newest last."""
    return shapes.Backfills([_shown(one) for one in engine.backfills(engine.job(job).name)])


@routes.post("/api/backfills/{backfill}/cancel", errors=[404])
async def cancel_backfill(engine: Engine, caller: str, backfill: str) -> shapes.Backfill:
    """End a backfill, and what of it is running."""
    for one in engine.backfills():
        if one.id == backfill:
            await one.cancel(executions=True, by=caller)
            return _shown(one)
    raise NotFound(f"no backfill has the id {backfill[:100]!r}; GET /api/jobs/{{job}}/backfills lists those of a job")


def _shown(one: Backfill) -> shapes.Backfill:
    progress = one.progress
    return shapes.Backfill(
        id=one.id,
        job=one.range.job,
        since=wire.instant(one.range.since),
        until=wire.instant(one.range.until),
        limit=one.range.limit,
        by=one.range.by,
        state=progress.state,
        total=progress.total,
        present=progress.present,
        submitted=progress.submitted,
        successful=progress.successful,
        failed=progress.failed,
    )
