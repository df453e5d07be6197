"""Which of an execution's ready tasks starts next: by priority, then in the order in which they became ready."""

from __future__ import annotations

import heapq
from collections import deque

from goflow_trio.core.plan import PlannedTask


class Queue:
    """Ready tasks that have not started, by place. One that was cancelled meanwhile is still in it.

    Attributes:
        free: those that only wait when they run: they need no slot, and so stand in no line.
        asked: those that have asked the engine for a slot and wait for it.
    """

    def __init__(self) -> None:
        self.free: deque[int] = deque()
        self.asked: set[int] = set()
        self._line: list[tuple[int, int, int]] = []  # a heap of (-priority, arrival, place)
        self._arrivals = 0

    def __bool__(self) -> bool:
        """Whether any stands in the line for slots."""
        return bool(self._line)

    def push(self, index: int, task: PlannedTask) -> None:
        """Let a task that is ready start as soon as there is a slot."""
        if task.waits is not None:
            self.free.append(index)
            return
        self._arrivals += 1
        heapq.heappush(self._line, (-task.priority, self._arrivals, index))

    def pop(self) -> int:
        """Take the next one out of the line for slots."""
        return heapq.heappop(self._line)[2]
