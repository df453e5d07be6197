"""Which instants of one schedule are accounted for: a cursor, and the free stretches below it.

The cursor is the latest instant that is accounted for; it never goes back, whatever the clock does. That alone keeps
every instant from being run twice, but a clock that was wrong for a moment and a year ahead would then silence a
schedule for a year. So the stretches below the cursor in which nothing has run are kept too: a clock that is set back
into one of them finds its instants free, and those outside, which have run, stay done.

Pure. It is folded from events, so it is the same after a restart; it knows no schedule and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import define, field

FAR_PAST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No schedule is due before it."""

_JUST_BEFORE = timedelta(microseconds=1)
_MOST_GAPS = 32


@define
class Timeline:
    """What is accounted for.

    Args:
        cursor: the latest instant that is; None while nobody watched the schedule yet.
        gaps: stretches (after, until], ascending and apart from each other, in which no instant has run. At most 32;
            the shortest goes first, and counts as accounted for then.
    """

    cursor: datetime | None = None
    gaps: list[tuple[datetime, datetime]] = field(factory=list)

    def begin(self, at: datetime) -> None:
        """Watch from a moment on: what is due before it is nobody's debt, and stays free."""
        if self.cursor is None:
            self._replace(None, [(FAR_PAST, at)])
            self.cursor = at
        elif at > self.cursor:
            self._replace(None, [(self.cursor, at)])
            self.cursor = at
        elif gap := self._around(at):
            self._replace(gap, [(gap[0], at), (at, gap[1])])

    def account(self, instant: datetime) -> None:
        """Note that an instant was run, or was left out on purpose, and all that was due before it was seen to."""
        if self.cursor is None or instant > self.cursor:
            self.cursor = instant
        elif gap := self._around(instant):
            self._replace(gap, [(instant, gap[1])])

    def pass_over(self, first: datetime, last: datetime) -> None:
        """Note that instants from the first to the last went by without a run."""
        before = first - _JUST_BEFORE
        if self.cursor is None or last > self.cursor:
            self._replace(None, [(before if self.cursor is None else max(before, self.cursor), last)])
            self.cursor = last
        elif gap := self._around(last):
            self._replace(gap, [(max(before, gap[0]), last), (last, gap[1])])

    def position(self, now: datetime) -> datetime | None:
        """Return the moment after which instants are free, as a clock that shows `now` has it."""
        if self.cursor is None or now >= self.cursor:
            return self.cursor
        if any(after == now for after, _ in self.gaps):  # watching has just begun here
            return now
        return next((after for after, until in self.gaps if now <= until), self.cursor)

    def is_free(self, instant: datetime) -> bool:
        """Tell whether an instant may still be run."""
        return self.cursor is None or instant > self.cursor or self._around(instant) is not None

    def next_free(self, next_after: Callable[[datetime], datetime | None], now: datetime) -> datetime | None:
        """Return the next instant that is not accounted for, as a clock that shows `now` has it.

        Args:
            next_after: the schedule's.
            now: what the clock shows.
        """
        at = self.position(now) or now
        while (instant := next_after(at)) is not None and not self.is_free(instant):
            at = next((after for after, _ in self.gaps if after >= instant), self.cursor or instant)
        return instant

    def _around(self, instant: datetime) -> tuple[datetime, datetime] | None:
        return next((gap for gap in self.gaps if gap[0] < instant <= gap[1]), None)

    def _replace(self, old: tuple[datetime, datetime] | None, new: Iterable[tuple[datetime, datetime]]) -> None:
        kept = [gap for gap in self.gaps if gap != old] + [gap for gap in new if gap[0] < gap[1]]
        if len(kept) > _MOST_GAPS:
            kept.remove(min(kept, key=lambda gap: gap[1] - gap[0]))
        self.gaps = sorted(kept)
