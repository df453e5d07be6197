"""The event feed of a server, each event once: over a WebSocket that is opened again whenever it breaks.

A task of the client reads it and fills a small queue. It knows its position in the server's log, also before the first
event and when its filters let none through, because the server tells it; so it goes on where it was, and what was sent
twice is dropped. Where the log no longer reaches back that far, there comes one event of the type `reset`, with the
latest executions to go on from.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import h11
import msgspec
import trio
from attrs import field, frozen
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from goflow_trio.client.asking import ClientError, Unavailable, Unreachable, error_of
from goflow_trio.client.records import Execution

_LIVE_ONLY = {"task.output", "task.progress"}
_SWITCHES = b"HTTP/1.1 101 "
_QUEUE = 100
_MESSAGE_BYTES = 16 * 1024 * 1024
_SILENCE_SECONDS = 40.0
_CONNECT_SECONDS = 10.0
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
_FIELDS = {"seq", "at", "type", "execution", "job", "task", "attempt", "executions"}


@frozen
class Event:
    """An event of the feed.

    Args:
        seq: its position in the server's log; output and progress have that of the event they came after.
        at: when it happened.
        type: such as `task.succeeded`; `reset` if events are missing before it.
        job: the job's name; empty if it is about none.
        execution: the execution's id, if it is about one.
        task: the task's name, if it is about one.
        attempt: the attempt's number, if it is about one.
        details: the fields that only its type has, such as `text` of `task.output`.
        executions: of a `reset`: the latest executions.
    """

    seq: int
    at: datetime
    type: str
    job: str = ""
    execution: str = ""
    task: str = ""
    attempt: int = 0
    details: dict[str, Any] = field(factory=dict)
    executions: tuple[Execution, ...] = ()


def decode(text: str | bytes) -> Event:
    """Return an event as the server sent it.

    Raises:
        ValueError: it is none.
    """
    body = msgspec.json.decode(text, type=dict[str, Any])
    known = {name: body[name] for name in _FIELDS & set(body) - {"at", "executions"}}
    executions = msgspec.convert(body.get("executions", []), list[Execution])
    details = {name: value for name, value in body.items() if name not in _FIELDS}
    at = msgspec.convert(body.get("at"), datetime)
    return Event(**known, at=at, details=details, executions=tuple(executions))


class Events:
    """The events from one position on: `async for event in events`.

    Entered with `async with`, it is subscribed when the block begins, and ends with it. Otherwise it begins by itself a
    moment later, and ends when nobody holds it any more; with the client at the latest.

    Attributes:
        position: of the last event handed out; what `after` takes to go on behind it. None before the first.
    """

    def __init__(self, reader: Reader, receive: trio.MemoryReceiveChannel[Event]) -> None:
        self.position: int | None = None
        self._reader = reader
        self._receive = receive

    async def __aenter__(self) -> Self:
        """Wait until it is subscribed.

        Raises:
            ClientError: the server cannot be reached, or refuses.
        """
        await self._reader.connected.wait()
        if self._reader.failure is not None:
            raise self._reader.failure
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End it."""
        self._reader.scope.cancel()
        self._receive.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            event = await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            if self._reader.failure is not None:
                raise self._reader.failure from None
            raise StopAsyncIteration from None
        self.position = event.seq
        return event

    def __del__(self) -> None:
        """Let the task that reads for nobody end: it does not hold this object."""
        with suppress(RuntimeError):  # trio is over
            self._receive.close()


class _Unheard(Exception):
    """Nobody listens any more."""


@frozen
class Place:
    """Where the feed is.

    Args:
        url: the server's URL for WebSockets, with the path.
        headers: sent along, for the token.
        tls: how its certificate is checked.
    """

    url: str
    headers: list[tuple[bytes, bytes]]
    tls: ssl.SSLContext | None


class _Stream(trio.abc.Stream):
    """A connection that says so when its peer leaves before it has answered: trio-websocket would wait for ever."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._head: bytes | None = b""  # of the answer, as far as it came; None once it is a WebSocket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            data = b""
        if self._head is not None:
            if not data:
                raise ConnectionResetError("the connection was closed before there was an answer")
            self._head += data
            if self._head.startswith(_SWITCHES) and b"\r\n\r\n" in self._head:
                self._head = None
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Reader:
    """The task that reads, and connects again.

    Args:
        place: where.
        query: the filters.
        after: the position; None begins with what happens from now on.
        send: where the events go.

    Attributes:
        connected: set once it is subscribed, or has failed.
        failure: why it ended, if not because it was told to.
        scope: cancel it to end.
    """

    def __init__(
        self, place: Place, query: dict[str, str], after: int | None, send: trio.MemorySendChannel[Event]
    ) -> None:
        self.connected = trio.Event()
        self.failure: ClientError | None = None
        self.scope = trio.CancelScope()
        self._place = place
        self._query = query
        self._seen = after
        self._send = send

    async def run(self) -> None:
        """Read until nobody listens; connect again when the connection breaks, waiting longer if that was at once."""
        with self.scope, self._send:
            delay = _FIRST_DELAY
            while True:
                before = self._seen
                try:
                    await self._read()
                except _Unheard:
                    return
                except ClientError as error:
                    breaks = isinstance(error, Unavailable) or error.status is None
                    if not (breaks and self.connected.is_set()):
                        self.failure = error
                        self.connected.set()
                        return
                delay = _FIRST_DELAY if self._seen != before else min(delay * 2, _LONGEST_DELAY)
                await trio.sleep(delay * (0.5 + random.random() / 2))  # noqa: S311  # spreads out those that come back

    async def _read(self) -> None:
        """Connect and read until it breaks.

        Raises:
            ClientError: it could not connect.
        """
        parts = urlsplit(self._place.url)
        host = parts.hostname or ""
        failure: Exception | None = None
        try:
            with trio.fail_after(_CONNECT_SECONDS):
                stream = await self._connect(host, parts.port, parts.scheme == "wss")
        except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            raise self._unreachable(error) from None
        try:
            async with trio.open_nursery() as nursery:
                await self._talk(nursery, stream, parts.netloc, parts.path)
        except* _Unheard as group:
            failure = _first(group)
        except* ConnectionRejected as group:
            failure = _rejection(_first(group))
        except* (ConnectionClosed, trio.TooSlowError) as group:
            failure = None if self.connected.is_set() else self._unreachable(_first(group))
        except* (HandshakeError, h11.ProtocolError, trio.BrokenResourceError, OSError, ValueError) as group:
            failure = failure or self._unreachable(_first(group))  # one that refused may leave right after it
        finally:
            await trio.aclose_forcefully(stream)  # noqa: ASYNC102  # trio-websocket leaves it open when it is refused
        if failure is not None:
            raise failure

    async def _connect(self, host: str, port: int | None, is_tls: bool) -> trio.abc.Stream:
        if is_tls:
            return await trio.open_ssl_over_tcp_stream(
                host, port or 443, ssl_context=self._place.tls, https_compatible=True
            )
        return await trio.open_tcp_stream(host, port or 80)

    async def _talk(self, nursery: trio.Nursery, stream: trio.abc.Stream, host: str, path: str) -> None:
        after = {} if self._seen is None else {"after": str(self._seen)}
        query = urlencode({**self._query, **after, "positions": "true"})
        with trio.fail_after(_CONNECT_SECONDS):
            socket = await wrap_client_stream(
                nursery,
                _Stream(stream),  # type: ignore[arg-type]  # any stream will do
                host,
                f"{path}?{query}",
                extra_headers=self._place.headers,
                max_message_size=_MESSAGE_BYTES,
            )
        await self._take(socket)

    def _unreachable(self, error: Exception) -> Unreachable:
        said = str(error) or type(error).__name__
        return Unreachable(f"no server answers at {self._place.url} ({said}); start one with goflow-trio serve")

    async def _take(self, socket: WebSocketConnection) -> None:
        while True:
            with trio.fail_after(_SILENCE_SECONDS):
                event = decode(await socket.get_message())
            is_new = self._seen is None or event.seq > self._seen
            if event.type == "reset" or (is_new and event.type not in _LIVE_ONLY):
                self._seen = event.seq
            self.connected.set()
            if event.type != "position" and (is_new or event.type == "reset" or event.type in _LIVE_ONLY):
                try:
                    await self._send.send(event)
                except trio.BrokenResourceError:
                    raise _Unheard from None


def open_events(nursery: trio.Nursery, place: Place, query: dict[str, str], after: int | None) -> Events:
    """Return events that a task in `nursery` reads; see `Reader`."""
    send, receive = trio.open_memory_channel[Event](_QUEUE)
    reader = Reader(place, query, after, send)
    nursery.start_soon(reader.run, name="events of the client")
    return Events(reader, receive)


def make_query(job: str | None, execution: str | None, types: str | Collection[str] | None) -> dict[str, str]:
    """Return the filters as the server takes them."""
    joined = types if isinstance(types, str) else ",".join(types or ())
    return {
        name: value for name, value in (("job", job), ("execution", execution), ("types", joined)) if value is not None
    }


def _first(error: BaseException) -> Exception:
    """Return one of the errors in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def _rejection(error: Exception) -> ClientError:
    assert isinstance(error, ConnectionRejected)
    try:
        detail = str(msgspec.json.decode(error.body or b"")["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server refused the WebSocket with {error.status_code}"
    return error_of(error.status_code, detail)
