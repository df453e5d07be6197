"""Listens and serves: the socket is ours, so that a taken port is known before anything else is touched.

What one connection may do is `connection`'s business, what a request may do the guard's; how many connections there
may be is decided here.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from goflow_trio.core import limits
from goflow_trio.errors import UsageError
from goflow_trio.web.connection import Connection
from goflow_trio.web.socket import announced

logger = logging.getLogger("goflow_trio.web.server")

_BIND = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>\d+)")
_LAST_PORT = 65_535
_DEAD_PEER_MILLISECONDS = 20_000
_SEND_BYTES = 128 * 1024
_GRACE_SECONDS = 1.0
_PING_SECONDS = 20.0
_INCOMPLETE_BYTES = 64 * 1024
"""Beyond it h11 answers 431 by itself; below it the guard tells a long URL from long headers."""
_FILES_FOR_US = 128
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"


def parse_bind(text: str) -> tuple[str, int]:
    """Return host and port of `"127.0.0.1:8181"`, `":8181"` (all interfaces) or `"[::1]:8181"`.

    Raises:
        UsageError: it is none of these, or the port is over 65,535.
    """
    match = _BIND.fullmatch(text)
    if match is None or int(match["port"]) > _LAST_PORT:
        raise UsageError(
            f"cannot listen on {text!r}: write host:port, such as 127.0.0.1:8181; ports go to {_LAST_PORT}"
        )
    return (match["six"] or match["host"] or ("::" if match["six"] is not None else "0.0.0.0")), int(match["port"])  # noqa: S104


@contextmanager
def listen(bind: str, *, exposed: bool = True) -> Iterator[socket.socket]:
    """Open the listening socket for the length of a block.

    Args:
        bind: where to listen.
        exposed: whether others than this machine may reach it.

    Raises:
        UsageError: the address is wrong, taken, or not a loopback one though it must be.
    """
    host, port = parse_bind(bind)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise UsageError(f"cannot listen on {bind}: {error.strerror or error}") from None
    with listener:
        if not exposed and not is_loopback(str(address[0])):
            raise UsageError(
                f"refusing to listen on {address[0]}: others can reach it and there are no tokens, so whoever does "
                f"could run jobs; name a file of tokens with --token-file (Security(token_file=…)), listen on "
                f"127.0.0.1, or allow it with --insecure (insecure=True)"
            )
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # What is sent to a reader that stopped reading, and then waits in vain: 200 of them must not cost us megabytes
        # each, in memory and in copying. Two of these a round trip are plenty for everybody else.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # a reader that stopped reading must not hold the end up
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MILLISECONDS)
        try:
            listener.bind(address)
            listener.listen(1024)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {bind}: {error.strerror or error}; choose another address with --host and --port"
            ) from None
        listener.setblocking(False)  # noqa: FBT003  # the socket module's signature
        yield listener


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the URL that a listening socket answers on."""
    host, port = listener.getsockname()[:2]
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"


class Admission:
    """Counts the connections that are open, in all and by address.

    Args:
        total: how many may be open.
        per_address: how many one address may have open; loopback may have them all.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self._open: Counter[str] = Counter()

    @contextmanager
    def enter(self, address: str) -> Iterator[bool]:
        """Count a connection for the length of a block; False if it is one too many."""
        fits = self._open.total() < self.total and (self._open[address] < self.per_address or is_loopback(address))
        self._open[address] += fits
        try:
            yield fits
        finally:
            self._open[address] -= fits
            if not self._open[address]:
                del self._open[address]


class _Server:
    """The connections of one listening socket."""

    def __init__(self, app: Any, tls: ssl.SSLContext | None, admission: Admission) -> None:
        self.app = wrap_app(announced(app), 0, "asgi")
        self.config = _config()
        self.context = WorkerContext(None)
        self.state: dict[str, Any] = {}
        self._tls = tls
        self._admission = admission
        self._connections: set[Connection] = set()

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        try:
            address = str(stream.socket.getpeername()[0])
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        with self._admission.enter(address) as fits:
            if not fits:
                await _turn_away(stream, plain=self._tls is None)
                return
            secured = stream if self._tls is None else await self._secure(stream, self._tls)
            if secured is None:
                return
            state = ConnectionState(self.state.copy())
            connection = Connection(secured, self.app, self.config, self.context, state)
            self._connections.add(connection)
            try:
                await connection.run()
            finally:
                self._connections.discard(connection)

    @staticmethod
    async def _secure(stream: trio.SocketStream, tls: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream] | None:
        secured = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        with trio.move_on_after(limits.HEADER_SECONDS):
            try:
                await secured.do_handshake()
            except trio.BrokenResourceError:
                pass
            else:
                return secured
        await trio.aclose_forcefully(stream)
        return None

    async def end(self) -> None:
        """Take no further request."""
        await self.context.terminated.set()
        for connection in list(self._connections):
            connection.end()


async def _turn_away(stream: trio.SocketStream, *, plain: bool) -> None:
    with trio.move_on_after(1):
        try:
            if plain:
                await stream.send_all(_FULL)
                await stream.send_eof()
                while await stream.receive_some(65_536):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    await trio.aclose_forcefully(stream)


def _config() -> Config:
    config = Config()
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logger
    config.h11_max_incomplete_size = _INCOMPLETE_BYTES
    config.websocket_max_message_size = limits.MESSAGE_BYTES
    config.websocket_ping_interval = _PING_SECONDS
    return config


def open_files() -> int:
    """Return how many connections fit into the files that this process may open."""
    try:
        import resource  # noqa: PLC0415  # not everywhere
    except ImportError:
        return limits.CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limits.CONNECTIONS if soft == resource.RLIM_INFINITY else max(soft - _FILES_FOR_US, 1)


async def serve_app(
    app: Any,
    listener: socket.socket,
    *,
    shutdown: trio.Event,
    at_end: Callable[[], None] = lambda: None,
    tls: ssl.SSLContext | None = None,
    admission: Admission | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on a listening socket until cancelled or `shutdown` is set.

    Args:
        app: the app.
        listener: from `listen`.
        shutdown: set it to end: no further request is taken, those in flight get a second.
        at_end: called then, to end what would not end by itself.
        tls: speak TLS with this certificate.
        admission: how many connections may be open.
        task_status: started with the URLs it answers on.
    """
    total = min(limits.CONNECTIONS, open_files())
    server = _Server(app, tls, admission or Admission(total, limits.CONNECTIONS_PER_ADDRESS))
    lifespan = Lifespan(server.app, server.config, server.state)
    async with trio.open_nursery() as outer:
        await outer.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            own = trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup()))
            await accepting.start(partial(trio.serve_listeners, server.handle, [own], handler_nursery=connections))
            task_status.started([url_of(listener, tls=tls is not None)])
            await shutdown.wait()
            accepting.cancel_scope.cancel()
            await server.end()
            at_end()
            connections.cancel_scope.deadline = trio.current_time() + _GRACE_SECONDS
        await lifespan.wait_for_shutdown()
        outer.cancel_scope.cancel()
