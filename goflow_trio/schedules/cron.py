"""Cron schedules: the local times a cron text names, and the UTC instants at which they are due.

A cron text is days (a test of the calendar) times a time of day (hours x minutes x seconds). croniter finds the
days, the times are read off their sets, and the way from local time to instants is decided here. This is the only
file that imports croniter, and it asks it about dates without a zone: croniter's own handling of clock changes
(it moves a time of a gap to its end and runs times of a fold twice) is never used. No clock is read here.

The rule for clock changes
--------------------------

A text is *fixed* unless its minute or hour field contains `*` or `?` (also in `*/5`), or names every value of the
field; then it is a *wildcard* text. That is the distinction cron(8) makes: "Only jobs that run at a particular time
(not specified as @hourly, nor with '*' in the hour or minute specifier) are affected". The other fields have no say.

- `dst="once"`, fixed text: each local time of the calendar is run exactly once. A time that does not exist is run
  at the first instant after the gap, together with all others of that gap and with a time that is due then anyway:
  instants are unique, so that is one run. A time that exists twice is run on its first pass.
- `dst="once"`, wildcard text: an instant is due if local clocks show a matching time. So every real hour has its
  share: both passes of a fold, and nothing invented for a gap.
- `dst="reference"`: every text as the wildcard ones. That is what robfig/cron v3 documents and Goflow does: "jobs
  scheduled during daylight-savings leap-ahead transitions will not be run!", and fixed times of a fold run twice.

Where we leave the sources: cron(8) takes changes of three hours and more for corrections and runs nothing for the
missing time; we have one rule for all sizes, so a yearly job survives the day that Samoa skipped in 2011. robfig/cron
runs a job on the wrong day where midnight does not exist, and drifts by half an hour after Lord Howe's change; we
apply the rule it states.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from attrs import field, frozen
from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from goflow_trio.errors import ScheduleError
from goflow_trio.schedules.base import EPOCH, in_utc, whole_second_after
from goflow_trio.schedules.fields import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    Field,
    Values,
    read_field,
)
from goflow_trio.schedules.zones import Stretch, from_wall, stretches, wall

Dst = Literal["once", "reference"]

# The calendar's longest wait is 40 years: a 29 February on a given weekday, across a year such as 2100.
_YEARS = 50

# Beyond, the search itself would run out of datetime's range.
_LAST_YEAR = 9900

_ONE_DAY = timedelta(days=1)


@frozen
class Cron:
    """A cron text in a time zone; made by `read_cron`.

    Args:
        text: the cron text, 5 fields, or 6 with seconds first.
        zone: the zone whose clocks it speaks of.
        dst: what happens when they change; see the top of this file.
    """

    text: str
    zone: ZoneInfo
    dst: Dst
    _hours: tuple[int, ...] = field(repr=False, eq=False)
    _minutes: tuple[int, ...] = field(repr=False, eq=False)
    _seconds: tuple[int, ...] = field(repr=False, eq=False)
    _days: str = field(repr=False, eq=False)
    _each_once: bool = field(repr=False, eq=False)

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first due instant strictly after `instant`; none is due before 1970."""
        instant = in_utc(instant)
        if instant.year > _LAST_YEAR:
            return None
        earliest = whole_second_after(instant) if instant >= EPOCH else EPOCH
        searched = found = datetime.min  # noqa: DTZ901  # a local time, naive on purpose
        for stretch in stretches(self.zone, earliest):
            if stretch.end <= earliest:
                continue
            if earliest <= stretch.start and self._is_due_in_gap(stretch):
                return stretch.start
            local = wall(max(earliest, stretch.start), stretch.offset)
            if self._each_once:
                local = max(local, wall(stretch.start, stretch.before))  # past the second pass of a fold
            if not searched <= local <= found:
                following = self._local_from(local)
                if following is None:
                    return None
                searched, found = local, following
            due = from_wall(found, stretch.offset)
            if due < stretch.end:
                return due
        return None

    def _is_due_in_gap(self, stretch: Stretch) -> bool:
        if not self._each_once or stretch.offset <= stretch.before:
            return False
        missing = self._local_from(wall(stretch.start, stretch.before))
        return missing is not None and missing < wall(stretch.start, stretch.offset)

    def _local_from(self, local: datetime) -> datetime | None:
        """Find the first matching local time, whether it exists or not, at or after another."""
        day = _first_day(self._days, local.date())
        if day == local.date():
            moment = self._time_from(local.time())
            if moment is not None:
                return datetime.combine(day, moment)
            day = _first_day(self._days, day + _ONE_DAY)
        if day is None:
            return None
        return datetime.combine(day, time(self._hours[0], self._minutes[0], self._seconds[0]))

    def _time_from(self, moment: time) -> time | None:
        for hour in self._hours:
            if hour > moment.hour:
                return time(hour, self._minutes[0], self._seconds[0])
            if hour < moment.hour:
                continue
            for minute in self._minutes:
                if minute > moment.minute:
                    return time(hour, minute, self._seconds[0])
                if minute < moment.minute:
                    continue
                for second in self._seconds:
                    if second >= moment.second:
                        return time(hour, minute, second)
        return None

    def __str__(self) -> str:
        return f"{self.text} ({self.zone.key})"


def read_cron(text: str, *, zone: ZoneInfo, dst: Dst) -> Cron:
    """Read a cron text of 5 fields (minute hour day-of-month month day-of-week), or 6 with seconds first.

    As in robfig/cron and cron(8), a day matches if either day field does, once both are restricted; a field of `*`,
    `?` or `*/1` is not a restriction, `*/2` and `1-31` are.

    Raises:
        ScheduleError: it is not understood, or no date ever matches it. The message does not repeat the text.
    """
    words = text.split()
    places = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)
    if len(words) not in {len(places) - 1, len(places)}:
        raise ScheduleError(
            f"{len(words)} field{'' if len(words) == 1 else 's'} found; write 5 (minute hour day-of-month month"
            " day-of-week), or 6 with seconds first"
        )
    padded = words if len(words) == len(places) else ["0", *words]
    second, minute, hour, day, month, weekday = (
        read_field(place, word) for place, word in zip(places, padded, strict=True)
    )
    wildcard = minute.wildcard or hour.wildcard
    return Cron(
        text=" ".join(words),
        zone=zone,
        dst=dst,
        hours=hour.numbers,
        minutes=minute.numbers,
        seconds=second.numbers,
        days=_read_days(day, month, weekday, padded),
        each_once=dst == "once" and not wildcard,
    )


def _read_days(day: Values, month: Values, weekday: Values, words: Sequence[str]) -> str:
    *_, day_word, _, weekday_word = words
    # croniter has no steady meaning for these pairs: some are "and", some "or", some neither.
    if weekday.special and not day.every:
        raise ScheduleError(f"day-of-week field {weekday_word!r} cannot be combined with a day-of-month; write * there")
    if any("w" in item for item in day.special) and not weekday.every:
        raise ScheduleError(f"day-of-month field {day_word!r} cannot be combined with a day-of-week; write * there")
    _check(DAY, day_word, f"{day} * *")
    _check(WEEKDAY, weekday_word, f"* * {weekday}")
    days = f"{day} {month} {weekday}"
    # Any 50 years in a row hold every kind of year, so a text without a date in these has none at all.
    if _first_day(days, EPOCH.date()) is None:
        raise ScheduleError("no date ever matches it; correct the day-of-month or the month")
    return days


def _check(place: Field, word: str, days: str) -> None:
    try:
        _walker(days)
    except CroniterError as error:
        raise ScheduleError(
            f"{place.name} field {word!r}: not understood ({error}); use L, 15W, L5 or 5#3, and no mix of them"
        ) from None


@lru_cache(maxsize=1024)
def _walker(days: str) -> croniter:
    # The start is replaced at every use; without one croniter would read the clock.
    return croniter(f"0 0 {days}", EPOCH.replace(tzinfo=None), max_years_between_matches=_YEARS)


@lru_cache(maxsize=4096)
def _first_day(days: str, start: date) -> date | None:
    """Find the first date at or after another that a day-of-month, month and day-of-week match."""
    if days == "* * *":
        return start
    # A copy, because croniter keeps its position in itself and threads may share the walker.
    walker = copy.copy(_walker(days))
    try:
        found: datetime = walker.get_next(datetime, start_time=datetime.combine(start, time()) - _ONE_DAY)
    except CroniterBadDateError:
        return None
    return found.date()
