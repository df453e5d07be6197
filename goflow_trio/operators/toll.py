"""What ending executions takes: processes and threads, counted where they are ended, or left."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Final

from attrs import define, field


class Strays:
    """How many threads of an engine run that nobody waits for any more. Safe to use from any thread."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def entered(self) -> None:
        """Count one more."""
        with self._lock:
            self.count += 1

    def left(self) -> None:
        """Count one less."""
        with self._lock:
            self.count -= 1


@define
class Toll:
    """What was ended, of one attempt or of one execution.

    Args:
        processes: processes that were running and were ended.
        killed: how many of them did not end when told to, and were killed.
        threads: threads that went on when their attempt had ended.
        elsewhere: calls that went on in an executor which cannot stop what it has begun.
        strays: where those threads are counted as long as they run.
    """

    processes: int = 0
    killed: int = 0
    threads: int = 0
    elsewhere: int = 0
    strays: Strays = field(factory=Strays, repr=False, eq=False)

    def add(self, other: Toll) -> None:
        """Take in what another one counted."""
        self.processes += other.processes
        self.killed += other.killed
        self.threads += other.threads
        self.elsewhere += other.elsewhere


current_toll: Final[ContextVar[Toll | None]] = ContextVar("goflow_trio_toll", default=None)
"""Where the attempt that runs here counts; None outside of one."""
