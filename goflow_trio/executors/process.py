"""Processes of this machine that can be killed: for Python that computes, and for code that may crash or never end."""

from __future__ import annotations

import math
import os
import threading
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from goflow_trio.errors import WorkerLost
from goflow_trio.executors.base import check_extra
from goflow_trio.executors.parcel import check_travels, pack, run_packed, unpack
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.base import Prepared
from goflow_trio.operators.toll import current_toll

if TYPE_CHECKING:
    from trio_parallel import WorkerContext

GRACE: Final = 5.0
"""Seconds that idle workers get to leave at the end, before they are killed."""


class Process:
    """Run plain functions in processes, at most `limit` at once: `Task("crunch", crunch, executor=Process())`.

    Cancel and time-out kill the process, in the middle of whatever it does. Processes are started when there is work,
    used again, and end with the engine, also when that is killed. What a process starts by itself is not ended with
    it: that is what `Command` is for. Needs the extra `process`.

    Args:
        limit: how many run at once, as many as there are processors by default; others wait, and the wait counts as
            part of the attempt.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limiter = trio.CapacityLimiter(limit or os.cpu_count() or 1)
        self._workers: WorkerContext | None = None
        self._open = AsyncExitStack()

    def check(self, work: Prepared, task: str) -> None:
        """Refuse a coroutine function, and what cannot be sent to another process."""
        check_extra("trio_parallel", "process", task)
        check_travels(work, task)

    async def run(self, work: Prepared, context: TaskContext) -> Any:
        """Call it in a process."""
        from trio_parallel import BrokenWorkerError  # noqa: PLC0415  # an extra

        async with self._limiter:
            workers = await self._opened()
            data = pack(work, context)
            try:
                answer = await workers.run_sync(
                    run_packed, data, kill_on_cancel=True, limiter=trio.CapacityLimiter(math.inf)
                )
            except trio.Cancelled:
                toll = current_toll.get()
                if toll is not None:
                    toll.processes += 1
                    toll.killed += 1
                raise
            except BrokenWorkerError as error:
                raise WorkerLost(f"the worker process died before the work was done{_how(error)}") from None
            finally:
                _let_go_of_the_dead()
        return unpack(answer, context)

    async def _opened(self) -> WorkerContext:
        if self._workers is None:
            from trio_parallel import open_worker_context  # noqa: PLC0415  # an extra

            self._workers = await self._open.enter_async_context(
                open_worker_context(init=_end_with_parent, grace_period=GRACE)
            )
        return self._workers

    async def aclose(self) -> None:
        """End the idle processes."""
        if self._workers is not None:
            from trio_parallel import BrokenWorkerError  # noqa: PLC0415  # an extra

            self._workers = None
            with suppress(BrokenWorkerError):  # it did not leave by itself, and was killed
                await self._open.aclose()

    def __repr__(self) -> str:
        return f"Process(limit={self._limiter.total_tokens:g})"


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone, also in the middle of a call: nobody waits for it."""
    from multiprocessing import parent_process  # noqa: PLC0415  # there it is loaded, here nobody needs it

    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent.sentinel,), name="goflow-trio, parent", daemon=True).start()


def _outlive(parent: int) -> None:
    from multiprocessing.connection import wait  # noqa: PLC0415

    wait([parent])
    os._exit(1)


def _let_go_of_the_dead() -> None:
    """Close the pipes of processes that died and were not joined: `multiprocessing` keeps them to the next start."""
    from multiprocessing import active_children  # noqa: PLC0415  # loaded by now, only where there is such an executor

    active_children()


def _how(error: BaseException) -> str:
    """Say how the process ended, if that is known: the error carries it."""
    process = next((one for one in error.args if hasattr(one, "exitcode")), None)
    code = getattr(process, "exitcode", None)
    if code is None:
        return ""
    return f", by signal {-code}" if code < 0 else f", with exit code {code}"
