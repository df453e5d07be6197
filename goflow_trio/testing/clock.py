"""A clock for simulations: virtual time jumps to the next deadline, but only while nothing works.

`trio.testing.MockClock` jumps as soon as every task waits, also for a thread or a process, so a program that takes
0.2 s "takes" until the next time-out. Here time stands still as long as something outside of trio's tasks works: a
thread started by `trio.to_thread`, or whatever a task waits for through a file descriptor (a pipe of a process, its
exit, a socket). So work takes no virtual time at all, and the same program sees the same times in every run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import cache

import trio
import trio.testing
from attrs import fields

_LOOK_SECONDS = 1.0

# trio itself waits for its wake-up socket, always.
_OWN_WAITS = 1


class WorkClock(trio.abc.Clock):
    """Pass it to `trio.run(main, clock=WorkClock())`.

    Args:
        patience: real seconds that time may stand still; then `stuck` is called, in trio's thread.
        stuck: told what works; it should cancel the program.
    """

    def __init__(self, patience: float = 60.0, stuck: Callable[[str], None] | None = None) -> None:
        self._now = 0.0
        self._patience = patience
        self._stuck = stuck
        self._still_since: float | None = None
        self._settling: deque[trio.Event] = deque()

    def start_clock(self) -> None:
        """Begin at 0."""

    def current_time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called by trio when no task can run: jump to the deadline, or wait for what works."""
        if deadline <= self._now:
            return 0.0
        if self._settling:
            self._settling.popleft().set()
            return 0.0
        work = outside_work()
        if not work:
            self._still_since = None
            if deadline < float("inf"):
                self._now = deadline
                return 0.0
            return float("inf")
        real = time.monotonic()
        if self._still_since is None:
            self._still_since = real
        elif real - self._still_since > self._patience and self._stuck is not None:
            self._still_since = None
            self._stuck(work)
            return 0.0
        return _LOOK_SECONDS

    async def settled(self) -> None:
        """Wait until no task can run."""
        event = trio.Event()
        self._settling.append(event)
        await event.wait()


class OneThread:
    """A limiter for `trio.to_thread.run_sync` under which threads come and go in an order that never changes.

    One thread runs at a time, and it begins when no task can run any more: so it finds the program in the same state
    each time, and its end too, however long it takes.

    Args:
        clock: tells when no task can run.
    """

    def __init__(self, clock: WorkClock) -> None:
        self._clock = clock
        self._one = trio.CapacityLimiter(1)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for the turn of a thread."""
        await self._one.acquire_on_behalf_of(borrower)
        try:
            await self._clock.settled()
        except BaseException:
            self._one.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give the turn to the next."""
        self._one.release_on_behalf_of(borrower)


def outside_work() -> str:
    """Say what works outside of trio's tasks; empty if nothing does. To be called in a trio program."""
    statistics = trio.lowlevel.current_statistics()
    if statistics.run_sync_soon_queue_size:
        return "a call from another thread is on its way"
    if threads := trio.testing.active_thread_count():
        return f"{threads} thread{'s' if threads > 1 else ''}"
    waiting = statistics.io_statistics
    waits = sum(getattr(waiting, name) for name in _wait_counts()) - _OWN_WAITS
    return f"{waits} pipes, sockets or processes" if waits > 0 else ""


@cache
def _wait_counts() -> tuple[str, ...]:
    """Return the names of what counts tasks that wait for a file descriptor: they differ between platforms."""
    statistics = trio.lowlevel.current_statistics().io_statistics
    return tuple(field.name for field in fields(type(statistics)) if field.name.startswith("tasks_waiting"))
