"""A store's own threads: several blocking calls at once, each bounded in time. It knows no driver.

`worker.WorkerThread` is for a driver that has to stay on one thread; this is for drivers that are safe from any. The
threads are trio's, the limiter is the store's own, so operators that block cannot starve it.

A call that is cancelled, or takes too long, returns at once while its thread goes on to an end that nobody waits for.
A write that was left behind so must not land on top of a newer one: a write waits for those left behind that touch
one of its keys.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import trio
from attrs import define, field

from goflow_trio.errors import StoreClosed, StoreError, StoreUnavailable
from goflow_trio.stores.admission import MAX_WAITING, check_usable, unanswered
from goflow_trio.stores.driver import DriverErrors

T = TypeVar("T")


@define(eq=False)
class _Call:
    """One call and its thread. Whichever of `begun` and `left` is set first decides whether the work is done."""

    writes: frozenset[str]
    give_up: Callable[[], object]
    begun: bool = False
    left: bool = False
    lock: threading.Lock = field(factory=threading.Lock)
    ended: trio.Event = field(factory=trio.Event)


class StoreThreads:
    """The threads of one store.

    Args:
        name: what the store is called in messages; without a password.
        errors: what its driver raises, and what becomes of it.
        most: how many threads at most.
        timeout: how long a call may take, waiting for a thread included, in seconds.
    """

    def __init__(self, name: str, errors: DriverErrors[Any], *, most: int, timeout: float) -> None:
        self.name = name
        self._errors = errors
        self._limiter = trio.CapacityLimiter(most)
        # Ours is awaited by ourselves, so that we know whether a thread was begun with.
        self._no_limit = trio.CapacityLimiter(float("inf"))
        self._timeout = timeout
        self._calls: set[_Call] = set()
        self._pid = os.getpid()
        self._closing = False

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closing

    async def run(
        self, work: Callable[[], T], *, writes: Collection[str] = (), give_up: Callable[[], object] = lambda: None
    ) -> T:
        """Do `work` in a thread.

        Args:
            work: what blocks; the driver's own time-outs bound how long it holds the thread.
            writes: the keys that it changes.
            give_up: called on the loop when it takes too long, to break the connection that `work` waits for.

        Returns:
            What `work` returned. What it raised is raised here; as ours, if it is its driver's.

        Raises:
            StoreClosed: after `aclose`, or in a child of `os.fork`.
            StoreUnavailable: it takes too long, or `MAX_WAITING` calls are under way.
        """
        await check_usable(self.name, self._pid, closed=self._closing, waiting=len(self._calls))
        call = _Call(frozenset(writes), give_up)
        with trio.move_on_after(self._timeout):
            for other in [other for other in self._calls if other.left and other.writes & call.writes]:
                await other.ended.wait()
            return await self._in_thread(call, work)
        give_up()
        raise unanswered(self.name, self._timeout)

    async def run_all(
        self, works: Sequence[tuple[Collection[str], Callable[[], T]]], *, at_once: int = MAX_WAITING
    ) -> list[T]:
        """Do several pieces of work side by side; return what they returned, in their order.

        Args:
            works: of each, the keys that it writes, and what to do; see `run`. Without any, the store must be open too.
            at_once: begin with so many, with the next ones when these have ended, so that each has its time.

        Raises:
            StoreError: of those that failed, the first one's error, once all that were begun have ended.
        """
        if not works:
            await self.run(lambda: None)
        results: list[T] = []
        for start in range(0, len(works), at_once):
            results += await self._side_by_side(works[start : start + at_once])
        return results

    async def _side_by_side(self, works: Sequence[tuple[Collection[str], Callable[[], T]]]) -> list[T]:
        results: dict[int, T] = {}
        errors: dict[int, StoreError] = {}

        async def one(number: int, writes: Collection[str], work: Callable[[], T]) -> None:
            try:
                results[number] = await self.run(work, writes=writes)
            except StoreError as error:
                errors[number] = error

        async with trio.open_nursery() as nursery:
            for number, (writes, work) in enumerate(works):
                nursery.start_soon(one, number, writes, work)
        if errors:
            raise errors[min(errors)]
        return [results[number] for number in range(len(works))]

    async def _in_thread(self, call: _Call, work: Callable[[], T]) -> T:
        token = trio.lowlevel.current_trio_token()

        def in_thread() -> T:
            try:
                with call.lock:
                    if call.left:
                        raise StoreClosed("nobody waits for this any more")  # and so nobody sees it
                    call.begun = True
                return self._errors.mapped(self.name, work)
            finally:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(self._end, call)

        self._calls.add(call)
        try:
            await self._limiter.acquire_on_behalf_of(call)
            try:
                return await trio.to_thread.run_sync(in_thread, abandon_on_cancel=True, limiter=self._no_limit)
            except RuntimeError as error:
                # No thread can be started: the machine, or this process, has none left.
                if call.begun or "thread" not in str(error):
                    raise
                raise StoreUnavailable(f"{self.name}: {error}") from error
        finally:
            with call.lock:
                call.left = True
            if not call.begun:
                self._end(call)

    def _end(self, call: _Call) -> None:
        if call in self._calls:
            self._calls.remove(call)
            call.ended.set()
            with suppress(RuntimeError):  # it never got as far as a thread
                self._limiter.release_on_behalf_of(call)

    async def aclose(self, last: Callable[[], object]) -> None:
        """Take no more calls, let those under way come to their end, then do `last`.

        A cancellation ends the wait only.

        Args:
            last: releases everything and does not block; called by each `aclose`.
        """
        self._closing = True
        if os.getpid() != self._pid:
            return
        try:
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(self._timeout):
                for call in list(self._calls):
                    await call.ended.wait()
        finally:
            for call in self._calls:
                call.give_up()
            last()
