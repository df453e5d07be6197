"""The streams: Goflow's `/stream`, and the typed feed as SSE and WebSocket. Pushed, never polled.

All three are a position in the engine's feed. What queued since the last write goes out as one chunk, and each payload
is encoded once, whoever reads it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import trio
from msgspec import Meta, Struct
from quart import websocket

from goflow_trio.actors.engine import Engine
from goflow_trio.actors.feed import Subscription
from goflow_trio.core.messages import Event, FeedReset
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import UsageError
from goflow_trio.web import wire
from goflow_trio.web.routes import EVENT_STREAM, Headers, Routes

routes = Routes("events")

HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b":\n\n"
_SNAPSHOT = 100
_CACHED = 4096


class _Shared:
    """Encoded payloads, so that a thousand readers cost one encoding. The oldest go first."""

    def __init__(self, make: Callable[[Any], bytes]) -> None:
        self._make = make
        self._kept: OrderedDict[Any, bytes] = OrderedDict()

    def get(self, key: Any, value: Any) -> bytes:
        """Return the bytes of `value`, made once for each key."""
        data = self._kept.get(key)
        if data is None:
            data = self._kept[key] = self._make(value)
            if len(self._kept) > _CACHED:
                self._kept.popitem(last=False)
        return data


_messages = _Shared(lambda record: b"event:message\ndata:" + wire.encode(wire.execution(record)) + b"\n\n")
_frames = _Shared(lambda event: _frame(wire.event(event)))


class GoflowStream(Struct):
    """What `/stream` shows."""

    jobname: Annotated[str, Meta(description="only executions of this job")] = ""
    history: Annotated[int, Meta(ge=1, le=1000, description="begin with at most so many executions of each job")] = 100


@routes.get("/stream", content_type=EVENT_STREAM)
async def goflow_stream(engine: Engine, query: GoflowStream) -> AsyncIterator[bytes]:
    """Goflow's stream: server-sent events, an execution as `/api/executions` gives it each time it changes.

    It begins with the latest executions, oldest first.
    """
    return _goflow_chunks(engine, query.jobname or None, query.history)


class Filters(Struct):
    """Which events."""

    job: Annotated[str, Meta(description="only events of this job")] = ""
    execution: Annotated[str, Meta(description="only events of this execution")] = ""
    types: Annotated[str, Meta(description="only these types, with commas between; `task.*` is all that begin so")] = ""
    after: Annotated[str, Meta(description="the id of an event: begin with the one after it")] = ""


class EventHeaders(Headers):
    """Where a reader that comes back left off."""

    last_event_id: Annotated[str, Meta(description="as `after`, and before it: what browsers send")] = ""


@routes.get("/api/events", content_type=EVENT_STREAM)
async def events(engine: Engine, query: Filters, headers: EventHeaders) -> AsyncIterator[bytes]:
    """The typed events as server-sent events. The id of each is its position in the log."""
    return _event_chunks(engine, _subscription(query, headers.last_event_id))


@routes.websocket("/api/ws")
async def events_over_websocket(engine: Engine, query: Filters) -> None:
    """The typed events over a WebSocket."""
    subscription_of = _subscription(query)
    await websocket.accept()
    async with engine.subscribe(**subscription_of) as subscription, trio.open_nursery() as nursery:
        nursery.start_soon(_drain)
        while batch := await subscription.receive_batch():
            for event in batch:
                await websocket.send(wire.encode(await _body(engine, event)).decode())
        nursery.cancel_scope.cancel()


async def _drain() -> None:
    """Read what nobody sends: only a handler that receives is told that its peer is gone."""
    while True:
        await websocket.receive()


def _subscription(query: Filters, last_event_id: str = "") -> dict[str, Any]:
    after = last_event_id or query.after or None
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):  # noqa: PLR2004
        raise UsageError(f"after (or Last-Event-ID) must be the id of an event, a whole number; got {after[:100]!r}")
    return {
        "job": query.job or None,
        "execution": query.execution or None,
        "types": query.types.split(",") if query.types else None,
        "after": None if after is None else int(after),
    }


async def _next_batch(subscription: Subscription) -> list[Event] | None:
    """Return the next events; None when it is time for a heartbeat, and an empty list at the end."""
    with trio.move_on_after(HEARTBEAT_SECONDS):
        return await subscription.receive_batch()
    return None


async def _goflow_chunks(engine: Engine, job: str | None, history: int) -> AsyncIterator[bytes]:
    """Yield the latest executions, then each one that changes, in the form it has by then."""
    async with engine.subscribe(job=job) as subscription:
        yield _HEARTBEAT  # sends the headers, so that a browser is connected though nothing ever ran
        yield _joined(await _latest(engine, job, history))
        while (batch := await _next_batch(subscription)) != []:
            if batch is None:
                yield _HEARTBEAT
            elif any(isinstance(event, FeedReset) for event in batch):
                yield _joined(await _latest(engine, job, history))
            else:
                ids = dict.fromkeys(event.execution for event in batch if event.execution and not event.live_only)
                changed = [await engine.find(execution) for execution in ids]
                yield _joined([record for record in changed if record is not None])


async def _latest(engine: Engine, job: str | None, history: int) -> list[ExecutionRecord]:
    jobs = [job] if job is not None else list(engine.jobs)
    records = [record for name in jobs for record in await engine.newest(name, limit=history)]
    return sorted(records, key=lambda record: record.id)


def _joined(records: list[ExecutionRecord]) -> bytes:
    return b"".join(_messages.get((record.id, record.version), record) for record in records)


async def _event_chunks(engine: Engine, filters: dict[str, Any]) -> AsyncIterator[bytes]:
    """Yield typed events; the id of each is its position in the log."""
    async with engine.subscribe(**filters) as subscription:
        yield _HEARTBEAT
        while (batch := await _next_batch(subscription)) != []:
            if batch is None:
                yield _HEARTBEAT
                continue
            chunk = []
            for event in batch:
                if isinstance(event, FeedReset) or event.live_only:
                    chunk.append(_frame(await _body(engine, event)))
                else:
                    chunk.append(_frames.get(event.seq, event))
            yield b"".join(chunk)


async def _body(engine: Engine, event: Event) -> dict[str, Any]:
    if isinstance(event, FeedReset):
        return wire.reset(event, await engine.newest(limit=_SNAPSHOT))
    return wire.event(event)


def _frame(body: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (body["seq"], body["type"].encode(), wire.encode(body))
