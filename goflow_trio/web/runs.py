"""Runs, for people who look for one: a list that says why each failed, with counts of what matches."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

import trio
from msgspec import Meta, Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import State
from goflow_trio.errors import UnknownJob, UsageError
from goflow_trio.jobs.names import did_you_mean
from goflow_trio.web import wire
from goflow_trio.web.history import Run, first_line, history_of, sum_up
from goflow_trio.web.overview import RootFailure, Stamp, root_failure, stamp
from goflow_trio.web.routes import Routes
from goflow_trio.web.shapes import Cursor, Instant, Maybe, Timestamp

routes = Routes("runs")

SCANNED = 2_000
"""Executions that a search or a calendar looks at, at most, newest first."""

_PAGE = 200


class RunLine(Struct, rename="camel", kw_only=True):
    """One run in one line. `attempts` is the most that a task had, `reopened` how often it was run again."""

    id: str
    job: str
    state: State
    submitted: Timestamp
    started: Maybe
    finished: Maybe
    trigger: str
    scheduled_for: Maybe
    reason: str
    attempts: int
    reopened: int
    done: int
    total: int
    failure: RootFailure | None


class RunList(Stamp, kw_only=True):
    """Runs, newest first.

    `counts` are those of all that match but for their state. `scanned` runs were looked at for them; unless `complete`
    there are older ones that were not, and a `next` to look at them from. Of states that are not final, `runs` and
    `counts` are always complete. `tags` are those of all jobs, whatever matches.
    """

    runs: list[RunLine]
    next: str | None
    counts: dict[State, int]
    scanned: int
    complete: bool
    tags: list[str]


class WantedRuns(Struct):
    """Which runs."""

    state: Annotated[str, Meta(description="only those in one of these states, with commas between")] = ""
    job: Annotated[str, Meta(description="only those of this job")] = ""
    tag: Annotated[str, Meta(description="only those of jobs with this tag")] = ""
    trigger: Annotated[str, Meta(description="only those begun so: `manual`, `schedule`, …")] = ""
    since: Annotated[Instant | None, Meta(description="only those submitted at this instant or later")] = None
    until: Annotated[Instant | None, Meta(description="only those submitted before this instant")] = None
    ids: Annotated[str, Meta(max_length=4000, description="only these, with commas between")] = ""
    search: Annotated[str, Meta(description="only those with this text in id, job, parameters or error")] = ""
    limit: Annotated[int, Meta(ge=1, le=500, description="at most so many")] = 50
    cursor: Cursor = ""


@routes.get("/api/runs")
async def list_runs(engine: Engine, query: WantedRuns) -> RunList:
    """Runs, newest first, each with the error it failed by, and counts of what matches.

    Looks at 2,000 at a time: `complete` tells whether those were all, and `next` leads on if not.
    """
    wanted = _Filter(query)
    seq = stamp(engine, history_of(engine))
    counts: Counter[State] = Counter()
    found: list[tuple[ExecutionRecord, Run]] = []
    if query.ids:
        known = [await engine.find(one) for one in sorted(set(query.ids.split(",")), reverse=True)]
        records, complete = [record for record in known if record is not None], True
    else:
        records, complete = await newest_runs(engine, query.job or None, query.cursor or None, query.since, query.until)
    last = records[-1].id if records else ""
    for record in records:
        if wanted.fits(record, engine):
            run = sum_up(record)
            counts[run.state] += 1
            if wanted.has(run.state) and len(found) <= query.limit:
                found.append((record, run))
    following = found[query.limit - 1][1].id if len(found) > query.limit else None if complete else last
    if not complete:  # what is unfinished is at hand, however old it is
        older = [(record, sum_up(record)) for record in _unfinished(engine, last) if wanted.fits(record, engine)]
        counts.update(run.state for _, run in older)
        if wanted.states and not any(State(state).is_final for state in wanted.states):
            found += [(record, run) for record, run in older if wanted.has(run.state)]
            following = found[query.limit - 1][1].id if len(found) > query.limit else None
    rows = [run_line(record, run) for record, run in found[: query.limit]]
    return RunList(
        runs=rows,
        next=following,
        counts=dict(counts),
        scanned=len(records),
        complete=complete,
        tags=sorted({tag for job in engine.jobs.values() for tag in job.tags}),
        **seq,  # type: ignore[arg-type]
    )


def _unfinished(engine: Engine, before: str) -> list[ExecutionRecord]:
    """Return what is unfinished of the executions that are older than one, newest first."""
    live = engine.store.ledger.live.values()
    return sorted((one for one in live if one.id < before), key=lambda one: one.id, reverse=True)


class _Filter:
    """Which runs a query asks for, read from its words."""

    def __init__(self, query: WantedRuns) -> None:
        self.states = frozenset(query.state.split(",")) if query.state else frozenset()
        unknown = self.states.difference(State)
        if unknown:
            raise UsageError(f"there is no state {min(unknown)[:100]!r}; states are: {', '.join(State)}")
        self._query = query
        self._text = query.search.casefold()

    def has(self, state: State) -> bool:
        """Return whether runs in this state are asked for."""
        return not self.states or state in self.states

    def fits(self, record: ExecutionRecord, engine: Engine) -> bool:
        """Return whether it is asked for, whatever its state."""
        query = self._query
        if query.job and record.job != query.job:
            return False
        if query.since is not None and record.submitted < query.since:
            return False
        if query.until is not None and record.submitted >= query.until:
            return False
        if query.trigger and record.trigger != query.trigger:
            return False
        if query.tag and (record.job not in engine.jobs or query.tag not in engine.jobs[record.job].tags):
            return False
        return not self._text or self._text in _searchable(record)


def _searchable(record: ExecutionRecord) -> str:
    failure = sum_up(record).failure
    parts = [record.id, record.job, record.reason, str(dict(record.params))]
    if failure is not None:
        parts += [failure.task, failure.type, failure.message]
    return "\n".join(parts).casefold()


def unheard_of(engine: Engine, job: str) -> UnknownJob:
    """Return the error about a job that is not registered and has left no runs."""
    near = did_you_mean(job, engine.jobs)
    return UnknownJob(f"no job {job[:100]!r} is registered, and no run of one is kept{near}")


async def newest_runs(
    engine: Engine,
    job: str | None,
    before: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[list[ExecutionRecord], bool]:
    """Return executions, newest first, as many as are looked at, and whether those are all."""
    found: list[ExecutionRecord] = []
    while True:
        page = await engine.newest(job, None, _PAGE, before, since, until)
        found += page
        if len(page) < _PAGE or len(found) > SCANNED:
            return found[:SCANNED], len(found) <= SCANNED
        before = page[-1].id
        await trio.lowlevel.checkpoint()


def run_line(record: ExecutionRecord, run: Run) -> RunLine:
    """Return a run in one line."""
    return RunLine(**line_fields(record, run))


def line_fields(record: ExecutionRecord, run: Run) -> dict[str, Any]:
    """Return the fields of `RunLine`."""
    return {
        "id": run.id,
        "job": record.job,
        "state": run.state,
        "submitted": wire.instant(run.submitted),
        "started": wire.timestamp(run.started),
        "finished": wire.timestamp(run.finished),
        "trigger": run.trigger,
        "scheduled_for": wire.timestamp(record.scheduled_for),
        "reason": first_line(record.reason),
        "attempts": max((task.attempt for task in record.tasks.values()), default=0),
        "reopened": len(record.reopenings),
        "done": run.done,
        "total": run.total,
        "failure": root_failure(run),
    }
