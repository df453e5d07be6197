"""Intervals: `@every 90s`, and the durations of Go that it is written with.

It must not know when the program was started: see `Every` for why.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from attrs import field, frozen

from goflow_trio.errors import ScheduleError
from goflow_trio.schedules.base import EPOCH, in_utc

_UNITS: Final = {
    "ns": Fraction(1, 1_000_000_000),
    "us": Fraction(1, 1_000_000),
    "µs": Fraction(1, 1_000_000),  # the micro sign
    "μs": Fraction(1, 1_000_000),  # the Greek letter; Go takes both
    "ms": Fraction(1, 1_000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"\+?(?:{_PART.pattern})+", re.ASCII)

# Go's own limit is 292 years; no job means that.
_LONGEST = 100 * 365 * 24 * 3600


@frozen
class Every:
    """Due at a steady interval of real time, whatever clocks and zones do.

    The instants are the anchor plus whole multiples of the interval, before and after it. By default the anchor is
    the epoch, so `Every(90)` is due at the same instants after a restart, on every server. robfig/cron counts from
    the start of the program instead ("the next time is now plus the delay"), which a durable scheduler cannot: an
    instant has to have one name. An interval that does not divide a day is due at other times each day.

    Args:
        seconds: the interval, whole seconds, at least 1.
        anchor: one of the instants, aware; it shifts them and is not a start. Wrap in `Between` for that.
    """

    seconds: int
    anchor: datetime = field(default=EPOCH, converter=in_utc)

    def __attrs_post_init__(self) -> None:
        if self.seconds != int(self.seconds):
            raise ScheduleError(f"an interval of {self.seconds} s is not in whole seconds; round it")
        if self.seconds < 1:
            raise ScheduleError(f"an interval of {self.seconds} s is too short; use 1 s or more")
        if self.seconds > _LONGEST:
            raise ScheduleError(f"an interval of {self.seconds} s is longer than 100 years; use a shorter one")

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first due instant strictly after `instant`."""
        period = timedelta(seconds=self.seconds)
        try:
            return self.anchor + ((in_utc(instant) - self.anchor) // period + 1) * period
        except OverflowError:
            return None

    def __str__(self) -> str:
        return f"every {self.seconds} s"


def read_duration(text: str) -> Fraction:
    """Read a duration as Go's `time.ParseDuration` does: `90s`, `1h30m`, `1.5h`, `500ms`.

    Returns:
        Seconds, exactly.

    Raises:
        ScheduleError: it is not a duration.
    """
    if not _DURATION.fullmatch(text):
        raise ScheduleError(
            f"{text!r} is not a duration; write numbers with units h, m, s or ms, such as 90s or 1h30m (a day is 24h)"
        )
    return sum((Fraction(number) * _UNITS[unit] for number, unit in _PART.findall(text)), Fraction())


def read_every(text: str) -> Every:
    """Read what follows `@every`.

    robfig/cron rounds a delay below a second up and cuts off fractions; both are refused here, so that nobody gets
    an interval other than the one written.

    Raises:
        ScheduleError: it is not a duration of whole seconds, 1 or more.
    """
    seconds = read_duration(text)
    if seconds < 1:
        raise ScheduleError(f"an interval of {text} is too short; use 1s or more")
    if seconds.denominator != 1:
        raise ScheduleError(f"an interval of {text} is not in whole seconds; round it")
    return Every(int(seconds))
