"""`goflow-trio check` and `next`: what a file of jobs says, without running any of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from goflow_trio.cli.target import load_jobs
from goflow_trio.errors import DefinitionError, ScheduleError, UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.schedules import dst_note
from goflow_trio.schedules import upcoming as next_instants
from goflow_trio.schedules.zones import load_zone


@click.command()
@click.argument("target")
def check(target: str) -> None:
    """Validate every job of TARGET, and print its graph and next runs.

    Exits with 1 if a job is wrong.
    """
    try:
        jobs = load_jobs([target])
    except DefinitionError as error:
        click.echo(f"goflow-trio: {error}", err=True)
        sys.exit(1)
    for job in jobs:
        click.echo(f"{job.name}: {len(job)} tasks, {_schedule(job)}")
        for task in job:
            after = ", ".join(other.name for other in task.downstream)
            click.echo(f"  {task.name}" + (f" -> {after}" if after else ""))
        if job.schedule is not None:
            for instant in next_instants(job.schedule, datetime.now(UTC), 3):
                click.echo(f"  next {_instant(instant, job.timezone)}")
    click.echo(f"checked {len(jobs)} job{'s' if len(jobs) != 1 else ''}: no errors")


def _schedule(job: Job) -> str:
    if job.schedule is None:
        return "no schedule"
    return f"schedule {job.schedule_text} ({job.timezone}), {'active' if job.active else 'not active'}"


def _instant(instant: datetime, zone: str) -> str:
    note = dst_note(instant, zone)
    local = instant.astimezone(load_zone(zone))
    text = f"{local:%Y-%m-%d %H:%M:%S %z} {zone}  {instant:%Y-%m-%dT%H:%M:%SZ}"
    return f"{text}  ({note})" if note else text


@click.command("next")
@click.argument("target")
@click.option("--job", "job_name", help="Only this job.")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many instants.")
@click.option("--from", "start", metavar="ISO", help="Begin after this instant; now by default.")
@click.option("--tz", "zone", help="Show local times of this zone; the job's own by default.")
def upcoming(target: str, job_name: str | None, count: int, start: str | None, zone: str | None) -> None:
    """Print the upcoming instants of TARGET's schedules, in local time and UTC, clock changes noted."""
    begin = _read_instant(start)
    try:
        load_zone(zone or "UTC")
    except ScheduleError as error:
        raise UsageError(f"--tz: {error}") from None
    jobs = [job for job in load_jobs([target]) if job_name in {None, job.name}]
    if not jobs:
        raise UsageError(f"the target has no job {job_name!r}")
    for job in jobs:
        click.echo(f"{job.name}: {_schedule(job)}")
        if job.schedule is not None:
            for instant in next_instants(job.schedule, begin, count):
                click.echo(f"  {_instant(instant, zone or job.timezone)}")


def _read_instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--from {text!r}: write an instant such as 2026-03-28T00:00:00Z") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
