"""Threads of their own: work that blocks for long does not take the threads of everybody else's."""

from __future__ import annotations

from typing import Any

import trio

from goflow_trio.core import limits
from goflow_trio.executors.base import check_plain
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.base import Prepared, call_operator


class Thread:
    """Run plain functions in threads, at most `limit` at once: `Task("scan", scan, executor=Thread(limit=4))`.

    A plain function runs in a thread anyway; this one counts its own. A thread cannot be stopped: what is cancelled or
    timed out goes on to its end, and keeps its place until then.

    Args:
        limit: how many run at once; others wait, and the wait counts as part of the attempt.
    """

    def __init__(self, limit: int = limits.OPERATOR_THREADS) -> None:
        self._limiter = trio.CapacityLimiter(limit)

    def check(self, work: Prepared, task: str) -> None:
        """Refuse a coroutine function."""
        check_plain(work, task)

    async def run(self, work: Prepared, context: TaskContext) -> Any:
        """Call it in a thread."""
        return await call_operator(work, context, limiter=self._limiter)

    async def aclose(self) -> None:
        """Do nothing: trio's threads end by themselves."""

    def __repr__(self) -> str:
        return f"Thread(limit={self._limiter.total_tokens:g})"
