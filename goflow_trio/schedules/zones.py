"""Where a time zone changes its offset: the timeline as stretches during which local time runs evenly.

All knowledge of daylight saving time comes from here. It must not know what a schedule is. `zoneinfo` does not
publish its transitions, so they are found by asking it for the offset day by day and halving the days that differ.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from attrs import frozen

from goflow_trio.errors import ScheduleError
from goflow_trio.schedules.base import in_utc

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)

# No zone has ever moved its clock by more than a day, so a change older than this has no effect any more.
_REACH = timedelta(days=2)

_LAST_YEAR = 9990


@frozen
class Stretch:
    """A time during which a zone's offset does not change.

    Args:
        start: the first instant, in UTC: the change itself, unless `before` equals `offset`.
        end: the first instant after it.
        before: the offset that was valid until `start`.
        offset: the offset from `start` on. More than `before`: the local times from `start + before` to
            `start + offset` do not exist (a gap). Less: those from `start + offset` to `start + before` come a
            second time (a fold).
    """

    start: datetime
    end: datetime
    before: timedelta
    offset: timedelta


def load_zone(name: str) -> ZoneInfo:
    """Load an IANA time zone.

    Raises:
        ScheduleError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        # zoneinfo raises each of these for some wrong name: OSError for a folder such as "Europe".
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        mend = f"did you mean {near[0]!r}?" if near else "give an IANA name such as 'Europe/Berlin' or 'UTC'"
        raise ScheduleError(f"time zone {name!r} is unknown; {mend}") from None


def offset_at(zone: ZoneInfo, instant: datetime) -> timedelta:
    """Give a zone's offset to UTC at an instant."""
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def wall(instant: datetime, offset: timedelta) -> datetime:
    """Give the local time (naive) that clocks show at an instant in UTC."""
    return (instant + offset).replace(tzinfo=None)


def from_wall(local: datetime, offset: timedelta) -> datetime:
    """Give the instant in UTC at which clocks of this offset show a local time (naive)."""
    return (local - offset).replace(tzinfo=UTC)


def stretches(zone: ZoneInfo, instant: datetime) -> Iterator[Stretch]:
    """Walk the stretches of a zone from about two days before an instant in UTC to the end of time.

    The first begins in the middle: its `before` equals its `offset`. The end of a stretch is not sought further ahead
    than one year at a time: a longer one comes again, with the same start and a later end.
    """
    start = instant - _REACH
    offset = before = offset_at(zone, start)
    # A change in the first second of a year is found with the year before it.
    for year in range((start - _SECOND).year, _LAST_YEAR):
        for change in _changes(zone, year):
            if change > start:
                yield Stretch(start, change, before, offset)
                start, before, offset = change, offset, offset_at(zone, change)
        yield Stretch(start, datetime(year + 1, 1, 1, tzinfo=UTC) + _SECOND, before, offset)


@lru_cache(maxsize=4096)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Find the instants after the first second of a year, up to the first of the next, where the offset changes.

    Keyed by the zone object, so that zones read again after `ZoneInfo.clear_cache()` are asked again.
    """
    found = []
    day, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    known = offset_at(zone, day)
    while day < end:
        ahead = day + _DAY
        if (offset := offset_at(zone, ahead)) != known:
            low, high = day, ahead
            while high - low > _SECOND:
                middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
                low, high = (middle, high) if offset_at(zone, middle) == known else (low, middle)
            found.append(high)
            known = offset
        day = ahead
    return tuple(found)


def dst_note(instant: datetime, zone: str) -> str | None:
    """Say in a few words what clocks do near an instant, for a list of upcoming runs.

    Args:
        instant: an aware datetime.
        zone: an IANA name.

    Returns:
        None on an ordinary day; else, for example, `clocks go forward 02:00→03:00 that day`, or
        `first of two 02:30, clocks go back 03:00→02:00 that day`.

    Raises:
        ScheduleError: the zone is unknown.
    """
    instant, info = in_utc(instant), load_zone(zone)
    today = wall(instant, offset_at(info, instant))
    for stretch in stretches(info, instant):
        old, new = wall(stretch.start, stretch.before), wall(stretch.start, stretch.offset)
        if old != new and today.date() in {old.date(), new.date()}:
            words = f"clocks go {'forward' if new > old else 'back'} {_hours(old, new)} that day"
            if new <= today < old:
                which = "first" if instant < stretch.start else "second"
                return f"{which} of two {today:%H:%M}, {words}"
            return words
        if stretch.end > instant + _REACH:
            break
    return None


def _hours(old: datetime, new: datetime) -> str:
    shape = "%H:%M" if abs(new - old) < timedelta(hours=12) else "%Y-%m-%d %H:%M"
    return f"{old.strftime(shape)}→{new.strftime(shape)}"
