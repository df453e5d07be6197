"""What is to be done about the instants that a clock has reached: the misfire policies. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import frozen

from goflow_trio.core import limits
from goflow_trio.jobs.job import Job

NextAfter = Callable[[datetime], datetime | None]

LATE = timedelta(seconds=2)
"""How late an instant may be and still count as on time: several times the longest wait of the scheduler."""

_DEFAULT_WINDOW = timedelta(days=365)
_COUNTED_MOST = 1_000
_JUST_BEFORE = timedelta(microseconds=1)


@frozen
class Due:
    """What has to be done about the instants of one job up to now.

    Args:
        run: instants to submit, in order.
        missed: how many instants before them get no run of their own.
        first: the first of those.
        last: a moment between the last of those and the first to run.
        counted: whether `missed` is exact; a long absence of a busy schedule is not counted to its end.
    """

    run: tuple[datetime, ...]
    missed: int = 0
    first: datetime | None = None
    last: datetime | None = None
    counted: bool = True


def due_instants(job: Job, next_after: NextAfter, cursor: datetime, now: datetime) -> Due:
    """Apply the job's misfire policy to the instants after `cursor` up to `now`.

    The instant of this moment is no misfire; only those that a later one has overtaken are.

    Args:
        job: says the policy.
        next_after: its schedule's.
        cursor: where to begin.
        now: what the clock shows.
    """
    window = timedelta(seconds=job.catchup_window) if job.catchup_window else _DEFAULT_WINDOW
    instants: list[datetime] = []
    count = 0
    counted = True
    first: datetime | None = None
    instant = next_after(cursor)
    keep = limits.MISSED_INSTANTS if job.misfire == "all" else 1
    while instant is not None and instant <= now:
        first = first or instant
        instants.append(instant)
        count += 1
        if len(instants) > keep:
            instants.pop(0)
        if count == _COUNTED_MOST:  # a long absence: the latest ones are what matters now
            latest = _shortly_before(next_after, now, instant, keep)
            counted = latest <= instant
            instant = max(latest, instant)
        instant = next_after(instant)
    wanted = tuple(
        instant for instant in instants if now - instant <= (LATE if job.misfire == "skip" else max(window, LATE))
    )
    missed = count - len(wanted)
    if not missed:
        return Due(wanted)
    last = wanted[0] - _JUST_BEFORE if wanted else instants[-1]
    return Due(wanted, missed, first, last, counted)


def _shortly_before(next_after: NextAfter, now: datetime, at_least: datetime, keep: int) -> datetime:
    """Return a moment from which not many more than `keep` instants are left up to now.

    Spans are doubled until one begins with so many that the policy may want all of them.
    """
    span = timedelta(seconds=1)
    while now - span > at_least:
        instant: datetime | None = now - span
        for _ in range(keep):
            instant = next_after(instant) if instant is not None else None
            if instant is None or instant > now:
                break
        else:
            return now - span
        span *= 2
    return at_least
