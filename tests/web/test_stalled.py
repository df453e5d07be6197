"""Readers that stopped reading cost the engine nothing, and do not hold up its end."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import urlsplit

import trio

from goflow_trio import Goflow, Job, Noop, Task
from goflow_trio.core import limits
from goflow_trio.web.fanout import fanout_of
from tests.patience import AGES, SOON

STALLED = 100


def fan():
    job = Job("fan")
    first = job.add(Task("first", Noop()))
    for number in range(30):
        first >> job.add(Task(f"t{number}", Noop()))
    return job


UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def stalled(port, path):
    """Return a subscriber with a small buffer that never reads."""
    one = trio.socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await one.connect(("127.0.0.1", port))
    more = UPGRADE if path == "/api/ws" else ""
    await one.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode())
    return one


async def test_stalled_readers_cost_nothing_and_do_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr(limits, "SEND_SECONDS", AGES)  # nor is this waited for at the end
    gf = Goflow()
    gf.add_job(fan)
    with trio.fail_after(3 * SOON):
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
            engine = gf._running()
            feed = engine.store.feed
            for number in range(STALLED):
                path = ("/api/events", "/stream", "/api/ws")[number % 3]
                stack.enter_context(await stalled(urlsplit(url).port, path))
            while feed.subscribers < STALLED or fanout_of(feed).reading:  # until the buffers of all of them are full
                for execution in [await engine.submit("fan") for _ in range(20)]:
                    await execution.wait()
            assert feed.subscribers == STALLED
            assert feed._bell.statistics().tasks_waiting == 0  # to publish wakes none of them
            nursery.cancel_scope.cancel()
