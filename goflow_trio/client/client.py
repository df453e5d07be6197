"""The client: one method for each thing the API does."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import httpx2
import trio
from attrs import frozen

from goflow_trio.client.asking import Asking, Missing, Unreachable
from goflow_trio.client.events import Events, Place, make_query, open_events
from goflow_trio.client.records import (
    Answer,
    Approval,
    Backfill,
    Draining,
    Execution,
    ExecutionDetails,
    Health,
    Job,
    Limit,
    Log,
    LogHits,
    Ready,
    Receipt,
    Schedule,
    Session,
    Stats,
    Submitted,
    Wait,
    Waits,
)
from goflow_trio.core.states import FINAL
from goflow_trio.errors import UsageError

_TIMEOUT_SECONDS = 30.0
_PAGE = 200
_LOOK_AGAIN_SECONDS = 1.0
_LOG_BYTES = 256 * 1024


class _Names(Answer, frozen=True):
    jobs: list[str]


class _Page(Answer, frozen=True):
    executions: list[Execution]
    next: str | None = None


class _Instants(Answer, frozen=True):
    next: list[datetime]


class _Toggled(Answer, frozen=True):
    active: bool


class _Backfills(Answer, frozen=True):
    backfills: list[Backfill]


class _Limits(Answer, frozen=True):
    limits: list[Limit]


class _Batch(Answer, frozen=True):
    executions: list[Submitted]


@frozen
class Submission:
    """One submit of a batch.

    Args:
        job: the job's name.
        params: override the job's defaults.
        idempotency_key: submits of one job with equal keys are one execution.
        at: when it is to start (aware); at once without.
    """

    job: str
    params: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    at: datetime | None = None


class Client:
    """A running server. Open one with `open_client`.

    Every method may raise a `ClientError`: `Unreachable`, `Unavailable` (later, perhaps), or `Refused`, of which
    `Missing`, `Unauthorized` and `Forbidden` are kinds.
    """

    def __init__(
        self, asking: Asking, headers: Mapping[str, str], tls: ssl.SSLContext | None, nursery: trio.Nursery
    ) -> None:
        self._asking = asking
        self._tls = tls
        self._headers = headers
        self._nursery = nursery

    # The server ------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """Return whether the server is well."""
        return await self._asking.ask(Health, "GET", "/api/health")

    async def ready(self) -> Ready:
        """Return whether the server takes work at the moment. That it does not is an answer here, and no error."""
        return await self._asking.ask(Ready, "GET", "/api/ready", also=503)

    async def limits(self) -> list[Limit]:
        """Return what bounds the tasks and executions that run at once, and how each limit stands."""
        return (await self._asking.ask(_Limits, "GET", "/api/limits")).limits

    async def metrics(self) -> str:
        """Return the server's figures, in the text format of Prometheus."""
        return (await self._asking.bytes("GET", "/metrics")).decode()

    async def drain(self, *, draining: bool = True) -> Draining:
        """Have the server take on nothing new and finish what it has begun, for a restart; or take that back."""
        return await self._asking.ask(Draining, "POST", "/api/drain", json={"draining": draining})

    async def session(self) -> Session:
        """Return who the server takes you for."""
        return await self._asking.ask(Session, "GET", "/api/session")

    # Jobs ------------------------------------------------------------------------------------------

    async def jobs(self) -> list[str]:
        """Return the names of the jobs."""
        return (await self._asking.ask(_Names, "GET", "/api/jobs")).jobs

    async def job(self, name: str) -> Job:
        """Return a job."""
        return await self._asking.ask(Job, "GET", _job(name), f"job {name!r}")

    async def next(self, job: str, n: int = 10) -> list[datetime]:
        """Return the next `n` instants of a job's schedule, whether or not it is switched on."""
        found = await self._asking.ask(_Instants, "GET", f"{_job(job)}/next", f"job {job!r}", params={"n": n})
        return found.next

    async def stats(self, job: str, limit: int = 100) -> Stats:
        """Return counts, durations and success rate of a job's latest executions."""
        return await self._asking.ask(Stats, "GET", f"{_job(job)}/stats", f"job {job!r}", params={"limit": limit})

    async def toggle(self, job: str) -> bool:
        """Switch a job's schedule on or off; return whether it is on now."""
        return (await self._asking.ask(_Toggled, "POST", f"{_job(job)}/toggle", f"job {job!r}")).active

    async def pause(self, job: str, until: datetime | None = None) -> Schedule:
        """Switch a job's schedule off, until an instant (aware) or for good."""
        body = {} if until is None else {"until": until.isoformat()}
        return await self._asking.ask(Schedule, "POST", f"{_job(job)}/pause", f"job {job!r}", json=body)

    async def resume(self, job: str, *, catch_up: bool = False) -> Schedule:
        """Switch a job's schedule on; with `catch_up`, what passed meanwhile counts as missed."""
        body = {"catchUp": catch_up}
        return await self._asking.ask(Schedule, "POST", f"{_job(job)}/resume", f"job {job!r}", json=body)

    async def pause_schedules(self, jobs: Collection[str] | None = None, until: datetime | None = None) -> list[str]:
        """Switch the schedules of these jobs off, or all; return the jobs whose schedules were on."""
        body = {"jobs": None if jobs is None else list(jobs), "until": _text(until)}
        return (await self._asking.ask(_Names, "POST", "/api/schedules/pause", json=body)).jobs

    async def resume_schedules(self, jobs: Collection[str] | None = None) -> list[str]:
        """Switch the schedules of these jobs on, or all; return the jobs whose schedules were off."""
        body = {"jobs": None if jobs is None else list(jobs)}
        return (await self._asking.ask(_Names, "POST", "/api/schedules/resume", json=body)).jobs

    async def backfill(self, job: str, since: datetime, until: datetime, *, limit: int | None = None) -> Backfill:
        """Run a job for past instants of its schedule, each at most once. It goes on by itself.

        Args:
            job: the job's name.
            since: the first moment that counts (aware).
            until: the first moment that does not any more (aware).
            limit: so many executions at once; one after the other by default.
        """
        body = {"since": since.isoformat(), "until": until.isoformat(), "limit": limit}
        return await self._asking.ask(Backfill, "POST", f"{_job(job)}/backfill", f"job {job!r}", json=body)

    async def backfills(self, job: str) -> list[Backfill]:
        """Return the backfills of a job that go on or ended lately."""
        return (await self._asking.ask(_Backfills, "GET", f"{_job(job)}/backfills", f"job {job!r}")).backfills

    async def cancel_backfill(self, backfill: str) -> Backfill:
        """End a backfill and what of it is running; returns when nothing of it is left."""
        path, what = f"/api/backfills/{quote(backfill, safe='')}/cancel", f"backfill {backfill!r}"
        return await self._asking.ask(Backfill, "POST", path, what, timeout=None)

    async def follow_backfill(self, begun: Backfill) -> AsyncIterator[Backfill]:
        """Iterate over how far a backfill is, whenever that changes, until it is over."""
        async with self.events(job=begun.job, types=["execution.finished", "backfill.finished"]) as events:
            latest: Backfill | None = None
            while latest is None or latest.state == "running":
                found = [one for one in await self.backfills(begun.job) if one.id == begun.id]
                if not found:
                    raise Missing(f"the server does not know backfill {begun.id!r} of job {begun.job!r} any more")
                if found[0] != latest:
                    latest = found[0]
                    yield latest
                if latest.state == "running":
                    with trio.move_on_after(_LOOK_AGAIN_SECONDS):  # the last execution counts a moment after its end
                        await anext(events)

    # Executions ------------------------------------------------------------------------------------

    async def submit(
        self,
        job: str,
        params: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        at: datetime | None = None,
    ) -> Submitted:
        """Run a job. Returns once the execution is durable.

        Args:
            job: the job's name.
            params: override the job's defaults.
            idempotency_key: submits of one job with equal keys are one execution, so this one may be repeated after an
                error.
            at: when it is to start (aware); at once without.
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        body = {"params": dict(params or {}), "at": _text(at)}
        what = f"job {job!r}"
        return await self._asking.ask(Submitted, "POST", f"{_job(job)}/submit", what, json=body, headers=headers)

    async def submit_many(self, submissions: Sequence[Submission]) -> list[Submitted]:
        """Run many jobs at the price of few commits; none is run if one of them cannot be."""
        body = [
            {
                "job": one.job,
                "params": dict(one.params or {}),
                "idempotencyKey": one.idempotency_key,
                "at": _text(one.at),
            }
            for one in submissions
        ]
        return (await self._asking.ask(_Batch, "POST", "/api/executions", json=body)).executions

    async def run(
        self, job: str, params: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> ExecutionDetails:
        """Submit a job and wait for its end; see `submit`. Leaving early does not cancel it."""
        return await self.wait((await self.submit(job, params, idempotency_key=idempotency_key)).id)

    async def wait(self, execution: str) -> ExecutionDetails:
        """Wait until an execution is over; return all that is known of it."""
        async with self.events(execution=execution, types=["execution.finished"]) as events:
            record = await self.execution(execution)
            while record.state not in FINAL:
                await anext(events)
                record = await self.execution(execution)
        return record

    async def executions(
        self,
        job: str | None = None,
        *,
        state: str | None = None,
        limit: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[Execution]:
        """Iterate over executions, the newest first, asking for one page after the other.

        Args:
            job: only those of this job.
            state: only those in this state.
            limit: at most so many; all of them by default.
            since: only those submitted at this instant (aware) or later.
            until: only those submitted before this instant (aware).
        """
        query: dict[str, Any] = {"jobname": job or "", "state": state or ""}
        query |= {name: _text(at) for name, at in (("since", since), ("until", until)) if at is not None}
        left = limit
        while left is None or left > 0:
            query["limit"] = _PAGE if left is None else min(_PAGE, left)
            page = await self._asking.ask(_Page, "GET", "/api/executions", params=query)
            for execution in page.executions:
                yield execution
            if page.next is None:
                return
            query["cursor"] = page.next
            left = None if left is None else left - len(page.executions)

    async def execution(self, execution: str) -> ExecutionDetails:
        """Return an execution, with its tasks, attempts, results and errors."""
        return await self._asking.ask(ExecutionDetails, "GET", _execution(execution), f"execution {execution!r}")

    async def cancel(
        self, execution: str, *, task: str | None = None, force: bool = False, reason: str = ""
    ) -> Receipt:
        """End an execution; returns when nothing of it is left running.

        Args:
            execution: its id.
            task: end this task only, or keep it from starting.
            force: end clean-up tasks too.
            reason: kept in the record.
        """
        body = {"task": task, "force": force, "reason": reason}
        path, what = f"{_execution(execution)}/cancel", f"execution {execution!r}"
        return await self._asking.ask(Receipt, "POST", path, what, json=body, timeout=None)

    async def waiting(self, execution: str) -> list[Wait]:
        """Return, for each task that has not ended and does not run, what it waits for and who is in the way."""
        path, what = f"{_execution(execution)}/waiting", f"execution {execution!r}"
        return (await self._asking.ask(Waits, "GET", path, what)).waiting

    async def retry(
        self,
        execution: str,
        *,
        start: Literal["failed", "start"] = "failed",
        task: str | None = None,
        downstream: bool = True,
        reason: str = "",
    ) -> Execution:
        """Run an execution that is over once more; what does not run again keeps its result.

        Args:
            execution: its id.
            start: `failed` runs what failed and what comes after it, `start` everything.
            task: this task instead, however it ended.
            downstream: with `task`: whether what comes after it runs again too.
            reason: kept in the record.
        """
        body = {"from": start, "task": task, "downstream": downstream, "reason": reason}
        what = f"execution {execution!r}"
        return await self._asking.ask(Execution, "POST", f"{_execution(execution)}/retry", what, json=body)

    async def approve(self, execution: str, task: str, *, approved: bool = True, comment: str = "") -> Approval:
        """Answer what an `Approve` task asks."""
        body = {"approved": approved, "comment": comment}
        path = f"{_task(execution, task)}/approve"
        return await self._asking.ask(Approval, "POST", path, f"task {task!r} of {execution!r}", json=body)

    async def log(
        self,
        execution: str,
        task: str,
        *,
        attempt: int | None = None,
        offset: int = 0,
        limit: int | None = None,
        tail: int | None = None,
    ) -> Log:
        """Return a part of what an attempt printed.

        Args:
            execution: its id.
            task: the task's name.
            attempt: which attempt; the last by default.
            offset: where to begin, in bytes that were printed.
            limit: at most so many bytes.
            tail: instead of `offset`: the last so many bytes.
        """
        query = {"attempt": attempt, "offset": offset or None, "limit": limit, "tail": tail}
        given = {name: value for name, value in query.items() if value is not None}
        what = f"task {task!r} of execution {execution!r}"
        return await self._asking.ask(Log, "GET", f"{_task(execution, task)}/log", what, params=given)

    async def search_log(
        self, execution: str, task: str, text: str, *, attempt: int | None = None, limit: int = 100
    ) -> LogHits:
        """Return the lines of what an attempt printed that contain a text.

        Args:
            execution: its id.
            task: the task's name.
            text: what to look for; A to Z also match a to z.
            attempt: which attempt; the last by default.
            limit: at most so many lines; `total` counts all.
        """
        given: dict[str, str | int] = {"search": text, "limit": limit}
        if attempt is not None:
            given["attempt"] = attempt
        what = f"task {task!r} of execution {execution!r}"
        return await self._asking.ask(LogHits, "GET", f"{_task(execution, task)}/log/search", what, params=given)

    async def follow_log(self, execution: str, task: str, *, attempt: int | None = None) -> AsyncIterator[Log]:
        """Iterate over what an attempt prints, from its first byte until it is over."""
        offset = 0
        async with self.events(execution=execution) as events:
            while True:
                try:
                    part = await self.log(execution, task, attempt=attempt, offset=offset, limit=_LOG_BYTES)
                except Missing:
                    record = await self.execution(execution)
                    if record.state in FINAL or task not in {known.name for known in record.tasks}:
                        raise
                    await anext(events)  # it has not begun
                    continue
                if part.text:
                    yield part
                if part.finished and part.next_offset >= part.total:
                    return
                if part.next_offset == offset:
                    with trio.move_on_after(1):
                        await anext(events)
                offset = part.next_offset

    # Events ----------------------------------------------------------------------------------------

    def events(
        self,
        after: int | None = None,
        *,
        job: str | None = None,
        execution: str | None = None,
        types: str | Collection[str] | None = None,
    ) -> Events:
        """Follow what happens: `async for event in client.events()`. It reconnects by itself, each event comes once.

        Args:
            after: a position in the server's log: begin with the event after it. None: begin with what happens now.
            job: only events of this job.
            execution: only events of this execution.
            types: only events of these types; `task.*` stands for all that begin so.
        """
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        url = "ws" + self._asking.url.removeprefix("http") + "/api/ws"
        return open_events(self._nursery, Place(url, headers, self._tls), make_query(job, execution, types), after)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _job(name: str) -> str:
    return f"/api/jobs/{quote(name, safe='')}"


def _execution(execution: str) -> str:
    return f"/api/executions/{quote(execution, safe='')}"


def _task(execution: str, task: str) -> str:
    return f"{_execution(execution)}/tasks/{quote(task, safe='')}"


@asynccontextmanager
async def open_client(
    url: str = "http://127.0.0.1:8181",
    token: str | None = None,
    *,
    verify: ssl.SSLContext | None = None,
    timeout: float = _TIMEOUT_SECONDS,  # noqa: ASYNC109  # of each request, as httpx2 has it
) -> AsyncIterator[Client]:
    """Open a client for the length of a block.

    Args:
        url: the server's, with the path it is reached under if it has one.
        token: what it asks for, if it asks for one.
        verify: how its certificate is checked, such as by a context that trusts an authority of your own.
        timeout: seconds a request may take.

    Raises:
        UsageError: the URL or the token cannot be one.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"the server's URL must begin with http:// or https://, got {url!r}")
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise UsageError("the token has characters that no token has")
    headers = {} if token is None else {"Authorization": f"Bearer {token.strip()}"}
    base = url.rstrip("/")
    try:
        http = httpx2.AsyncClient(base_url=base, headers=headers, verify=verify or True, timeout=timeout)
    except httpx2.InvalidURL as error:
        raise Unreachable(f"{url!r} is no URL of a server: {error}") from None
    failure: BaseException | None = None
    async with http, trio.open_nursery() as nursery:
        try:
            yield Client(Asking(http, base), headers, verify, nursery)
        except BaseException as error:  # noqa: BLE001, ASYNC103  # raised again below, bare: a nursery would wrap it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
