"""How long a backend is waited for: each operation has a time-out, and what has to happen is repeated until it does.

A backend may fail, hang for ever, or do what it was asked and not say so. All of its operations may be repeated with
the same arguments, so `insist` needs to know nothing about the outcome of the last try. This file knows no keys.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import trio

from goflow_trio.actors.health import Cause, Condition
from goflow_trio.core import limits
from goflow_trio.errors import (
    GoflowError,
    StoreClosed,
    StoreError,
    StoreFenced,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
)

logger = logging.getLogger("goflow_trio.store")

T = TypeVar("T")

_FOR_GOOD = (StoreClosed, StoreFenced, StoreIncompatible)


async def timed(operation: Callable[..., Awaitable[T]], *args: object, seconds: float | None = None) -> T:
    """Await one operation of a backend, for so long at most: `limits.STORE_SECONDS`, if nothing else is said.

    Raises:
        StoreUnavailable: it did not answer. Whether it had an effect is unknown.
        StoreError: what it raised.
    """
    seconds = (limits.STORE_SECONDS if seconds is None else seconds) + _size(args) / limits.STORE_BYTES_PER_SECOND
    try:
        with trio.move_on_after(seconds):
            return await operation(*args)
    except (GoflowError, trio.Cancelled):
        raise
    except Exception as error:  # a driver's own, which its backend should have mapped
        logger.warning("the store raised what is none of its errors", exc_info=True)
        raise StoreUnavailable(f"the store failed: {type(error).__name__}: {error}") from error
    raise NoAnswer(f"the store does not answer: nothing for {seconds:.1f} s")


async def briefly(operation: Callable[..., Awaitable[T]], *args: object) -> T:
    """Repeat an operation for a moment, for somebody who waits for an answer.

    Raises:
        StoreUnavailable: it did not succeed in `limits.REFUSAL_SECONDS`.
        StoreError: what no repetition can mend.
    """
    give_up = trio.current_time() + limits.REFUSAL_SECONDS
    while True:
        try:
            return await timed(operation, *args, seconds=give_up - trio.current_time())
        except StoreUnavailable as error:
            if trio.current_time() + limits.STORE_RETRY_SECONDS >= give_up:
                raise StoreUnavailable(f"the store does not take writes now: {error}; try again later") from error
            await trio.sleep(limits.STORE_RETRY_SECONDS)


class NoAnswer(StoreUnavailable):
    """An operation was given up."""


class Patience:
    """One actor's dealings with a backend, and whether they go well.

    Each actor that writes has one of its own, so that what goes well for one does not hide what fails for another.

    Args:
        now: the wall clock, to date a failure.
        at_once: whether the backend never waits: then no time-out is set, which is a tenth of what a turn costs.

    Attributes:
        outages: how often it went wrong and then well again.
    """

    def __init__(self, now: Callable[[], datetime], *, at_once: bool = False) -> None:
        self._now = now
        self._at_once = at_once
        self._failure: Exception | None = None
        self._since: datetime | None = None
        self._begun: list[float] = []  # when operations in flight began, the oldest first
        self.outages = 0

    def cause(self) -> Cause | None:
        """Return what is wrong at this moment; None if nothing is."""
        if self._failure is not None:
            return Cause(*_kind(self._failure), str(self._failure), self._since)
        if self._begun:
            seconds = trio.current_time() - self._begun[0]
            if seconds >= limits.STALLED_SECONDS:
                detail = f"the store does not answer: nothing for {seconds:.1f} s"
                return Cause(Condition.STALLED, "store stalled", detail, self._now())
        return None

    async def once(self, operation: Callable[..., Awaitable[T]], *args: object) -> T:
        """Try once, and note how it went.

        Raises:
            StoreError: it failed; see `timed`.
        """
        if self._at_once:
            return await operation(*args)
        begun = trio.current_time()
        self._begun.append(begun)
        try:
            result = await timed(operation, *args)
        except StoreError as error:
            self._note(error)
            raise
        finally:
            self._begun.remove(begun)
        self._forget()
        return result

    async def insist(self, operation: Callable[..., Awaitable[T]], *args: object) -> T:
        """Repeat an operation until it succeeds.

        Raises:
            StoreError: what no repetition can mend: the backend is closed, or not ours any more.
        """
        wait = limits.STORE_RETRY_SECONDS
        while True:
            try:
                return await self.once(operation, *args)
            except _FOR_GOOD:
                raise
            except StoreError:
                await trio.sleep(wait)
                wait = min(wait * 2, limits.STORE_RETRY_MOST_SECONDS)

    def _note(self, error: Exception) -> None:
        if self._failure is None:
            self._since = self._now()
            if not isinstance(error, _FOR_GOOD):
                logger.warning("the store does not do its work, trying again: %s", error)
        self._failure = error

    def _forget(self) -> None:
        if self._failure is not None:
            self._failure = self._since = None
            self.outages += 1
            logger.warning("the store works again")


def _kind(error: Exception) -> tuple[Condition, str]:
    match error:
        case StoreFull():
            return Condition.DEGRADED, "store full"
        case StoreReadOnly():
            return Condition.READ_ONLY, "store read-only"
        case NoAnswer():
            return Condition.STALLED, "store stalled"
        case StoreUnavailable():
            return Condition.DEGRADED, "store unavailable"
        case _:
            return Condition.DEGRADED, "store damaged"


def _size(args: tuple[object, ...]) -> int:
    """Return how many bytes of values an operation writes."""
    size = 0
    for arg in args:
        if isinstance(arg, bytes):
            size += len(arg)
        elif isinstance(arg, dict):
            size += sum(len(value) for value in arg.values() if isinstance(value, bytes))
    return size
