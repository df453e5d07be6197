"""The streams: Goflow's `/stream`, and the typed feed as SSE and WebSocket. Pushed, never polled.

All three are one subscription of the engine's feed: a position in its log, filters, and a pace. What queued since the
last write goes out as one chunk, and each payload is encoded once, whoever reads it (`fanout`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from typing import Annotated, Any

import trio
from msgspec import Meta, Struct
from quart import websocket

from goflow_trio.actors.engine import Engine
from goflow_trio.actors.feed import NOWHERE, Subscription
from goflow_trio.core.messages import Event, FeedReset
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.web import wire
from goflow_trio.web.fanout import Fanout, Pace, fanout_of, sse
from goflow_trio.web.routes import EVENT_STREAM, Headers, Routes
from goflow_trio.web.socket import FRAMES, Frames, frame_of

routes = Routes("events")

HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b":\n\n"
_SNAPSHOT = 100
_POSITION_DIGITS = 19
_RECONNECT = b"retry: 1000\n"


class GoflowStream(Struct):
    """What `/stream` shows."""

    jobname: Annotated[str, Meta(description="only executions of this job")] = ""
    history: Annotated[int, Meta(ge=1, le=1000, description="begin with at most so many executions of each job")] = 100


@routes.get("/stream", content_type=EVENT_STREAM)
async def goflow_stream(engine: Engine, query: GoflowStream) -> AsyncIterator[bytes]:
    """Goflow's stream: server-sent events, an execution as `/api/executions` gives it each time it changes.

    It begins with the latest executions, oldest first.
    """
    pace = fanout_of(engine.store.feed).pace()
    subscription = engine.store.feed.open(job=query.jobname or None, pace=pace.wait)
    return _goflow_chunks(engine, query, pace, subscription)


class Filters(Struct):
    """Which events."""

    job: Annotated[str, Meta(description="only events of this job")] = ""
    execution: Annotated[str, Meta(description="only events of this execution")] = ""
    types: Annotated[str, Meta(description="only these types, with commas between; `task.*` is all that begin so")] = ""
    after: Annotated[str, Meta(description="the id of an event: begin with the one after it")] = ""


class SocketFilters(Filters):
    """Which events, over a WebSocket."""

    positions: Annotated[
        bool, Meta(description="also tell the position, as events of the type `position`: first, and as a heartbeat")
    ] = False


class EventHeaders(Headers):
    """Where a reader that comes back left off."""

    last_event_id: Annotated[str, Meta(description="as `after`, and before it: what browsers send")] = ""


@routes.get("/api/events", content_type=EVENT_STREAM)
async def events(engine: Engine, query: Filters, headers: EventHeaders) -> AsyncIterator[bytes]:
    """The typed events as server-sent events. The id of each is its position in the log.

    Who comes back with the last id it saw, in `Last-Event-ID` or `after`, gets exactly what it missed, also after a
    restart of the server; or one `reset` with a snapshot, where that position is not in the log (any more).
    """
    pace, subscription = _subscribe(engine, query, headers.last_event_id)
    return _event_chunks(engine, query, pace, subscription)


@routes.websocket("/api/ws")
async def events_over_websocket(engine: Engine, query: SocketFilters) -> None:
    """The typed events over a WebSocket, one a message; as `/api/events`, resumed with `after`."""
    pace, subscription = _subscribe(engine, query)
    with closing(subscription), pace.reading():
        await websocket.accept()
        try:
            await _send_events(engine, query, pace, subscription)
        except BaseExceptionGroup as group:
            if group.split(trio.Cancelled)[1] is None:
                # The reader left. Quart holds on to a group, in a circle of 130 objects that only a collection ends.
                await trio.lowlevel.checkpoint_if_cancelled()
            raise


async def _send_events(engine: Engine, query: SocketFilters, pace: Pace, subscription: Subscription) -> None:
    fanout = fanout_of(engine.store.feed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain)
        if query.positions:
            await _tell_position(engine, subscription)
        while (batch := await _next_batch(subscription)) != []:
            if batch is None:
                if query.positions:
                    await _tell_position(engine, subscription)
                continue
            messages = await _messages_of(engine, fanout, batch, query)
            with pace.writing():
                for message in messages:
                    await websocket.send(message)
        nursery.cancel_scope.cancel()


async def _messages_of(
    engine: Engine, fanout: Fanout, batch: list[Event], query: Filters
) -> Sequence[str] | Sequence[Frames]:
    """Return events as what is sent: all their frames at once, unless another server than ours is in between."""
    if FRAMES not in websocket.scope.get("extensions", {}):
        return [wire.encode(await _body(engine, event, query)).decode() for event in batch]
    if any(isinstance(event, FeedReset) for event in batch):
        return [Frames(frame_of(wire.encode(await _body(engine, event, query)))) for event in batch]
    return [Frames(fanout.frames.many(batch))]


async def _tell_position(engine: Engine, subscription: Subscription) -> None:
    """Say from where a reader may go on, though it saw no event yet or its filters let few through."""
    if subscription.position >= 0:
        body = {"seq": subscription.position, "at": wire.timestamp(engine.now()), "type": "position"}
        await websocket.send(wire.encode(body).decode())


async def _drain() -> None:
    """Read what nobody sends: only a handler that receives is told that its peer is gone."""
    while True:
        await websocket.receive()


def _subscribe(engine: Engine, query: Filters, last_event_id: str = "") -> tuple[Pace, Subscription]:
    """Open a subscription. An id that is none is a position in no log, and so is answered with a reset.

    Raises:
        TooManySubscribers: there are as many as there may be.
        UsageError: there is no such type of events.
    """
    text = last_event_id or query.after
    is_position = text.isascii() and text.isdigit() and len(text) < _POSITION_DIGITS
    pace = fanout_of(engine.store.feed).pace()
    subscription = engine.store.feed.open(
        job=query.job or None,
        execution=query.execution or None,
        types=query.types.split(",") if query.types else None,
        after=None if not text else int(text) if is_position else NOWHERE,
        pace=pace.wait,
    )
    return pace, subscription


async def _next_batch(subscription: Subscription) -> list[Event] | None:
    """Return the next events; None when it is time for a heartbeat, and an empty list at the end."""
    with trio.move_on_after(HEARTBEAT_SECONDS):
        return await subscription.receive_batch()
    return None


async def _event_chunks(engine: Engine, query: Filters, pace: Pace, subscription: Subscription) -> AsyncIterator[bytes]:
    """Yield typed events; the id of each is its position in the log."""
    fanout = fanout_of(engine.store.feed)
    with closing(subscription), pace.reading():
        yield _comment(subscription, _RECONNECT)
        while (batch := await _next_batch(subscription)) != []:
            if batch is None:
                chunk = _comment(subscription)
            elif any(isinstance(event, FeedReset) for event in batch):
                chunk = b"".join([sse(event, await _body(engine, event, query)) for event in batch])
            else:
                chunk = fanout.events.many(batch)
            with pace.writing():
                yield chunk


def _comment(subscription: Subscription, further: bytes = b"") -> bytes:
    """Return a frame without an event: it keeps the connection alive and says from where its reader may go on.

    So a reader that saw no event yet, or whose filters let few through, misses nothing when it comes back.
    """
    position = subscription.position
    return b":\n" + (b"id: %d\n" % position if position >= 0 else b"") + further + b"\n"


async def _body(engine: Engine, event: Event, query: Filters) -> Mapping[str, Any]:
    if not isinstance(event, FeedReset):
        return wire.event(event)
    if query.execution:
        record = await engine.find(query.execution)
        snapshot = [] if record is None else [record]
    else:
        snapshot = await engine.newest(query.job or None, limit=_SNAPSHOT)
    return wire.reset(event, snapshot)


async def _goflow_chunks(
    engine: Engine, query: GoflowStream, pace: Pace, subscription: Subscription
) -> AsyncIterator[bytes]:
    """Yield the latest executions, then each one that changes, in the form it has by then."""
    fanout = fanout_of(engine.store.feed)
    with closing(subscription), pace.reading():
        yield _HEARTBEAT  # sends the headers, so that a browser is connected though nothing ever ran
        chunk = _messages(fanout, await _latest(engine, query))
        while True:
            with pace.writing():
                yield chunk
            batch = await _next_batch(subscription)
            if batch == []:
                return
            if batch is None:
                chunk = _HEARTBEAT
            elif any(isinstance(event, FeedReset) for event in batch):
                chunk = _messages(fanout, await _latest(engine, query))
            else:
                ids = dict.fromkeys(event.execution for event in batch if event.execution and not event.live_only)
                changed = [await engine.find(execution) for execution in ids]
                chunk = _messages(fanout, [record for record in changed if record is not None])


async def _latest(engine: Engine, query: GoflowStream) -> list[ExecutionRecord]:
    jobs = [query.jobname] if query.jobname else list(engine.jobs)
    records = [record for name in jobs for record in await engine.newest(name, limit=query.history)]
    return sorted(records, key=lambda record: record.id)


def _messages(fanout: Fanout, records: list[ExecutionRecord]) -> bytes:
    return b"".join([fanout.message(record) for record in records])
