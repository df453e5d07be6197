"""Schedules a user makes from instants and from other schedules.

Each is a few lines over `next_after` and keeps the obligations of `Schedule` if its parts do. None of them may know
what kind of schedule it wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from zoneinfo import ZoneInfo

from attrs import field, frozen

from goflow_trio.errors import ScheduleError
from goflow_trio.schedules.base import Schedule, in_utc
from goflow_trio.schedules.zones import load_zone

_ONE_DAY = timedelta(days=1)
_INSTANT_BEFORE = timedelta(microseconds=1)

# More than two days of every second; at some 15 µs each the event loop is held for seconds already.
_MOST_REFUSALS = 200_000


@frozen(init=False)
class At:
    """Due at the given instants and at no other.

    Args:
        *instants: aware datetimes, in any order.
    """

    instants: tuple[datetime, ...]

    def __init__(self, *instants: datetime) -> None:
        if not instants:
            raise ScheduleError("At() has no instant and is never due; give at least one")
        self.__attrs_init__(tuple(sorted({in_utc(instant) for instant in instants})))

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first due instant strictly after `instant`."""
        instant = in_utc(instant)
        return next((due for due in self.instants if due > instant), None)

    def __str__(self) -> str:
        return f"at {', '.join(due.isoformat() for due in self.instants)}"


@frozen(init=False)
class AnyOf:
    """Due whenever one of several schedules is; an instant that several name is one instant.

    Args:
        *schedules: at least one.
    """

    schedules: tuple[Schedule, ...]

    def __init__(self, *schedules: Schedule) -> None:
        if not schedules:
            raise ScheduleError("AnyOf() has no schedule and is never due; give at least one")
        self.__attrs_init__(schedules)

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first due instant strictly after `instant`."""
        found = (schedule.next_after(instant) for schedule in self.schedules)
        return min((due for due in found if due is not None), default=None)

    def __str__(self) -> str:
        return " or ".join(map(str, self.schedules))


def _distinct(dates: Iterable[date]) -> frozenset[date]:
    return frozenset(dates)


def _end_of(day: date, zone: ZoneInfo) -> datetime:
    """Give the last instant before the next day begins; a day that clocks re-enter later is asked about again."""
    return datetime.combine(day + _ONE_DAY, time(), zone).astimezone(UTC) - _INSTANT_BEFORE


@frozen
class Except:
    """Due as another schedule, without some days or instants.

    Args:
        schedule: the one to thin out.
        dates: local dates on which nothing is due, such as public holidays.
        zone: the IANA zone of those dates.
        when: given a due instant in UTC, says True to leave it out, or until when (aware) all are left out. It has
            to be pure, as a schedule is.
    """

    schedule: Schedule
    dates: frozenset[date] = field(default=frozenset(), converter=_distinct)
    zone: str = field(default="UTC", kw_only=True)
    when: Callable[[datetime], object] | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        load_zone(self.zone)

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first due instant strictly after `instant` that is not left out.

        Raises:
            ScheduleError: `when` left out 200,000 instants in a row.
        """
        zone = load_zone(self.zone)
        due = self.schedule.next_after(instant)
        for _ in range(_MOST_REFUSALS):
            if due is None:
                return None
            local = due.astimezone(zone)
            if local.date() in self.dates:
                due = self.schedule.next_after(max(due, _end_of(local.date(), zone)))
            elif self.when is not None and (refused := self.when(due)):
                until = in_utc(refused) - _INSTANT_BEFORE if isinstance(refused, datetime) else due
                due = self.schedule.next_after(max(due, until))
            else:
                return due
        raise ScheduleError(
            f"{self}: {_MOST_REFUSALS:,} instants in a row were left out after {instant.isoformat()}; make the schedule"
            " itself rarer, or give an end with Between"
        )

    @property
    def exceptions(self) -> str:
        """What is left out, in words."""
        parts = [f"{len(self.dates)} date{'s' if len(self.dates) > 1 else ''}"] if self.dates else []
        if self.when is not None:
            parts.append(getattr(self.when, "__name__", "") or str(self.when))
        return " and ".join(parts) or "nothing"

    def __str__(self) -> str:
        return f"{self.schedule} except {self.exceptions}"


@frozen
class Between:
    """Due as another schedule, from a start (included) to an end (excluded).

    Args:
        schedule: the one to cut.
        start: aware; None for no start.
        end: aware, after the start; None for no end.
    """

    schedule: Schedule
    start: datetime | None = None
    end: datetime | None = None

    def __attrs_post_init__(self) -> None:
        start = None if self.start is None else in_utc(self.start)
        end = None if self.end is None else in_utc(self.end)
        if start is not None and end is not None and start >= end:
            raise ScheduleError(
                f"{self.schedule}: the end {end.isoformat()} is not after the start {start.isoformat()}; swap them"
            )

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first due instant strictly after `instant`, within the bounds."""
        instant = in_utc(instant)
        if self.start is not None:
            instant = max(instant, in_utc(self.start) - _INSTANT_BEFORE)
        due = self.schedule.next_after(instant)
        if due is None or (self.end is not None and due >= in_utc(self.end)):
            return None
        return due

    def __str__(self) -> str:
        start = f" from {self.start.isoformat()}" if self.start is not None else ""
        return str(self.schedule) + start + (f" until {self.end.isoformat()}" if self.end is not None else "")


@frozen
class Jitter:
    """Due as another schedule, each instant moved later by some seconds, to spread jobs of the same minute.

    The offset is a hash of the key and the instant: it looks random, and is the same after a restart. An instant is
    never moved to or beyond the one that follows it, so none is lost and the order stays.

    Args:
        schedule: the one to spread.
        seconds: the largest offset, whole seconds; 0 for none.
        key: what tells jobs apart, such as the job's name.
    """

    schedule: Schedule
    seconds: int
    key: str

    def __attrs_post_init__(self) -> None:
        if self.seconds < 0 or self.seconds != int(self.seconds):
            raise ScheduleError(f"{self.key}: a jitter of {self.seconds} s is not a whole number from 0; correct it")

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first moved instant strictly after `instant`."""
        instant = in_utc(instant)
        due = self._last_until(instant) or self.schedule.next_after(instant)
        while due is not None:
            following = self.schedule.next_after(due)
            moved = self._moved(due, following)
            if moved > instant:
                return moved
            due = following
        return None

    def _last_until(self, instant: datetime) -> datetime | None:
        """Find the last unmoved instant that could be moved past `instant`: only one can, as the order stays.

        The look back doubles, so that a schedule of every second is not walked from the far end of its jitter.
        """
        back = 1
        while True:
            due = self.schedule.next_after(instant - timedelta(seconds=min(back, self.seconds)) - _INSTANT_BEFORE)
            if due is not None and due <= instant:
                break
            if back >= self.seconds:
                return None
            back *= 2
        while (following := self.schedule.next_after(due)) is not None and following <= instant:
            due = following
        return due

    def _moved(self, due: datetime, following: datetime | None) -> datetime:
        room = self.seconds + 1
        if following is not None:
            # At least 1 s apart by the rules of cron and Every; At may be closer, and is then left alone.
            room = max(1, min(room, (following - due) // timedelta(seconds=1)))
        seed = f"{self.key}\0{due.isoformat()}".encode()
        return due + timedelta(seconds=int.from_bytes(blake2b(seed, digest_size=8).digest()) % room)

    def __str__(self) -> str:
        return f"{self.schedule}, up to {self.seconds} s later"
