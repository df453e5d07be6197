"""The routes about the server as a whole: let it drain, switch all schedules at once."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core.states import State
from goflow_trio.web import wire
from goflow_trio.web.routes import Routes
from goflow_trio.web.shapes import Instant, Maybe

routes = Routes("operating")


class Drain(Struct, forbid_unknown_fields=True):
    """Whether to."""

    draining: Annotated[bool, Meta(description="false takes it back")] = True


class Draining(Struct):
    """Since when the server takes on nothing new, if so; and what it has still to do."""

    draining: Maybe
    executions: int
    tasks: int


@routes.post("/api/drain")
async def drain(engine: Engine, body: Drain | None) -> Draining:
    """Take on nothing new, for a restart that cuts nothing: what has begun goes on to its end.

    Submits and retries are refused with 503 and `/api/ready` says why; schedules wait, and what they miss is a misfire.
    It lasts until it is taken back or the server ends.
    """
    engine.drain(draining=(body or Drain()).draining)
    live = engine.store.ledger.live.values()
    tasks = sum(task.state is State.RUNNING for record in live for task in record.tasks.values())
    return Draining(wire.timestamp(engine.draining), len(live), tasks)


class Schedules(Struct, forbid_unknown_fields=True):
    """Whose schedules."""

    jobs: Annotated[
        list[str] | None, Meta(description="these; without, all that are on, or off, as the case may be")
    ] = None
    until: Annotated[Instant | None, Meta(description="of a pause: when they go on by themselves")] = None


class Switched(Struct):
    """The jobs whose schedules were switched, in their order: those that stood otherwise before."""

    jobs: list[str]


@routes.post("/api/schedules/pause", errors=[404, 409])
async def pause_schedules(engine: Engine, caller: str, body: Schedules | None) -> Switched:
    """Switch the schedules of many jobs off, durably."""
    wish = body or Schedules()
    names = [name for name in _named(engine, wish.jobs) if engine.is_active(name)]
    for name in names:
        await engine.pause(name, wish.until, by=caller)
    return Switched(names)


@routes.post("/api/schedules/resume", errors=[404, 409])
async def resume_schedules(engine: Engine, caller: str, body: Schedules | None) -> Switched:
    """Switch the schedules of many jobs on, durably. Each begins with its next instant."""
    names = [name for name in _named(engine, (body or Schedules()).jobs) if not engine.is_active(name)]
    for name in names:
        await engine.resume(name, by=caller)
    return Switched(names)


def _named(engine: Engine, jobs: list[str] | None) -> list[str]:
    """Return the jobs that are meant: those named, or all with a schedule."""
    if jobs is not None:
        return [engine.job(name).name for name in jobs]
    return [name for name, job in engine.jobs.items() if job.schedule is not None]
