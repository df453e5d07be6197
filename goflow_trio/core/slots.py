"""Who may run now, where only so many may at once. Pure: it is asked, and told when somebody is done.

The model: a *limit* has a name and so many slots (all tasks of the engine, the tasks of a job, a pool, the executions
of a job). A *claim* needs slots of some limits, and gets all of them at once or waits without holding any: so claims
cannot lock each other out. Waiting claims are served by priority, then in the order in which they asked. One that
waits for a full limit delays only those after it that need that same limit; and a claim for several slots is not
overtaken by smaller ones of its limit, or it might wait for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from attrs import define, field


class Standing(Enum):
    """Where a claim stands."""

    WAITING = "waiting"
    HELD = "held"
    OVER = "over"


@define(eq=False)
class Claim:
    """A wish for slots, and what became of it.

    Args:
        holder: who it is for, as (execution, task); an execution as a whole has an empty task.
        needs: slots by the name of the limit. Nothing: it is granted at once.
        priority: higher is served first.
        tell: called when it is granted after it had to wait.
    """

    holder: tuple[str, str]
    needs: Mapping[str, int]
    priority: int = 0
    tell: Callable[[], Any] | None = None
    standing: Standing = field(default=Standing.OVER, init=False)


class Slots:
    """All limits of an engine, who holds their slots, and who waits.

    Args:
        capacity: slots by the name of the limit.
    """

    def __init__(self, capacity: Mapping[str, int]) -> None:
        self.capacity = dict(capacity)
        self.used = dict.fromkeys(capacity, 0)
        self._holders: dict[str, dict[Claim, None]] = {name: {} for name in capacity}
        self._lanes: dict[tuple[str, ...], list[tuple[int, int, Claim]]] = {}  # heaps, by what their claims need
        self._arrivals = 0

    def ask(self, claim: Claim) -> bool:
        """Claim slots; return whether they are held now. If not, the claim waits and is told when they are."""
        claim.standing = Standing.WAITING
        if not self._lanes and self._fits(claim):
            self._hold(claim)
            return True
        self._arrivals += 1
        lane = self._lanes.setdefault(tuple(sorted(claim.needs)), [])
        heapq.heappush(lane, (-claim.priority, self._arrivals, claim))
        self._serve(asking=claim)
        return claim.standing is Standing.HELD

    def take(self, claim: Claim) -> bool:
        """Hold slots at once, even if there are none: others wait until the limit is kept again."""
        self._hold(claim)
        return True

    def release(self, claim: Claim) -> None:
        """Give slots back, or stop waiting for them. Doing it again does nothing."""
        if claim.standing is Standing.HELD:
            for name, count in claim.needs.items():
                self.used[name] -= count
                del self._holders[name][claim]
        claim.standing = Standing.OVER
        self._serve()

    def lacking(self, claim: Claim) -> list[str]:
        """Return the limits that a waiting claim waits for: those that are full, or kept for one that asked before."""
        full = [name for name, count in claim.needs.items() if self.used[name] + count > self.capacity[name]]
        return full or list(claim.needs)

    def waiting(self, name: str) -> int:
        """Return how many claims that need slots of a limit wait, for this limit or another."""
        lanes = [lane for key, lane in self._lanes.items() if name in key]
        return sum(claim.standing is Standing.WAITING for lane in lanes for _, _, claim in lane)

    def holders(self, name: str) -> list[tuple[tuple[str, str], int]]:
        """Return who holds slots of a limit, and how many."""
        return [(claim.holder, claim.needs[name]) for claim in self._holders[name]]

    def _fits(self, claim: Claim) -> bool:
        return all(self.used[name] + count <= self.capacity[name] for name, count in claim.needs.items())

    def _hold(self, claim: Claim) -> None:
        claim.standing = Standing.HELD
        for name, count in claim.needs.items():
            self.used[name] += count
            self._holders[name][claim] = None

    def _serve(self, asking: Claim | None = None) -> None:
        """Grant what can be granted; who is asking right now learns it from the answer instead."""
        while self._lanes:
            granted = self._next()
            if granted is None:
                return
            self._hold(granted)
            if granted is not asking and granted.tell is not None:
                granted.tell()

    def _next(self) -> Claim | None:
        """Take the first claim that fits out of its lane."""
        for key, lane in list(self._lanes.items()):
            while lane and lane[0][2].standing is not Standing.WAITING:
                heapq.heappop(lane)
            if not lane:
                del self._lanes[key]
        kept: set[str] = set()  # limits that a claim further ahead waits for
        for key, lane in sorted(self._lanes.items(), key=lambda item: item[1][0][:2]):
            claim = lane[0][2]
            if kept.isdisjoint(key) and self._fits(claim):
                heapq.heappop(lane)
                if not lane:
                    del self._lanes[key]
                return claim
            kept.update(name for name, count in claim.needs.items() if self.used[name] + count > self.capacity[name])
        return None
