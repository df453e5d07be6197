"""Notices that something blocks the loop, and says what. Work that is async must not block, and some does.

A thread asks the loop for a sign of life. When none comes for `LIMIT` seconds it logs where the loop is stuck, while it
is: afterwards nobody could tell. Everything else of the engine stands still meanwhile, so there is nothing to mend
but the operator that the log names.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections import deque
from datetime import UTC, datetime

import trio
from attrs import frozen

from goflow_trio.actors.health import Cause, Condition

logger = logging.getLogger("goflow_trio.watchdog")

PERIOD = 0.5
"""Seconds between two questions."""

LIMIT = 1.0
"""Seconds without an answer after which the loop counts as blocked."""

REMEMBERED = 60.0
"""Seconds for which health tells of it, once it is over."""

_STACK_LINES = 12
_HOUR = 3600


@frozen
class Blocked:
    """A time for which the loop stood still.

    Args:
        since: when it was noticed (aware, UTC).
        seconds: how long it took.
        where: the innermost line of code.
        over: when it was over, on the monotonic clock.
    """

    since: datetime
    seconds: float
    where: str
    over: float


@frozen
class Lag:
    """How late the loop answered: what a task waits at least before it goes on, though nothing holds it up.

    Args:
        median: in seconds, of the last hour.
        p99: 99 of 100 answers came at least as soon.
        minutes: the longest of each minute, oldest first.
    """

    median: float
    p99: float
    minutes: tuple[float, ...]


class Watchdog:
    """Watches the loop it is made in.

    Attributes:
        last: the last time it was blocked, None if it never was.
    """

    def __init__(self) -> None:
        self.last: Blocked | None = None
        self._token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self._answered = threading.Event()
        self._stop = threading.Event()
        self._lags: deque[float] = deque(maxlen=int(_HOUR / PERIOD))

    def lag(self) -> Lag:
        """Return how late the loop answered lately."""
        lags = list(self._lags)
        minute = max(1, int(60 / PERIOD))
        minutes = tuple(max(lags[max(0, end - minute) : end]) for end in range(len(lags), 0, -minute))
        ordered = sorted(lags) or [0.0]
        return Lag(_quantile(ordered, 50), _quantile(ordered, 99), minutes[::-1])

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            await trio.to_thread.run_sync(self._watch, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True)
        finally:
            self._stop.set()

    def cause(self) -> Cause | None:
        """Return what health says of it."""
        last = self.last
        if last is None or time.monotonic() - last.over > REMEMBERED:
            return None
        detail = f"{last.where} blocked the loop for {last.seconds:.1f} s; make it a plain function, or await"
        return Cause(Condition.DEGRADED, "loop blocked", detail, last.since, blocks=False)

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD):
            self._answered.clear()
            try:
                self._token.run_sync_soon(self._answered.set)
            except trio.RunFinishedError:
                return
            begun = time.monotonic()
            if not self._answered.wait(LIMIT):
                self._tell(begun)
            self._lags.append(time.monotonic() - begun)

    def _tell(self, begun: float) -> None:
        since = datetime.now(UTC)
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  # documented, for just this
        stack = traceback.extract_stack(frame) if frame is not None else traceback.StackSummary()
        lines = "".join(stack.format()[-_STACK_LINES:])
        logger.warning("the loop is blocked for over %g s, nothing else runs meanwhile, at:\n%s", LIMIT, lines)
        while not self._answered.wait(PERIOD):
            if self._stop.is_set():
                return
        where = f"{stack[-1].name} ({stack[-1].filename}, line {stack[-1].lineno})" if stack else "something"
        self.last = Blocked(since, time.monotonic() - begun, where, time.monotonic())
        logger.warning("the loop was blocked for %.1f s by %s", self.last.seconds, where)


def _quantile(ordered: list[float], percent: int) -> float:
    """Return what so many of a hundred do not exceed; of a few, the one above."""
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]
