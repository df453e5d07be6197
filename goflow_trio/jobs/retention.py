"""How long finished executions are kept."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from attrs import field, frozen

from goflow_trio.errors import DefinitionError


@frozen
class Retention:
    """What is kept of a job's finished executions: what is over either bound goes, the oldest first.

    What goes takes everything with it: its record, its kept output, and the idempotency key it was submitted with.
    Unfinished executions always stay.

    Args:
        days: those submitted within so many days are kept; None: age is no reason to go.
        count: so many of the newest are kept; None: number is no reason to go.

    Raises:
        DefinitionError: a bound is negative or no number.

    Example:
        >>> Retention(days=7), Retention(count=100), Retention()
        (Retention(days=7, count=None), Retention(days=None, count=100), Retention(days=None, count=None))
    """

    days: float | None = field(default=None)
    count: int | None = field(default=None)

    @days.validator
    def _check_days(self, _: object, days: Any) -> None:
        if days is None:
            return
        is_number = isinstance(days, int | float) and not isinstance(days, bool)
        if not is_number or not math.isfinite(days) or days < 0:
            raise DefinitionError(f"retention: days must be a number of 0 or more, or None, got {days!r}")

    @count.validator
    def _check_count(self, _: object, count: object) -> None:
        if count is not None and not (isinstance(count, int) and not isinstance(count, bool) and count >= 0):
            raise DefinitionError(f"retention: count must be a whole number of 0 or more, or None, got {count!r}")


def as_retention(value: object) -> Retention | None:
    """Return a retention given as one, as a number of executions, or as a `timedelta`; None stays None.

    Raises:
        DefinitionError: it is none of these.
    """
    if value is None or isinstance(value, Retention):
        return value
    if isinstance(value, timedelta):
        return Retention(days=value / timedelta(days=1))
    if isinstance(value, int) and not isinstance(value, bool):
        return Retention(count=value)
    raise DefinitionError(
        f"retention is a number of executions, a timedelta, or Retention(days=…, count=…), got {value!r}"
    )
