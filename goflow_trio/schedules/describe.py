"""A schedule in plain English, for people who do not read cron. cron-descriptor knows the words for cron texts.

It decides nothing about when a job is due, and never fails: what has no words is shown as it was written.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from cron_descriptor import ExpressionDescriptor, Options

from goflow_trio.schedules.base import Schedule
from goflow_trio.schedules.combine import AnyOf, At, Between, Except, Jitter
from goflow_trio.schedules.cron import Cron
from goflow_trio.schedules.interval import Every

_FEW = 3


def describe(schedule: Schedule) -> str:  # noqa: PLR0911  # one for each kind
    """Say when a schedule is due: `At 02:30, Monday through Friday (Europe/Berlin)`.

    >>> from goflow_trio.schedules import parse_schedule
    >>> describe(parse_schedule("30 2 * * mon-fri", timezone="Europe/Berlin"))
    'At 02:30, Monday through Friday (Europe/Berlin)'
    """
    match schedule:
        case Cron():
            return f"{_words(schedule.text)} ({schedule.zone.key})"
        case Every():
            return (
                f"Every {timedelta(seconds=schedule.seconds)} of real time" if schedule.seconds > 1 else "Every second"
            )
        case At():
            some = ", ".join(f"{due:%Y-%m-%d %H:%M:%S} UTC" for due in schedule.instants[:_FEW])
            more = len(schedule.instants) - _FEW
            return f"Once at {some}" + (f" and {more} more times" if more > 0 else "")
        case AnyOf():
            return "; and ".join(map(describe, schedule.schedules))
        case Except():
            return f"{describe(schedule.schedule)}, except {schedule.exceptions}"
        case Between():
            start = f", from {schedule.start:%Y-%m-%d %H:%M} on" if schedule.start is not None else ""
            end = f", until {schedule.end:%Y-%m-%d %H:%M}" if schedule.end is not None else ""
            return f"{describe(schedule.schedule)}{start}{end}"
        case Jitter():
            return f"{describe(schedule.schedule)}, spread over {schedule.seconds} s"
        case _:
            return str(schedule)


@lru_cache(maxsize=1024)
def _words(text: str) -> str:
    options = Options(use_24hour_time_format=True, locale_code="en_US")  # without, it warns where LANG is C
    try:
        return str(ExpressionDescriptor(text.upper(), options).get_description())
    except Exception:  # noqa: BLE001  # a text it does not know is still a good one
        return text
