"""When jobs are due: from a text or an object to UTC instants.

A schedule answers one question, `next_after(instant)`, and answers it the same for ever. The package is pure: no
clock, no randomness, no waiting; only the rules of time zones are read. It imports nothing of ours but `errors`.

    preview   upcoming(), runs_between()
    describe  describe(): a schedule in plain English
    assemble  assemble(): all that a job says of its schedule
    parse     parse_schedule(): which kind of text is it
    cron      Cron: days x times of day, and the rule for clock changes
    combine   At, AnyOf, Except, Between, Jitter
    calendars Calendar: iCalendar files of days off
    interval  Every, durations of Go
    fields    the fields of a cron text
    zones     where clocks change; dst_note()
    base      Schedule: the contract
"""

from __future__ import annotations

from goflow_trio.schedules.base import Schedule, in_utc
from goflow_trio.schedules.calendars import Calendar, read_calendar
from goflow_trio.schedules.combine import AnyOf, At, Between, Except, Jitter
from goflow_trio.schedules.cron import Cron, Dst
from goflow_trio.schedules.describe import describe
from goflow_trio.schedules.interval import Every
from goflow_trio.schedules.parse import parse_schedule
from goflow_trio.schedules.preview import runs_between, upcoming
from goflow_trio.schedules.zones import dst_note

__all__ = [
    "AnyOf",
    "At",
    "Between",
    "Calendar",
    "Cron",
    "Dst",
    "Every",
    "Except",
    "Jitter",
    "Schedule",
    "describe",
    "dst_note",
    "in_utc",
    "parse_schedule",
    "read_calendar",
    "runs_between",
    "upcoming",
]
