"""Whether the engine can do what it promises, and if not, why: what `/api/health` and `/api/ready` say."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from attrs import frozen


class Condition(StrEnum):
    """How an engine is. `ok` is the only one that takes work; later ones are told before earlier ones.

    `draining`: it was told to take on nothing new; `degraded`: the store fails, or something in it is damaged;
    `stalled`: the store does not answer; `read-only`: it answers and takes no writes.
    """

    OK = "ok"
    DRAINING = "draining"
    DEGRADED = "degraded"
    STALLED = "stalled"
    READ_ONLY = "read-only"


_WORST_LAST = tuple(Condition)


@frozen
class Cause:
    """One thing that is wrong.

    Args:
        condition: how bad it is.
        name: what kind of thing, in a word or two: `store full`, `damaged record`.
        detail: what exactly.
        since: when it was first noticed; None where that does not matter.
        blocks: whether work is refused because of it.
    """

    condition: Condition
    name: str
    detail: str
    since: datetime | None = None
    blocks: bool = True


@frozen
class Health:
    """How an engine is, and all causes, the worst first.

    Args:
        causes: what is wrong.
        threads_abandoned: threads that run although their attempt was cut off: they cannot be stopped.
    """

    causes: tuple[Cause, ...] = ()
    threads_abandoned: int = 0

    @property
    def state(self) -> Condition:
        """The worst of the causes; `ok` without any."""
        return max((cause.condition for cause in self.causes), key=_WORST_LAST.index, default=Condition.OK)

    @property
    def ready(self) -> bool:
        """Whether work is taken."""
        return not any(cause.blocks for cause in self.causes)


def worst_first(causes: Iterable[Cause], threads_abandoned: int = 0) -> Health:
    """Return the health that these causes come to."""
    return Health(tuple(sorted(causes, key=lambda cause: -_WORST_LAST.index(cause.condition))), threads_abandoned)
