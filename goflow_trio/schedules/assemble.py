"""From what a job says of its schedule to one `Schedule`: several, then exclusions, bounds and jitter.

It puts together what the other files make, and refuses what can never be due. It reads calendar files, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

from goflow_trio.errors import ScheduleError
from goflow_trio.schedules.base import EPOCH, Schedule
from goflow_trio.schedules.calendars import read_calendar
from goflow_trio.schedules.combine import AnyOf, Between, Except, Jitter
from goflow_trio.schedules.cron import Dst
from goflow_trio.schedules.parse import parse_schedule
from goflow_trio.schedules.zones import load_zone

Given = str | Schedule | Iterable[str | Schedule] | None
"""What a job takes as its schedule: a text, an object with `next_after`, several of these, or nothing."""

Exclusion = date | str | Path | Callable[[datetime], object]
"""What a job takes as an exclusion: a local date, the path of an iCalendar file, or a test of an instant."""

_JUST_BEFORE = timedelta(microseconds=1)


def schedule_texts(given: Given) -> tuple[str, ...]:
    """Return each schedule as it was written, or as it describes itself."""
    return tuple(map(str, _each(given)))


def assemble(
    given: Given,
    *,
    timezone: str,
    dst: Dst,
    exclude: Iterable[Exclusion] = (),
    start: datetime | None = None,
    end: datetime | None = None,
    jitter: int = 0,
    key: str = "",
) -> Schedule | None:
    """Return the schedule of a job; None if it has none.

    Args:
        given: what to begin with.
        timezone: IANA zone that texts and dates speak of.
        dst: see `parse_schedule`.
        exclude: when nothing is due.
        start: nothing is due before it (aware).
        end: nothing is due from it on (aware).
        jitter: seconds to spread over.
        key: tells jobs apart for the jitter.

    Raises:
        ScheduleError: a part is wrong, or it can never be due.
    """
    load_zone(timezone)
    parts = [_read(one, timezone, dst) for one in _each(given)]
    if not parts:
        return None
    schedule = parts[0] if len(parts) == 1 else AnyOf(*parts)
    schedule = _without(schedule, exclude, timezone)
    if start is not None or end is not None:
        schedule = Between(schedule, start=start, end=end)
        _refuse_never(schedule)
    return Jitter(schedule, jitter, key=key) if jitter else schedule


def _each(given: Given) -> list[str | Schedule]:
    if given is None or given == "":
        return []
    if isinstance(given, str) or callable(getattr(given, "next_after", None)):
        return [given]  # type: ignore[list-item]  # it has next_after
    if not isinstance(given, Iterable):
        raise ScheduleError(f"a schedule is cron text or an object with next_after(instant), got {given!r}")
    return list(given)


def _read(given: object, timezone: str, dst: Dst) -> Schedule:
    if isinstance(given, str):
        return parse_schedule(given, timezone=timezone, dst=dst)
    if not callable(getattr(given, "next_after", None)):
        raise ScheduleError(f"a schedule is cron text or an object with next_after(instant), got {given!r}")
    return given  # type: ignore[return-value]  # it has next_after


def _without(schedule: Schedule, exclude: Iterable[Exclusion], timezone: str) -> Schedule:
    if isinstance(exclude, str | Path):
        exclude = [exclude]
    dates = []
    for one in exclude:
        if isinstance(one, str | Path):
            schedule = Except(schedule, when=read_calendar(one, zone=load_zone(timezone)))
        elif isinstance(one, date) and not isinstance(one, datetime):
            dates.append(one)
        elif callable(one):
            schedule = Except(schedule, when=one)
        else:
            raise ScheduleError(
                f"exclude takes dates, paths of .ics files and functions of an instant, got {one!r}; correct it"
            )
    return Except(schedule, dates, zone=timezone) if dates else schedule


def _refuse_never(schedule: Between) -> None:
    begin = EPOCH if schedule.start is None else schedule.start - _JUST_BEFORE
    try:
        due = schedule.next_after(begin)
    except Exception:  # noqa: BLE001  # of a schedule of the user's; it is heard of when it runs
        return
    if due is None:
        raise ScheduleError(f"{schedule}: it is never due between these; correct the schedule, start or end")
