"""One HTTP/1.1 connection: its time limits, and an end that nothing can hold up.

The protocol is Hypercorn's (h11, and `socket` for WebSockets); the loop around it is ours, because that is where the
limits are. A connection waits for the headers of a request for `limits.HEADER_SECONDS`, between two requests for
`limits.IDLE_SECONDS`, and for a reader that takes nothing for `limits.SEND_SECONDS`. While a request is answered,
reading goes on, so that a peer that leaves is noticed; the time of a body is the guard's business, who knows whether
anyone wants it. HTTP/2 is not spoken.
"""

from __future__ import annotations

import logging
import math

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from goflow_trio.core import limits
from goflow_trio.web.socket import Socket, uncompressed

logger = logging.getLogger("goflow_trio.web.server")

_CHUNK = 64 * 1024
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 8 * 1024 * 1024
_APP_SECONDS = 5.0
"""What an app gets to notice that its peer is gone."""


class _Http1(H11Protocol):
    """Hypercorn's HTTP/1.1 without the ways from there to HTTP/2, and with our WebSockets."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Do not switch to HTTP/2; the guard refuses what calls itself so."""

    async def _create_stream(self, request: h11.Request) -> None:
        if not _wants_websocket(request):
            await super()._create_stream(request)
            return
        self.stream = Socket(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        assert isinstance(self.connection, h11.Connection)
        self.connection = H11WSConnection(self.connection)
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=uncompressed(list(request.headers)),
                http_version=request.http_version.decode(),
                method="GET",
                raw_path=request.target,
                state=self.connection_state,
            )
        )


def _wants_websocket(request: h11.Request) -> bool:
    headers = dict(request.headers)
    tokens = [token.strip() for token in headers.get(b"connection", b"").lower().split(b",")]
    is_upgrade = b"upgrade" in tokens and headers.get(b"upgrade", b"").strip().lower() == b"websocket"
    return is_upgrade and request.method == b"GET"


class Connection:
    """Serves one connection until either side ends it.

    Args:
        stream: the socket, or TLS on it with the handshake done.
        app: the ASGI app.
        config: Hypercorn's settings.
        context: Hypercorn's; its `terminated` says that no further request is wanted.
        state: what the app's start put there.
    """

    def __init__(
        self,
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
    ) -> None:
        self._stream = stream
        self._is_tls = isinstance(stream, trio.SSLStream)
        self._socket = stream.transport_stream.socket if isinstance(stream, trio.SSLStream) else stream.socket
        self._app, self._config, self._context, self._state = app, config, context, state
        self._sending = trio.Lock()
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._deadline = trio.current_time() + limits.HEADER_SECONDS  # of what is being read
        self._is_idle = True  # no request is being answered
        self._has_begun = True  # the next request has: who connects wants to ask something
        self._has_answered_last = False

    async def run(self) -> None:
        """Serve until it is over, then close. Whatever goes wrong stays in this connection."""
        try:
            with self._scope:
                await self._serve()
            if self._has_answered_last:
                await self._linger()
        except* OSError:
            pass  # the peer is gone
        except* Exception:
            logger.exception("a connection ended on an internal error")
        finally:
            await trio.aclose_forcefully(self._stream)  # noqa: ASYNC102  # closing forcefully does not block

    def end(self) -> None:
        """Close now if no request is being answered; else right after the answer, as Hypercorn's context says."""
        if self._is_idle:
            self._scope.cancel()

    async def _serve(self) -> None:
        client = parse_socket_addr(self._socket.family, self._socket.getpeername())
        server = parse_socket_addr(self._socket.family, self._socket.getsockname())
        async with TaskGroup() as group:
            protocol = _Http1(
                self._app, self._config, self._context, group, self._state, self._is_tls, client, server, self._send
            )
            while data := await self._receive():
                await protocol.handle(RawData(data))
            # The app is told that its peer is gone; should it not care, it is cut off.
            self._scope.deadline = trio.current_time() + _APP_SECONDS
            await protocol.handle(RawData(b""))
            await protocol.handle(Closed())

    async def _receive(self) -> bytes:
        with trio.CancelScope(deadline=self._deadline) as self._reading:
            try:
                data = bytes(await self._stream.receive_some(_CHUNK))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
        if self._reading.cancelled_caught:
            self._scope.cancel()
            return b""
        if self._is_idle and not self._has_begun:
            self._has_begun = True
            self._deadline = trio.current_time() + limits.HEADER_SECONDS
        return data

    async def _send(self, event: Event) -> None:
        """Do what the protocol wants done; it asks from the tasks of the app too, which may be cancelled."""
        if isinstance(event, RawData):
            await self._send_all(event.data)
        elif isinstance(event, Closed):
            self._has_answered_last = True
            self._scope.cancel()
        elif isinstance(event, Updated):
            self._set_idle(event.idle)

    def _set_idle(self, idle: bool) -> None:
        self._is_idle = idle
        self._has_begun = False
        self._deadline = trio.current_time() + limits.IDLE_SECONDS if idle else math.inf
        self._reading.deadline = self._deadline  # the reader may be waiting already

    async def _send_all(self, data: bytes) -> None:
        """Send, or end the connection: half of a message leaves nothing that could be gone on with."""
        view = memoryview(data)
        async with self._sending:
            try:
                for start in range(0, len(data), _CHUNK):
                    with trio.fail_after(limits.SEND_SECONDS):
                        await self._stream.send_all(view[start : start + _CHUNK])
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                self._scope.cancel()
            except trio.Cancelled:
                self._scope.cancel()
                raise

    async def _linger(self) -> None:
        """Take what the peer still sends, for a while: closing on unread bytes would cost it our answer."""
        if isinstance(self._stream, trio.SSLStream):
            return
        with trio.move_on_after(_LINGER_SECONDS):
            try:
                await self._stream.send_eof()
                taken = 0
                while taken < _LINGER_BYTES and (data := await self._stream.receive_some(_CHUNK)):
                    taken += len(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                pass
