"""WebSockets: what is pending goes out in one write, and what a client may send has a bound."""

from __future__ import annotations

import gc
import json
import os
import weakref
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import open_websocket_url
from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode

from goflow_trio import Goflow
from goflow_trio.actors.feed import Feed
from goflow_trio.core import limits
from goflow_trio.web.connection import Connection
from tests.patience import SOON, until
from tests.web.test_api import ended, jobs, serving, submit

HANDSHAKE = (
    "GET /api/ws{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)
MASK = bytes(4)


@asynccontextmanager
async def connected(client, query="", more=""):
    """Open a WebSocket by hand; yield the stream and the headers of the answer."""
    async with await trio.open_tcp_stream("127.0.0.1", client.base_url.port) as stream:
        await stream.send_all(HANDSHAKE.format(query=query, more=more).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(1)
        yield stream, head.decode()


async def closed_with(stream):
    """Return the code that the server closes a connection with."""
    decoder = FrameDecoder(client=True)
    while data := await stream.receive_some():
        decoder.receive_bytes(data)
        while (frame := decoder.process_buffer()) is not None:
            if frame.opcode is Opcode.CLOSE:
                code = int.from_bytes(frame.payload[:2], "big")
                assert not await stream.receive_some()  # and the connection with it
                return code
    return None


async def test_what_is_pending_is_sent_in_one_write(monkeypatch):
    writes = []
    send_all = Connection._send_all

    async def counted(self, data):
        writes.append(len(data))
        await send_all(self, data)

    async with serving() as client:
        for _ in range(10):
            await ended(client, await submit(client, "graph"))
        monkeypatch.setattr(Connection, "_send_all", counted)
        url = str(client.base_url).replace("http", "ws") + "/api/ws?after=0"
        async with open_websocket_url(url) as socket:
            events = [json.loads(await socket.get_message()) for _ in range(70)]
    assert [event["seq"] for event in events] == list(range(1, 71))
    assert len(writes) <= 4  # the handshake, all events, and the close


async def test_events_with_a_reset_between_are_in_order_too():
    async with serving() as client:
        await ended(client, await submit(client, "graph"))
        url = str(client.base_url).replace("http", "ws") + "/api/ws?after=99&positions=true"
        async with open_websocket_url(url) as socket:
            await submit(client, "graph")
            kinds = []
            while kinds[-1:] != ["execution.finished"]:
                kinds.append(json.loads(await socket.get_message())["type"])
    assert kinds[:3] == ["position", "reset", "execution.submitted"]


async def test_a_socket_that_was_just_opened_is_not_pinged():
    """A ping that crosses the close of who closes soon breaks clients of trio-websocket."""
    async with serving() as client, connected(client) as (stream, _):
        with trio.move_on_after(0.3) as nothing:
            assert await stream.receive_some() == b"nothing yet"
    assert nothing.cancelled_caught


async def test_nothing_is_compressed():
    async with serving() as client:
        more = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        async with connected(client, more=more) as (_, head):
            assert head.startswith("HTTP/1.1 101 ")
            assert "extensions" not in head.lower()


@pytest.mark.parametrize("text", ["x" * limits.MESSAGE_BYTES, "é" * (limits.MESSAGE_BYTES // 2)])
async def test_a_message_of_64_kib_is_taken_and_a_larger_one_closes_with_1009(text):
    protocol = FrameProtocol(client=True, extensions=[])
    async with serving() as client, connected(client) as (stream, _):
        await stream.send_all(protocol.send_data(text, fin=True))
        await stream.send_all(protocol.ping(b"still there?"))
        answer = b""
        while b"still there?" not in answer:
            answer += await stream.receive_some()
        await stream.send_all(protocol.send_data(text + "x", fin=True))
        assert await closed_with(stream) == 1009


async def test_of_a_frame_that_is_too_large_no_more_is_taken():
    """What it announces is not waited for, and what still comes is not kept."""
    async with serving() as client, connected(client) as (stream, _):
        await stream.send_all(b"\x82\xff" + (2**40).to_bytes(8, "big") + MASK + bytes(limits.MESSAGE_BYTES + 1))
        assert await closed_with(stream) == 1009


async def test_many_small_frames_of_one_message_count_together():
    async with serving() as client, connected(client) as (stream, _):
        part = b"\xfe" + (1000).to_bytes(2, "big") + MASK + os.urandom(1000)
        await stream.send_all(b"\x02" + part + (b"\x00" + part) * 70)
        assert await closed_with(stream) == 1009


async def test_behind_another_server_events_come_one_by_one():
    gf = Goflow()
    for job in jobs():
        gf.add_job(job)
    said = [{"type": "websocket.disconnect", "code": 1000}, {"type": "websocket.connect"}]
    sent = []
    done = trio.Event()

    async def receive():
        if len(said) == 1:
            await done.wait()
        return said.pop()

    async def send(message):
        sent.append(message)
        if len(sent) == 8:
            done.set()

    scope = {
        "type": "websocket",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "scheme": "ws",
        "http_version": "1.1",
        "path": "/api/ws",
        "raw_path": b"/api/ws",
        "query_string": b"after=0",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
        "extensions": {},
    }
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: gf.serve("127.0.0.1:0", grace=0, task_status=task_status))
            await (await gf._running().submit("graph")).wait()
            await gf.app(scope, receive, send)
            nursery.cancel_scope.cancel()
    assert [message["type"] for message in sent] == ["websocket.accept", *["websocket.send"] * 7]
    assert [json.loads(message["text"])["seq"] for message in sent[1:]] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_reader_that_leaves_leaves_nothing_to_the_garbage_collector(monkeypatch):
    opened = []
    open_one = Feed.open

    def noted(self, **asked):
        subscription = open_one(self, **asked)
        opened.append(weakref.ref(subscription))
        return subscription

    monkeypatch.setattr(Feed, "open", noted)
    async with serving() as client:
        gc.disable()
        try:
            async with connected(client):
                assert opened[0]() is not None
            await until(lambda: opened[0]() is None)
        finally:
            gc.enable()
