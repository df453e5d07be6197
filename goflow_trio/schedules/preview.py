"""Looking ahead: the next instants of a schedule, for `goflow-trio next` and the API.

It must not know what kind of schedule it asks. `zones.dst_note` has the words about clock changes.
"""

from __future__ import annotations

from datetime import datetime

from goflow_trio.schedules.base import Schedule


def upcoming(schedule: Schedule, after: datetime, n: int) -> list[datetime]:
    """List the next `n` instants strictly after another; fewer if the schedule ends."""
    found: list[datetime] = []
    while len(found) < n and (due := schedule.next_after(found[-1] if found else after)) is not None:
        found.append(due)
    return found
