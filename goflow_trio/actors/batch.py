"""Submits many at once: they wait for their commits together, so that many cost little more than one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import trio
from attrs import frozen

from goflow_trio.errors import GoflowError

T = TypeVar("T")


@frozen
class Submission:
    """One execution to be; see `Engine.submit`.

    Args:
        job: the job's name.
        params: override the job's defaults.
        idempotency_key: submits of one job with equal keys are one execution.
        at: when it is to start; at once without.
        by: who submits it; kept in the record.
    """

    job: str
    params: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    at: datetime | None = None
    by: str = ""


async def submit_all(submit: Callable[[Submission], Awaitable[T]], submissions: Sequence[Submission]) -> list[T]:
    """Submit all of them, and return what `submit` returned, in order.

    Raises:
        GoflowError: the first one's that failed, once all others came to their end.
    """
    done: dict[int, T] = {}
    failures: dict[int, GoflowError] = {}

    async def one(place: int, submission: Submission) -> None:
        try:
            done[place] = await submit(submission)
        except GoflowError as error:
            failures[place] = error

    async with trio.open_nursery() as nursery:
        for place, submission in enumerate(submissions):
            nursery.start_soon(one, place, submission)
    if failures:
        raise failures[min(failures)]
    return [done[place] for place in range(len(submissions))]
