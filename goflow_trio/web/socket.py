"""One WebSocket on a connection: what it sends to many readers is made once, what it takes from one has a bound.

The protocol is Hypercorn's (wsproto), with these differences:

- An app may send frames that are ready, as many as it likes in one write: the ASGI extension `FRAMES`. A write costs
  some 150 µs of the loop that also runs the jobs, whatever is in it; event by event, a burst to a crowd of readers
  would hold up everything.
- Nothing is compressed. It would be done for each reader anew, with 300 kB of memory for each, and a few bytes from a
  reader could become a thousand times as many here.
- A message over `limits.MESSAGE_BYTES` closes the connection with 1009 when that much of it has come, and no more of it
  is kept. Hypercorn says so too, but counts characters, and goes on keeping what comes.
- The first ping comes after a while. Hypercorn's comes at once, and a client made with trio-websocket that closes soon
  breaks on it: it answers with a pong, which is not allowed any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hypercorn.protocol.events import Data, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WebsocketBuffer, WSStream
from hypercorn.typing import ASGISendCallable
from quart_trio.asgi import TrioASGIWebsocketConnection
from wsproto.connection import ConnectionState
from wsproto.events import Message, Ping
from wsproto.frame_protocol import FrameProtocol

FRAMES = "goflow_trio.websocket.frames"
"""Name of the extension in an ASGI scope, and type of its message, which has the frames as `data`."""

_COMPRESSION = b"sec-websocket-extensions"

App = Callable[[Any, Any, Any], Awaitable[None]]


class Frames(bytes):
    """Frames of a WebSocket: what `quart.websocket.send` takes where the extension is there."""

    __slots__ = ()


def frame_of(text: bytes) -> bytes:
    """Return a message of text as a server sends it, in one frame."""
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(text.decode(), fin=True))


class _Bytes(WebsocketBuffer):
    """What came of a message so far, counted in bytes."""

    def extend(self, event: Message[Any]) -> None:
        if isinstance(event.data, str):
            self.length += len(event.data.encode()) - len(event.data)
        super().extend(event)


class Socket(WSStream):
    """A WebSocket of Hypercorn's, with these differences."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.buffer = _Bytes(self.config.websocket_max_message_size)

    async def app_send(self, message: Any) -> None:
        """Do what the app says."""
        if message is None or message["type"] != FRAMES:
            await super().app_send(message)
        elif (
            not self.closed
            and self.state is ASGIWebsocketState.CONNECTED
            and self.connection.state is ConnectionState.OPEN
        ):
            await self.send(Data(stream_id=self.stream_id, data=message["data"]))

    async def _send_pings(self) -> None:
        assert self.config.websocket_ping_interval is not None
        while not self.closed:
            await self.context.sleep(self.config.websocket_ping_interval)
            await self._send_wsproto_event(Ping())

    async def _handle_events(self) -> None:
        await super()._handle_events()
        if self.buffer.length > self.buffer.max_length:
            await self.send(StreamClosed(stream_id=self.stream_id))


def uncompressed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request for a WebSocket without the wish to compress."""
    return [(name, value) for name, value in headers if name != _COMPRESSION]


def announced(app: App) -> App:
    """Return an ASGI app that is told of the extension, where a WebSocket is wanted."""

    async def told(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            scope["extensions"][FRAMES] = {}
        await app(scope, receive, send)

    return told


class QuartSocket(TrioASGIWebsocketConnection):
    """Quart's side of a WebSocket: it passes on frames as such."""

    async def send_data(self, send: ASGISendCallable, data: str | bytes) -> None:
        """Send a message, or frames."""
        if isinstance(data, Frames):
            message: Any = {"type": FRAMES, "data": data}  # of no type that Hypercorn knows
            await send(message)
        else:
            await super().send_data(send, data)
