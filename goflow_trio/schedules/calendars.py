"""Calendars of days and times on which nothing is due, read from iCalendar files (RFC 5545), such as public holidays.

The libraries `icalendar` and `recurring_ical_events` read the files and unfold what repeats; they are an extra:
`pip install goflow-trio[ics]`. Nothing here knows about schedules: a calendar only answers whether an instant lies in
one of its events.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from attrs import field, frozen

from goflow_trio.errors import ScheduleError

_ONE_DAY = timedelta(days=1)


@frozen(eq=False)
class Calendar:
    """The events of an iCalendar file. Call it with an instant: does one of them cover it?

    An event of whole days covers those local days in the calendar's zone; one with times covers these, its end
    excluded. An event without an end covers its one instant, or its one day.

    Args:
        name: for people, such as the file's name.
        zone: the zone whose days an event of whole days means.
        events: what unfolds them, by recurring_ical_events.
    """

    name: str
    zone: ZoneInfo
    events: Any = field(repr=False)

    def __call__(self, instant: datetime) -> datetime | None:
        """Return when the event ends in which an instant (aware) lies; None if it lies in none."""
        spans = _spans(self, instant.astimezone(self.zone).year)
        return max((end for start, end in spans if start <= instant < end), default=None)

    def __str__(self) -> str:
        return f"the calendar {self.name}"


def read_calendar(path: str | Path, *, zone: ZoneInfo) -> Calendar:
    """Read an iCalendar file.

    Args:
        path: the file; it is read now, and not again.
        zone: see `Calendar`.

    Raises:
        ScheduleError: it cannot be read, is not iCalendar, or the extra is not installed.
    """
    try:
        import icalendar  # noqa: PLC0415  # an extra
        import recurring_ical_events  # noqa: PLC0415
    except ImportError:
        raise ScheduleError(
            f"calendar {str(path)!r}: iCalendar files need another package; pip install 'goflow-trio[ics]'"
        ) from None
    try:
        calendar = icalendar.Calendar.from_ical(Path(path).read_bytes())
        events = recurring_ical_events.of(calendar)
        found = Calendar(Path(path).name, zone, events)
        _spans(found, 2026)
    except OSError as error:
        raise ScheduleError(f"calendar {str(path)!r} cannot be read: {error.strerror}; correct the path") from None
    except Exception as error:  # noqa: BLE001  # whatever these libraries make of a file that is none
        raise ScheduleError(f"calendar {str(path)!r} is not understood: {error}; export it again as .ics") from None
    return found


@lru_cache(maxsize=256)
def _spans(calendar: Calendar, year: int) -> Sequence[tuple[datetime, datetime]]:
    """Return the events of a local year, as instants."""
    first, last = datetime(year, 1, 1, tzinfo=calendar.zone), datetime(year + 1, 1, 1, tzinfo=calendar.zone)
    found = []
    for event in calendar.events.between(first - _ONE_DAY, last + _ONE_DAY):
        begin = event["DTSTART"].dt
        end = event["DTEND"].dt if "DTEND" in event else begin + event["DURATION"].dt if "DURATION" in event else None
        if end is None or end <= begin:
            end = begin + (timedelta(microseconds=1) if isinstance(begin, datetime) else _ONE_DAY)
        found.append((_instant(begin, calendar.zone), _instant(end, calendar.zone)))
    return found


def _instant(moment: date, zone: ZoneInfo) -> datetime:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)
