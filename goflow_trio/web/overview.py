"""What is going on, in one answer: all jobs with their latest runs.

The answers are compact, for whoever shows many runs at once, the dashboard first of all. Each is stamped with the
position in the log that it is true of: follow `/api/events?after=<seq>` and nothing is missed or told twice.
"""

from __future__ import annotations

import importlib.metadata
from bisect import bisect_right
from typing import Annotated

from msgspec import Meta, Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.jobs.job import Job
from goflow_trio.web import wire
from goflow_trio.web.history import CODES, KEPT, History, Run, history_of
from goflow_trio.web.routes import Routes
from goflow_trio.web.shapes import Maybe, Timestamp

routes = Routes("overview")

BUILD = importlib.metadata.version("goflow-trio")
_LATE_SECONDS = 60


class Stamp(Struct, kw_only=True):
    """What an answer is true of.

    `seq` is a position in the log. `server_time` corrects a reader's clock; `build` and `started` tell it that the
    server is another one than before.
    """

    seq: int
    server_time: Timestamp
    build: str
    started: Timestamp


def stamp(engine: Engine, history: History) -> dict[str, str | int]:
    """Return the fields of a stamp, as of now."""
    return {
        "seq": engine.seq,
        "server_time": wire.instant(engine.now()),
        "build": BUILD,
        "started": wire.instant(history.begun),
    }


class RootFailure(Struct):
    """Why a run failed: its first task that did. `message` is the first line of the error."""

    id: str
    task: str
    type: str
    message: str


class LiveRun(Struct):
    """A run that goes on. `retrying` are its tasks that wait for their next attempt."""

    id: str
    submitted: Timestamp
    started: Maybe
    retrying: list[str]
    done: int
    total: int


class JobLine(Struct, kw_only=True, omit_defaults=True):
    """One job in one line. A field that is left out has its default.

    `states` has one letter for each of its latest runs, oldest first: `s`uccessful, `f`ailed, `r`unning, `u`p for
    retry, `c`ancelled, `n`ot started. `took` has two characters for each, in the same order: how long it took, to three
    digits, or two spaces. Read them as a number of base 91, whose digits are the characters from `#` to `~` but for
    the backslash: it is `900 * exponent + digits - 100`, and the time `digits * 10 ** (exponent - 5)` seconds. `last`
    is the id of the newest, a UUID that begins with the time it was submitted. `live` are the runs that go on, in the
    same order. `failure` is why the newest one failed. `late`: an instant of its schedule passed without a run.
    `missed` are instants that will have none, as pairs: before which of these runs, and how many.
    """

    name: str
    description: str = ""
    owner: str = ""
    tags: list[str] = []
    schedule: str = ""
    timezone: str = "UTC"
    active: bool
    paused_until: Maybe = None
    late: bool = False
    next: Maybe = None
    params: int = 0
    states: str
    took: str
    last: str | None = None
    failure: RootFailure | None = None
    live: list[LiveRun] = []
    missed: list[Annotated[list[int], Meta(min_length=2, max_length=2)]] = []


class Overview(Stamp, kw_only=True):
    """All jobs. `problem` says why no work is taken, if none is."""

    problem: str | None
    jobs: list[JobLine]


class HowManyRuns(Struct):
    """How far back."""

    runs: Annotated[int, Meta(ge=1, le=KEPT, description="the latest so many runs of each job")] = 50


@routes.get("/api/overview")
async def overview(engine: Engine, query: HowManyRuns) -> Overview:
    """All jobs with their latest runs, compact: 500 jobs with 50 runs each are less than 200 kB."""
    history = history_of(engine)
    await history.catch_up()
    jobs = [_job_line(engine, job, history.of(job.name)[-query.runs :]) for job in engine.jobs.values()]
    return Overview(problem=engine.problem, jobs=jobs, **stamp(engine, history))  # type: ignore[arg-type]


def _job_line(engine: Engine, job: Job, runs: list[Run]) -> JobLine:
    active = engine.is_active(job.name)
    latest = runs[-1] if runs else None
    return JobLine(
        name=job.name,
        description=job.description,
        owner=job.owner,
        tags=list(job.tags),
        schedule=job.schedule_text,
        timezone=job.timezone,
        active=active,
        paused_until=wire.timestamp(engine.paused_until(job.name)),
        late=active and _is_late(engine, job),
        next=wire.timestamp(next(iter(engine.upcoming(job.name, 1)), None)),
        params=len(job.params),
        states="".join([CODES[run.state] for run in runs]),
        took="".join([run.length for run in runs]),
        last=latest.id if latest else None,
        failure=root_failure(latest),
        live=[_live_run(run) for run in runs if not run.state.is_final],
        missed=_missed(engine, job, runs),
    )


def _missed(engine: Engine, job: Job, runs: list[Run]) -> list[list[int]]:
    """Return before which run how many instants were missed, of those since the first run."""
    places: dict[int, int] = {}
    for event in engine.missed(job.name):
        if event.last is not None and (not runs or event.last >= runs[0].submitted):
            place = bisect_right(runs, event.last, key=lambda run: run.submitted)
            places[place] = places.get(place, 0) + event.count
    return [[place, count] for place, count in places.items()]


def _live_run(run: Run) -> LiveRun:
    started = wire.timestamp(run.started)
    return LiveRun(run.id, wire.instant(run.submitted), started, list(run.retrying), run.done, run.total)


def _is_late(engine: Engine, job: Job) -> bool:
    """Return whether an instant passed that should have started a run, and did not."""
    cursor = engine.store.ledger.schedule(job.name).cursor
    due = job.schedule.next_after(cursor) if job.schedule is not None and cursor is not None else None
    return due is not None and (engine.now() - due).total_seconds() > _LATE_SECONDS


def root_failure(run: Run | None) -> RootFailure | None:
    """Return why a run failed, if it did."""
    if run is None or run.failure is None:
        return None
    return RootFailure(run.id, run.failure.task, run.failure.type, run.failure.message)


def short(seconds: float) -> float | int:
    """Return seconds with three digits that count: what a bar can show, in few bytes."""
    rounded = float(f"{seconds:.3g}")
    return int(rounded) if rounded.is_integer() else rounded
