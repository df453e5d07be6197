"""`goflow-trio check` and `next`: what a file of jobs says, without running any of it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import click

from goflow_trio.actors.registry import Registry
from goflow_trio.actors.surroundings import check_work
from goflow_trio.cli.forecasting import compare, read_instant, shown, stamp
from goflow_trio.cli.options import json_option
from goflow_trio.cli.printing import counted
from goflow_trio.cli.target import load_jobs
from goflow_trio.errors import DefinitionError, ScheduleError, UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.schedules import describe, dst_note
from goflow_trio.schedules import upcoming as next_instants
from goflow_trio.schedules.zones import load_zone


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET [NEW]")
@click.option("--diff", is_flag=True, help="Compare the schedules of two targets: what a change will do.")
@json_option
def check(targets: tuple[str, ...], diff: bool, as_json: bool) -> None:
    """Check the jobs of TARGET; print graphs and next instants.

    With --diff OLD NEW, print which instants of the next year appear and vanish. Exits with 1 if a job is wrong.
    """
    if len(targets) != 1 + diff:
        raise UsageError("check takes one target, and with --diff two: the old one and the new one")
    try:
        if diff:
            compare(targets[0], targets[1], as_json=as_json)
            return
        jobs = load_jobs(targets)
        check_work(Registry(jobs).jobs.values())
    except DefinitionError as error:
        click.echo(f"goflow-trio: {error}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps([_as_data(job) for job in jobs]))
        return
    for job in jobs:
        click.echo(f"{job.name}: {counted(len(job), 'task')}, {_schedule(job)}")
        for task in job:
            after = ", ".join(other.name for other in task.downstream)
            click.echo(f"  {task.name}" + (f" -> {after}" if after else ""))
        if job.schedule is not None:
            for instant in next_instants(job.schedule, datetime.now(UTC), 3):
                click.echo(f"  next {shown(instant, job.timezone)}")
    click.echo(f"checked {counted(len(jobs), 'job')}: no errors")


def _schedule(job: Job) -> str:
    if job.schedule is None:
        return "no schedule"
    words = describe(job.schedule)
    return f"schedule {job.schedule_text} ({job.timezone}), {'active' if job.active else 'not active'}: {words}"


def _as_data(job: Job) -> dict[str, Any]:
    return {
        "job": job.name,
        "schedule": job.schedule_text,
        "timezone": job.timezone,
        "description": describe(job.schedule) if job.schedule is not None else "",
        "active": job.active,
        "dag": job.graph,
    }


@click.command("next")
@click.argument("target")
@click.option("--job", "job_name", help="Only this job.")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many instants.")
@click.option("--from", "start", metavar="ISO", help="Begin after this instant; now by default.")
@click.option("--tz", "zone", help="Show local times of this zone; the job's own by default.")
@json_option
def upcoming(target: str, job_name: str | None, count: int, start: str | None, zone: str | None, as_json: bool) -> None:
    """Print the next instants of TARGET's schedules.

    In local time and UTC, with a note where clocks change.
    """
    begin = read_instant("--from", start, datetime.now(UTC))
    try:
        load_zone(zone or "UTC")
    except ScheduleError as error:
        raise UsageError(f"--tz: {error}") from None
    jobs = [job for job in load_jobs([target]) if job_name in {None, job.name}]
    if not jobs:
        raise UsageError(f"the target has no job {job_name!r}")
    data = []
    for job in jobs:
        instants = [] if job.schedule is None else next_instants(job.schedule, begin, count)
        if as_json:
            data.append(_as_data(job) | {"next": [_moment(instant, zone or job.timezone) for instant in instants]})
            continue
        click.echo(f"{job.name}: {_schedule(job)}")
        for instant in instants:
            click.echo(f"  {shown(instant, zone or job.timezone)}")
    if as_json:
        click.echo(json.dumps(data, ensure_ascii=False))


def _moment(instant: datetime, zone: str) -> dict[str, str | None]:
    local = instant.astimezone(load_zone(zone)).isoformat()
    return {"utc": stamp(instant), "local": local, "note": dst_note(instant, zone)}
