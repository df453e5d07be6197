"""Listens and serves: the socket is ours, so that a taken port is known before anything else is touched."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from goflow_trio.errors import UsageError

_BIND = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>\d+)")
_LAST_PORT = 65_535
_DEAD_PEER_MILLISECONDS = 20_000


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
def listen(bind: str) -> Iterator[socket.socket]:
    """Open the listening socket for the length of a block.

    Raises:
        UsageError: the address is wrong or taken.
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
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
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


def url_of(listener: socket.socket) -> str:
    """Return the URL that a listening socket answers on."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_app(
    app: Any,
    listener: socket.socket,
    *,
    shutdown: trio.Event,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on a listening socket until cancelled or `shutdown` is set.

    Args:
        app: the app.
        listener: from `listen`.
        shutdown: set it to end: streams are closed first, requests in flight get a second.
        task_status: started with the URLs it answers on.
    """
    config = Config()
    config.bind = [f"fd://{listener.dup().detach()}"]  # Hypercorn closes what it is given
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("goflow_trio.web.server")
    config.graceful_timeout = 1.0
    config.keep_alive_timeout = 5.0
    config.read_timeout = 30
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, app, config, shutdown)
        task_status.started([url_of(listener)])


async def _serve(app: Any, config: Config, shutdown: trio.Event, task_status: trio.TaskStatus[Any]) -> None:
    await serve(app, config, shutdown_trigger=shutdown.wait, task_status=task_status, mode="asgi")
