"""One adapter for every `concurrent.futures.Executor`: pools of processes and threads, loky, what libraries offer."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import Executor as Pool
from contextlib import suppress
from typing import Any, Final

import trio

from goflow_trio.errors import ExecutorUnavailable, WorkerLost
from goflow_trio.executors.base import check_plain
from goflow_trio.executors.parcel import check_travels, pack, run_packed, unpack
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.base import Prepared
from goflow_trio.operators.toll import current_toll

CANCELLING: Final = 2.0
"""Seconds that asking a pool to cancel a call may take."""

CLOSING: Final = 10.0
"""Seconds that shutting a pool down may take."""


class Futures:
    """Run plain functions in a pool: `Task("crunch", crunch, executor=Futures(lambda: ProcessPoolExecutor(2)))`.

    A pool cannot stop what it has begun: what is cancelled or timed out before that never begins; else it goes on to
    its end, and the attempt says so (its reason is `abandoned`).

    Args:
        pool: the pool; or a function that makes one, which is then called by the first attempt, shut down by the engine
            at its end, and called again for the next attempt when the pool broke, as a `ProcessPoolExecutor` does for
            good when one of its processes dies. A pool that was given as such is its giver's to shut down.
    """

    def __init__(self, pool: Pool | Callable[[], Pool]) -> None:
        self._make = None if isinstance(pool, Pool) else pool
        self._pool = pool if isinstance(pool, Pool) else None

    def check(self, work: Prepared, task: str) -> None:
        """Refuse a coroutine function and, unless this is known to be a pool of threads, what cannot be pickled."""
        if _shares_memory(self._pool):
            check_plain(work, task)
        else:
            check_travels(work, task)

    async def run(self, work: Prepared, context: TaskContext) -> Any:
        """Submit it and wait for what comes of it."""
        pool = self._opened()
        try:
            if _shares_memory(pool):
                arguments = (context,) if work.takes_context else ()
                return await outcome_of(pool, contextvars.copy_context().run, work.call, *arguments)
            data = await outcome_of(pool, run_packed, pack(work, context))
        except WorkerLost:
            if self._make is not None and self._pool is pool:
                self._pool = None
                await _shut_down(pool)
            raise
        return unpack(data, context)

    def _opened(self) -> Pool:
        if self._pool is None:
            assert self._make is not None
            self._pool = self._make()
        return self._pool

    async def aclose(self) -> None:
        """Shut down the pool that was made here. What it still runs is not waited for."""
        if self._make is not None and self._pool is not None:
            pool, self._pool = self._pool, None
            await _shut_down(pool)

    def __repr__(self) -> str:
        return f"Futures({self._make or self._pool!r})"


def _shares_memory(pool: Pool | None) -> bool:
    """Whether a pool's workers are threads of this process; interpreters of their own are not."""
    return isinstance(pool, ThreadPoolExecutor) and type(pool).__name__ != "InterpreterPoolExecutor"


async def outcome_of(pool: Pool, call: Callable[..., Any], *arguments: Any) -> Any:
    """Submit a call and return what comes of it. When this is cancelled, the call is too, as far as the pool can.

    Raises:
        ExecutorUnavailable: the pool takes no calls, or dropped this one.
        WorkerLost: the worker died.
        BaseException: what the call raised.
    """
    try:
        future = await trio.to_thread.run_sync(pool.submit, call, *arguments)
    except BrokenExecutor as error:
        raise _lost(error) from error
    except RuntimeError as error:  # "cannot schedule new futures after shutdown"
        raise ExecutorUnavailable(f"the pool takes no work: {error}") from error
    await until_done(future)
    try:
        return future.result()
    except CancelledError as error:
        if future.cancelled():
            raise ExecutorUnavailable("the pool dropped the call before it began, as on its shutdown") from error
        raise  # the work's own
    except BrokenExecutor as error:
        raise _lost(error) from error


async def until_done(future: Future[Any]) -> None:
    """Wait for a future. When this is cancelled, cancel the future; if it has begun already, count it as going on."""
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def ring(_: object) -> None:
        with suppress(trio.RunFinishedError):  # a call that outlived the engine
            token.run_sync_soon(done.set)

    future.add_done_callback(ring)
    try:
        await done.wait()
    except trio.Cancelled:
        stopped = False
        with trio.move_on_after(CANCELLING, shield=True):
            stopped = await trio.to_thread.run_sync(_cancel, future, abandon_on_cancel=True)
        toll = current_toll.get()
        if not stopped and not future.done() and toll is not None:
            toll.elsewhere += 1
        raise


def _cancel(future: Future[Any]) -> bool:
    """Ask to cancel; some pools cannot, and say so by raising."""
    with suppress(Exception):
        return future.cancel()
    return False


def _lost(error: BrokenExecutor) -> WorkerLost:
    return WorkerLost(f"a worker of the pool died: {' '.join(str(error).split())}")


async def _shut_down(pool: Pool) -> None:
    with trio.move_on_after(CLOSING, shield=True):
        await trio.to_thread.run_sync(_shut_down_now, pool, abandon_on_cancel=True)


def _shut_down_now(pool: Pool) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
