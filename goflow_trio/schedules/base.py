"""What every schedule promises, and the one step all of them share.

It decides nothing about when a job is due. It must not read a clock, and knows no kind of schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from goflow_trio.errors import ScheduleError, UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@runtime_checkable
class Schedule(Protocol):
    """Says when a job is due next, as a function of an instant and of nothing else.

    An implementation is a value: immutable, safe to share between jobs and threads. Obligations:

    - *Pure.* The same instant gives the same answer, today and after a restart: no clock, no randomness, no
      memory of earlier calls. This is what keeps an instant from being run twice.
    - *Forward.* The answer is strictly after `instant`. Nothing lies between: every due instant is found by
      asking again with the last answer.
    - *UTC.* The answer is aware and in UTC. Any aware `instant` is taken.
    - *An end.* None means never again, for this and every later `instant`.
    - *Prompt.* It runs in the event loop: about a millisecond, no I/O but the first look at a time zone.
    - *Readable.* `str()` is one short line for a person.
    """

    def next_after(self, instant: datetime) -> datetime | None:
        """Find the first due instant strictly after `instant`.

        Args:
            instant: an aware datetime.

        Returns:
            The due instant in UTC, or None if there is none any more.
        """
        ...

    def __str__(self) -> str: ...


def in_utc(instant: datetime) -> datetime:
    """Give `instant` in UTC; a naive one is refused, because it names a different instant on every machine.

    Raises:
        UsageError: `instant` carries no offset.
    """
    if instant.tzinfo is UTC:
        return instant
    if instant.utcoffset() is None:
        raise UsageError(f"{instant!r} has no time zone; give an aware datetime, such as one in datetime.UTC")
    return instant.astimezone(UTC)


def whole_second_after(instant: datetime) -> datetime:
    """Give the first whole second strictly after an instant in UTC.

    A timer that fires early at …59.999 therefore still finds …00.000, and one at …00.000 does not find it again.
    """
    return instant.replace(microsecond=0) + timedelta(seconds=1)


def checked(schedule: Schedule) -> Callable[[datetime], datetime | None]:
    """Return `next_after` of a schedule that may be the user's, its answers held against the contract.

    One that is not after the instant asked about would be run for ever.

    Raises:
        ScheduleError: when called and the answer breaks the contract.
    """

    def next_after(instant: datetime) -> datetime | None:
        answer: object = schedule.next_after(instant)
        if answer is None:
            return None
        if not isinstance(answer, datetime) or answer.tzinfo is None:
            raise ScheduleError(f"next_after answered {answer!r}; it has to be an aware datetime or None")
        if answer <= instant:
            raise ScheduleError(f"next_after answered {answer.isoformat()}, which is not after {instant.isoformat()}")
        return answer

    return next_after
