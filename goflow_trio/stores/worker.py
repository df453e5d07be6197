"""One thread that does blocking work for a store, one call after the other, in the order they were asked for.

trio's own threads are shared with everybody and limited to 40: operators that block could starve the store. This
thread belongs to one store, so a connection that must stay on one thread can live on it. This file knows nothing
of stores or databases.

A call that is cancelled returns at once. If the thread has not begun with it, it is dropped and never happens; if it
has, it runs to its end and its outcome is thrown away. Either way the calls stay in order and no call is left half
done, so a repeated write can never be overtaken by the cancelled one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar, cast

import trio
from attrs import define
from trio.lowlevel import Abort, RaiseCancelT, Task, TrioToken

from goflow_trio.stores.admission import check_usable

T = TypeVar("T")


@define(eq=False)
class _Call:
    """One piece of work on its way to the thread and back."""

    token: TrioToken
    task: Task | None  # None: nobody waits for it (any more)
    work: Callable[[], object] | None  # None: cancelled before it began, or done
    value: object = None
    error: BaseException | None = None


@define(eq=False)
class _End:
    """The last thing in the queue."""

    token: TrioToken
    ended: trio.Event


class WorkerThread:
    """A thread that starts now and ends with `aclose`. It does not keep the process alive.

    Args:
        name: the thread's name, for debuggers.
    """

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[_Call | _End] = SimpleQueue()
        self._pid = os.getpid()
        self._ended: trio.Event | None = None
        self._last: _Call | None = None
        self._thread = threading.Thread(target=_serve, args=(self._queue,), name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._ended is not None

    # A KeyboardInterrupt between handing over the call and waiting for it would wake a task that does not wait.
    @trio.lowlevel.enable_ki_protection
    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` on the thread, after all that was asked for before.

        Args:
            work: a function without arguments; when the call is cancelled its outcome is thrown away.

        Returns:
            What `work` returned. What it raised is raised here.

        Raises:
            StoreClosed: after `aclose`, or in a child of `os.fork`, where the thread does not exist.
            StoreUnavailable: `MAX_WAITING` calls wait already.
        """
        await check_usable(self._thread.name, self._pid, closed=self.closed, waiting=self._queue.qsize())
        call = _Call(trio.lowlevel.current_trio_token(), trio.lowlevel.current_task(), work)

        def abort(_: RaiseCancelT) -> Abort:
            call.task = None
            call.work = None
            return Abort.SUCCEEDED

        self._queue.put(call)
        await trio.lowlevel.wait_task_rescheduled(abort)
        error, call.error = call.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame: break the cycle
        # The cast: a call holds the outcome of any work; this one's returned a T.
        return cast("T", call.value)

    def close_soon(self, last: Callable[[], object]) -> None:
        """Have the thread do what was asked for so far, then `last`, then end. Only the first call counts.

        Args:
            last: the clean-up that has to happen on the thread.
        """
        if self._ended is None and os.getpid() == self._pid:
            token = trio.lowlevel.current_trio_token()
            self._ended = trio.Event()
            self._last = _Call(token, None, last)
            self._queue.put(self._last)
            self._queue.put(_End(token, self._ended))

    def join(self) -> None:
        """Wait for the end without giving way: only when nothing is left to do, so that it takes microseconds."""
        self._thread.join()

    async def aclose(self, last: Callable[[], object]) -> None:
        """Do `close_soon` and wait for the end, which is the same for all calls. A cancellation ends the wait only.

        Raises:
            Exception: what `last` raised; every call raises it.
        """
        self.close_soon(last)
        if self._ended is None:  # in a child of a fork, where there is nothing to end
            return
        await self._ended.wait()
        self.join()
        if self._last is not None and self._last.error is not None:
            raise self._last.error


def _serve(queue: SimpleQueue[_Call | _End]) -> None:
    while isinstance(call := queue.get(), _Call):
        work = call.work
        if work is not None:
            try:
                call.value = work()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it is raised where the call waits
                call.error = error
            call.work = None
            with suppress(trio.RunFinishedError):  # then nobody waits any more
                call.token.run_sync_soon(_wake, call)
        # While the thread is idle it must not keep the last call's value alive.
        del call, work
    try:
        call.token.run_sync_soon(call.ended.set)
    except trio.RunFinishedError:
        call.ended.set()  # `aclose` may be called once more, in another run


def _wake(call: _Call) -> None:
    if call.task is not None:
        trio.lowlevel.reschedule(call.task)
