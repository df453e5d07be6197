"""A job's runs counted by day and state."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core.states import State
from goflow_trio.errors import ScheduleError, UsageError
from goflow_trio.schedules.zones import load_zone
from goflow_trio.web import wire
from goflow_trio.web.routes import Routes
from goflow_trio.web.runs import newest_runs, unheard_of
from goflow_trio.web.shapes import Timestamp

routes = Routes("runs")


class CalendarRange(Struct):
    """Which days, and where they begin."""

    days: Annotated[int, Meta(ge=1, le=400, description="how many days back")] = 182
    zone: Annotated[str, Meta(description="IANA zone the days are those of")] = "UTC"


class Day(Struct):
    """How many runs ended, or stand, in each state on one day."""

    day: str
    states: dict[State, int]


class Calendar(Struct):
    """A job's days that had runs, oldest first. `complete_from`: of days before it not all runs were counted."""

    job: str
    days: list[Day]
    complete_from: Timestamp


@routes.get("/api/jobs/{job}/calendar", errors=[404])
async def job_calendar(engine: Engine, job: str, query: CalendarRange) -> Calendar:
    """A job's runs counted by day and state, of the newest 2,000 at most."""
    try:
        zone = load_zone(query.zone)
    except ScheduleError as error:
        raise UsageError(str(error)) from None
    complete_from = since = engine.now() - timedelta(days=query.days)
    counts: dict[str, Counter[State]] = {}
    records, complete = await newest_runs(engine, job, since=since)
    if job not in engine.jobs and not records and not await engine.newest(job, limit=1):
        raise unheard_of(engine, job)
    for record in records:
        counts.setdefault(record.submitted.astimezone(zone).date().isoformat(), Counter())[record.state] += 1
    if not complete:
        complete_from = records[-1].submitted
    days = [Day(day, dict(count)) for day, count in sorted(counts.items())]
    return Calendar(job, days, wire.instant(complete_from))
