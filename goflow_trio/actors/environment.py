"""The only place that asks the world for the time and for randomness. Everything else gets them from here."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import trio
from attrs import Factory, define, field

_FAR_PAST = 0


@define
class Environment:
    """The outside, as one engine sees it. Replace it to make a run repeatable.

    Args:
        now: returns the wall-clock time (aware, UTC).
        random_bits: returns a whole number of so many random bits.
        steady: whether `now` advances exactly with trio's clock and is never set, so that nobody has to look.
        operator_threads: limits the threads of synchronous operators; None is `limits.OPERATOR_THREADS` at once.
    """

    now: Callable[[], datetime]
    random_bits: Callable[[int], int]
    steady: bool = False
    operator_threads: trio.CapacityLimiter | None = None
    _last_id: int = field(default=_FAR_PAST, init=False)
    _ids_in_step: int = field(default=Factory(int), init=False)

    def new_id(self) -> str:
        """Return an id that is unique, and greater than any this environment gave before.

        A version 7 UUID (RFC 9562 §6.2, method 1): 48 bits of milliseconds, a 12-bit counter, 62 random bits.
        If the clock steps back, or more than 4,096 ids are asked for within a millisecond, the time part runs
        ahead: order matters more here than the exact millisecond.
        """
        milliseconds = int(self.now().timestamp() * 1000)
        if milliseconds > self._last_id:
            self._last_id, self._ids_in_step = milliseconds, 0
        else:
            self._ids_in_step += 1
            if self._ids_in_step >> 12:
                self._last_id, self._ids_in_step = self._last_id + 1, 0
        value = self._last_id << 80 | 7 << 76 | self._ids_in_step << 64 | 0b10 << 62 | self.random_bits(62)
        return str(uuid.UUID(int=value))


def real_environment() -> Environment:
    """Return the machine's own clock and randomness."""
    return Environment(now=lambda: datetime.now(UTC), random_bits=random.SystemRandom().getrandbits)


def virtual_environment(start: datetime, seed: int = 0) -> Environment:
    """Return a world that starts at `start` and advances with trio's clock, and whose randomness derives from `seed`.

    With `trio.testing.MockClock` a year passes in no time, and the same seed gives the same ids.
    """
    origin: float | None = None
    read_at, shown = -1.0, start  # it is asked several times for each step of time

    def now() -> datetime:
        nonlocal origin, read_at, shown
        seconds = trio.current_time()
        if seconds != read_at:
            origin = seconds if origin is None else origin
            read_at, shown = seconds, start + timedelta(seconds=seconds - origin)
        return shown

    return Environment(now=now, random_bits=random.Random(seed).getrandbits, steady=True)  # noqa: S311  # ids, not secrets
