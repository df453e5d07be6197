"""Looking ahead: the next instants of a schedule, for `goflow-trio next` and the API.

It must not know what kinds of schedule it asks. `zones.dst_note` has the words about clock changes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby

from goflow_trio.schedules.base import Schedule


def upcoming(schedule: Schedule, after: datetime, n: int) -> list[datetime]:
    """List the next `n` instants strictly after another; fewer if the schedule ends."""
    found: list[datetime] = []
    while len(found) < n and (due := schedule.next_after(found[-1] if found else after)) is not None:
        found.append(due)
    return found


def instants_between(schedule: Schedule, start: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the instants after `start` and before `until`."""
    due = schedule.next_after(start)
    while due is not None and due < until:
        yield due
        due = schedule.next_after(due)


def runs_between(
    schedules: Mapping[str, Schedule], start: datetime, until: datetime
) -> Iterator[tuple[datetime, list[str]]]:
    """Yield each instant at which something is due, with the names of all that are, in order.

    Args:
        schedules: by name.
        start: instants after it count.
        until: instants before it count.
    """

    def named(name: str) -> Iterator[tuple[datetime, str]]:
        return ((due, name) for due in instants_between(schedules[name], start, until))

    for due, group in groupby(heapq.merge(*map(named, schedules)), key=lambda run: run[0]):
        yield due, [name for _, name in group]
