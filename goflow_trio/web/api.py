"""The routes about the server and its jobs. Thin: ask the engine, answer."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core import limits
from goflow_trio.errors import UnknownJob
from goflow_trio.schedules import describe, dst_note
from goflow_trio.schedules.zones import load_zone
from goflow_trio.web import shapes, wire
from goflow_trio.web.routes import Answer, Headers, Routes

routes = Routes("jobs")


@routes.get("/api/health", role="open")
async def health(engine: Engine) -> shapes.Health:
    """Whether the server is well."""
    found = engine.health()
    strays = found.threads_abandoned or UNSET
    if not found.causes:
        return shapes.Health("OK", threads_abandoned=strays)
    causes = [wire.cause(cause) for cause in found.causes]
    return shapes.Health(found.state, found.causes[0].detail, causes, strays)


@routes.get("/api/ready", also={503: shapes.Ready})
async def ready(engine: Engine) -> Answer | shapes.Ready:
    """Whether the server takes work at the moment; 503 while it does not."""
    found = engine.health()
    cause = next((cause.detail for cause in found.causes if cause.blocks), None)
    return Answer(shapes.Ready(found.ready, cause), 200 if found.ready else 503)


@routes.get("/api/limits")
async def list_limits(engine: Engine) -> shapes.Limits:
    """What bounds the tasks and executions that run at once, and how each limit stands."""
    return shapes.Limits([wire.limit(one) for one in engine.slots()])


@routes.get("/api/jobs")
async def list_jobs(engine: Engine) -> shapes.Jobs:
    """The names of the jobs."""
    return shapes.Jobs(list(engine.jobs))


@routes.get("/api/jobs/{job}", also={404: shapes.UnknownJobDetails})
async def job_details(engine: Engine, job: str) -> Answer | shapes.JobDetails:
    """One job: its tasks, graph, schedule and parameters."""
    definition = engine.jobs.get(job)
    if definition is None:
        return Answer(shapes.UnknownJobDetails(), 404)
    return wire.job_details(definition, active=engine.is_active(job))


class HowMany(Struct):
    """How many instants."""

    n: Annotated[int, Meta(ge=1, le=1000, description="how many instants")] = 10


@routes.get("/api/jobs/{job}/next", errors=[404])
async def next_instants(engine: Engine, job: str, query: HowMany) -> shapes.Upcoming:
    """The next instants of a job's schedule, whether or not it is switched on."""
    instants = engine.upcoming(job, query.n)
    definition = engine.job(job)
    zone = load_zone(definition.timezone)
    return shapes.Upcoming(
        job,
        engine.is_active(job),
        [wire.instant(at) for at in instants],
        schedule=definition.schedule_text,
        timezone=definition.timezone,
        description=describe(definition.schedule) if definition.schedule is not None else "",
        instants=[
            shapes.Moment(wire.instant(at), at.astimezone(zone).isoformat(), dst_note(at, definition.timezone))
            for at in instants
        ],
    )


class Pause(Struct, forbid_unknown_fields=True):
    """For how long."""

    until: Annotated[shapes.Instant | None, Meta(description="when it goes on by itself; never without")] = None


@routes.post("/api/jobs/{job}/pause", errors=[404, 409])
async def pause(engine: Engine, caller: str, job: str, body: Pause | None) -> shapes.Schedule:
    """Switch a job's schedule off, for a while or for good. Doing so twice is as once."""
    await engine.pause(job, (body or Pause()).until, by=caller)
    return _schedule(engine, job)


class Resumption(Struct, forbid_unknown_fields=True, rename="camel"):
    """From where."""

    catch_up: Annotated[
        bool, Meta(description="instants that passed while it was off count as missed, for the job's policy to see to")
    ] = False


@routes.post("/api/jobs/{job}/resume", errors=[404, 409])
async def resume(engine: Engine, caller: str, job: str, body: Resumption | None) -> shapes.Schedule:
    """Switch a job's schedule on. Doing so twice is as once."""
    await engine.resume(job, catch_up=(body or Resumption()).catch_up, by=caller)
    return _schedule(engine, job)


def _schedule(engine: Engine, job: str) -> shapes.Schedule:
    return shapes.Schedule(job, engine.is_active(job), wire.timestamp(engine.paused_until(job)))


class StatsRange(Struct):
    """Which executions count."""

    limit: Annotated[int, Meta(ge=1, le=limits.LIST_EXECUTIONS, description="the latest so many executions count")] = (
        100
    )


@routes.get("/api/jobs/{job}/stats", errors=[404])
async def job_stats(engine: Engine, job: str, query: StatsRange) -> shapes.Stats:
    """A job's latest executions together: counts, durations, success rate, also of each task."""
    return wire.stats(job, await engine.stats(job, query.limit))


class Submission(Struct, forbid_unknown_fields=True):
    """What a submit may say."""

    params: dict[str, Any] | None = None
    at: Annotated[shapes.Instant | None, Meta(description="when it is to start; at once without")] = None


class SubmitHeaders(Headers):
    """How a submit can be repeated safely."""

    idempotency_key: Annotated[
        str | None, Meta(description="submits of one job with equal keys are one execution, whenever they come")
    ] = None


@routes.post("/api/jobs/{job}/submit", also={404: shapes.Submitted}, errors=[410, 422], lenient=True)
async def submit(
    engine: Engine, caller: str, job: str, headers: SubmitHeaders, body: Submission | None
) -> Answer | shapes.Submitted:
    """Run a job. A 2xx means that the execution is durable."""
    wish = body or Submission()
    try:
        execution = await engine.submit(
            job, wish.params, idempotency_key=headers.idempotency_key, at=wish.at, by=caller
        )
    except UnknownJob:
        return Answer(shapes.Submitted(job, success=False, submitted=""), 404)
    return wire.submitted(execution.record)


@routes.post("/api/jobs/{job}/toggle", also={404: shapes.Toggled}, errors=[409])
async def toggle(engine: Engine, caller: str, job: str) -> Answer | shapes.Toggled:
    """Switch a job's schedule on or off; remembered across restarts."""
    try:
        return shapes.Toggled(job, success=True, active=await engine.toggle(job, by=caller))
    except UnknownJob:
        return Answer(shapes.Toggled(job, success=False, active=False), 404)
