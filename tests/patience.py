"""How long tests wait for what has to come, and for how long they would wait for what must not be waited for.

No test asserts that something was quick: a machine stands still for a moment, or is ten times slower than another. It
gives what must not be waited for `AGES`, and all together `SOON`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

SOON = 60.0
"""Seconds within which everything comes that has to, wherever the tests run."""

AGES = 10 * SOON
"""Seconds that nobody waits."""

T = TypeVar("T")


async def until(condition: Callable[[], T], seconds: float = SOON) -> T:
    """Wait for what another thread, process or machine makes true; return it."""
    with trio.fail_after(seconds):
        while not (found := condition()):  # noqa: ASYNC110  # nobody tells
            await trio.sleep(0.01)
    return found


async def in_the_end(operation: Callable[[], Awaitable[T]], trouble: type[Exception]) -> T:
    """Do something again and again until it goes well: a time-out may be over because the machine stood still."""
    with trio.fail_after(SOON):
        while True:
            try:
                return await operation()
            except trouble:
                await trio.sleep(0.01)
