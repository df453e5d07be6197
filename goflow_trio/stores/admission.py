"""Whether an operation of a store may begin, and what is said of one that does not end. It knows no driver."""

from __future__ import annotations

import os
from typing import Final

import trio

from goflow_trio.errors import StoreClosed, StoreUnavailable

MAX_WAITING: Final = 1000
"""How many operations may be under way. It bounds what piles up behind a disk or server that does not answer."""


async def check_usable(name: str, pid: int, *, closed: bool, waiting: int = 0) -> None:
    """Refuse an operation that cannot be done, and be a place where it is cancelled.

    Args:
        name: what the store is called in messages; without a password.
        pid: the process that opened it.
        closed: whether it was closed.
        waiting: how many operations are under way.

    Raises:
        StoreClosed: it was closed, or this is a child of `os.fork`.
        StoreUnavailable: `MAX_WAITING` operations are under way.
    """
    if os.getpid() != pid:  # first: a child may have no trio (trio-asyncio takes it away)
        raise StoreClosed(f"{name} was opened before this process was forked; open another one")
    await trio.lowlevel.checkpoint_if_cancelled()
    if closed:
        raise StoreClosed(f"{name} was closed; open another one")
    if waiting >= MAX_WAITING:
        raise StoreUnavailable(f"{name} does not keep up: {MAX_WAITING} operations wait for it")


def unanswered(name: str, seconds: float) -> StoreUnavailable:
    """Return the error of an operation that was given up after so many seconds."""
    return StoreUnavailable(f"{name} has not answered for {seconds:g} s; what it was told may yet happen")
