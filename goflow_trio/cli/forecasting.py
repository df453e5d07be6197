"""`goflow-trio simulate` and `check --diff`: what schedules will do, run by run, without running any of it.

For what the tasks will do, there is `goflow_trio.testing.simulate`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from attrs import define

from goflow_trio.cli.options import json_option
from goflow_trio.cli.target import load_jobs
from goflow_trio.errors import UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.schedules import Schedule, describe, dst_note, runs_between
from goflow_trio.schedules.zones import load_zone

_JUST_BEFORE = timedelta(microseconds=1)
_SHOWN = 10
_MOST_RUNS = 1_000_000
_MOST_COMPARED = 200_000


def _a_year_after(instant: datetime) -> datetime:
    """Return the same day and time of the next year; 1 March where there is no 29 February."""
    try:
        return instant.replace(year=instant.year + 1)
    except ValueError:
        return instant.replace(year=instant.year + 1, month=3, day=1)


def read_instant(option: str, text: str | None, default: datetime) -> datetime:
    """Return an instant given on the command line; without a zone it is UTC.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return default
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: write an instant such as 2026-03-28T00:00:00Z") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def shown(instant: datetime, zone: str) -> str:
    """Return an instant for people: local time, UTC, and what clocks do that day."""
    note = dst_note(instant, zone)
    local = instant.astimezone(load_zone(zone))
    text = f"{local:%Y-%m-%d %H:%M:%S %z} {zone}  {instant:%Y-%m-%dT%H:%M:%SZ}"
    return f"{text}  ({note})" if note else text


def stamp(instant: datetime) -> str:
    """Return an instant for programs: RFC 3339 in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


@define
class Tally:
    """What is to be said of one job's runs.

    Args:
        runs: how many.
        last: the latest so far.
        gap: the longest time between two of them, and after which one it was.
    """

    runs: int = 0
    last: datetime | None = None
    gap: tuple[timedelta, datetime] | None = None

    def add(self, instant: datetime) -> None:
        """Count a run."""
        if self.last is not None and (self.gap is None or instant - self.last > self.gap[0]):
            self.gap = (instant - self.last, self.last)
        self.runs += 1
        self.last = instant


@click.command()
@click.argument("target")
@click.option("--job", "job_name", help="Only this job.")
@click.option("--from", "start", metavar="ISO", help="The first instant; now by default.")
@click.option("--until", metavar="ISO", help="The first instant that is not listed; a year after --from by default.")
@click.option("--tz", "zone", default="UTC", show_default=True, help="Show local times of this zone.")
@click.option("--summary", is_flag=True, help="Leave out the list of runs.")
@json_option
def simulate(
    target: str, job_name: str | None, start: str | None, until: str | None, zone: str, summary: bool, as_json: bool
) -> None:
    """List every run that TARGET's schedules will start.

    Collisions and gaps are told at the end. A collision is an instant at which several jobs begin; a gap is the
    longest time in which a job does not.
    """
    load_zone(zone)
    begin = read_instant("--from", start, datetime.now(UTC))
    end = read_instant("--until", until, _a_year_after(begin))
    if end <= begin:
        raise UsageError(f"--until {stamp(end)} is not after --from {stamp(begin)}; swap them")
    schedules = _schedules([job for job in load_jobs([target]) if job_name in {None, job.name}])
    if not schedules:
        raise UsageError("the target has no job with a schedule" + (f" named {job_name!r}" if job_name else ""))
    tallies = {name: Tally() for name in schedules}
    collisions: Counter[tuple[str, ...]] = Counter()
    firsts: dict[tuple[str, ...], datetime] = {}
    listed: list[dict[str, Any]] = []
    runs = runs_between(schedules, begin - _JUST_BEFORE, end)
    for count, (instant, names) in enumerate(runs):
        if count == _MOST_RUNS:
            click.echo(
                f"stopped at {shown(instant, zone)} after {_MOST_RUNS:,} instants; use --until or --job", err=True
            )
            break
        for name in names:
            tallies[name].add(instant)
        if len(names) > 1:
            collisions[tuple(names)] += 1
            firsts.setdefault(tuple(names), instant)
        if as_json and not summary:
            listed.append({"at": stamp(instant), "jobs": names})
        elif not summary:
            click.echo(f"{shown(instant, zone)}  {', '.join(names)}")
    if as_json:
        click.echo(json.dumps(_summary(tallies, collisions, firsts) | ({} if summary else {"runs": listed})))
    else:
        _print_summary(tallies, collisions, firsts, zone)


def _schedules(jobs: Iterable[Job]) -> dict[str, Schedule]:
    return {job.name: job.schedule for job in jobs if job.schedule is not None}


def _summary(
    tallies: Mapping[str, Tally],
    collisions: Counter[tuple[str, ...]],
    firsts: Mapping[tuple[str, ...], datetime],
) -> dict[str, Any]:
    return {
        "jobs": {
            name: {
                "runs": tally.runs,
                "longest_gap_seconds": tally.gap[0].total_seconds() if tally.gap else None,
                "longest_gap_after": stamp(tally.gap[1]) if tally.gap else None,
            }
            for name, tally in tallies.items()
        },
        "collisions": [
            {"jobs": list(names), "times": times, "first": stamp(firsts[names])}
            for names, times in collisions.most_common()
        ],
    }


def _print_summary(
    tallies: Mapping[str, Tally],
    collisions: Counter[tuple[str, ...]],
    firsts: Mapping[tuple[str, ...], datetime],
    zone: str,
) -> None:
    for name, tally in tallies.items():
        gap = f", longest gap {tally.gap[0]} after {shown(tally.gap[1], zone)}" if tally.gap else ""
        click.echo(f"{name}: {tally.runs:,} run{'s' if tally.runs != 1 else ''}{gap}")
    many = sum(collisions.values())
    click.echo(f"{many:,} collision{'s' if many != 1 else ''}" + (":" if collisions else ""))
    for names, times in collisions.most_common(_SHOWN):
        click.echo(f"  {times:,} times {' and '.join(names)}, the first at {shown(firsts[names], zone)}")
    if len(collisions) > _SHOWN:
        click.echo(f"  and {len(collisions) - _SHOWN} other groups of jobs; --json has them all")


def compare(old: str, new: str, *, as_json: bool) -> None:  # noqa: C901  # two ways to tell the same
    """Print which instants of the next year appear and vanish from one target to another."""
    before, after = (_schedules(load_jobs([target])) for target in (old, new))
    begin = datetime.now(UTC)
    changes: dict[str, Any] = {}
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) == after.get(name):
            changes[name] = {"appear": [], "vanish": []}
            if not as_json:
                click.echo(f"{name}: no change")
            continue
        appear, vanish, kept, end = _difference(before.get(name), after.get(name), begin, _a_year_after(begin))
        changes[name] = {"appear": list(map(stamp, appear)), "vanish": list(map(stamp, vanish)), "until": stamp(end)}
        if as_json:
            continue
        click.echo(
            f"{name}: {len(appear):,} appear, {len(vanish):,} vanish, {kept:,} stay until {end:%Y-%m-%d %H:%M} UTC"
        )
        for schedules, sign in ((before, "-"), (after, "+")):
            if name in schedules:
                click.echo(f"  {sign} {describe(schedules[name])}")
        for sign, instants in (("-", vanish), ("+", appear)):
            for instant in instants[:_SHOWN]:
                click.echo(f"  {sign} {instant:%Y-%m-%dT%H:%M:%SZ}")
            if len(instants) > _SHOWN:
                click.echo(f"  {sign} and {len(instants) - _SHOWN:,} more; --json has them all")
    if as_json:
        click.echo(json.dumps(changes))


def _difference(
    old: Schedule | None, new: Schedule | None, start: datetime, until: datetime
) -> tuple[list[datetime], list[datetime], int, datetime]:
    """Return the instants only `new` has, those only `old` has, how many both have, and how far that was looked at."""
    schedules = {name: schedule for name, schedule in (("old", old), ("new", new)) if schedule is not None}
    appear: list[datetime] = []
    vanish: list[datetime] = []
    kept = 0
    for count, (instant, names) in enumerate(runs_between(schedules, start, until)):
        if count == _MOST_COMPARED:
            return appear, vanish, kept, instant
        if len(names) > 1:
            kept += 1
        else:
            (appear if names == ["new"] else vanish).append(instant)
    return appear, vanish, kept, until
