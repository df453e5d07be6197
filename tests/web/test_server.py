"""The server on real sockets: limits of size, number and time, TLS, and an end that nobody holds up."""

from __future__ import annotations

import ssl
import statistics
import time
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
import trustme
from httpx2 import AsyncClient

from goflow_trio import Goflow, Job, Noop, Security, Task, UsageError
from goflow_trio.core import limits
from goflow_trio.web.server import Admission, listen, serve_app
from tests.patience import AGES, SOON


def make_goflow(**options):
    gf = Goflow(**options)
    job = Job("noop")
    job.add(Task("t", Noop()))
    gf.add_job(job)
    return gf


@asynccontextmanager
async def serving(gf=None):
    gf = gf or make_goflow()
    with trio.fail_after(2 * SOON):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(_serve, gf))
            yield int(url.rsplit(":", 1)[1])
            nursery.cancel_scope.cancel()


async def _serve(gf, task_status):
    await gf.serve("127.0.0.1:0", grace=0, task_status=task_status)


async def talk(port, text):
    """Send bytes and return all that comes back until the server closes."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(text)
        answer = b""
        while data := await stream.receive_some():
            answer += data
    return answer.decode()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET /%s HTTP/1.0\r\n\r\n" % (b"x" * 9_000), 414),
        (b"GET /%s HTTP/1.0\r\n\r\n" % (b"x" * 300_000), 431),
        (b"GET / HTTP/1.0\r\nA: %s\r\n\r\n" % (b"x" * 20_000), 431),
        (b"GET / HTTP/1.0\r\n%s\r\n" % (b"A: b\r\n" * 101), 431),
        (b"GET / HTTP/1.0\r\nA: %s" % (b"x" * 300_000), 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nA : b\r\n\r\n", 400),
        (b"GET /a b HTTP/1.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
async def test_what_is_no_proper_request_is_refused(text, status):
    async with serving() as port:
        answer = await talk(port, text)
    assert answer.startswith(f"HTTP/1.1 {status} ")


async def test_clear_text_is_not_upgraded_to_http_2():
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    async with serving() as port:
        answer = await talk(port, b"GET /api/health HTTP/1.0\r\n" + upgrade + b"\r\n")
    assert answer.startswith("HTTP/1.1 200 ")


async def test_a_refused_body_does_not_cost_the_answer_nor_the_connection_its_end(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("operate operate-token-0123456789 x")
    async with serving(make_goflow(security=Security(token_file=file))) as port:
        async with AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(5):
                assert (await client.post("/api/jobs/noop/submit", content=b"x" * 3_000_000)).status_code == 401
        with trio.fail_after(SOON):
            while any("_run_handler" in task for task in tasks()):  # noqa: ASYNC110
                await trio.sleep(0.05)


def tasks():
    """Return the names of all tasks of this trio program."""
    found, waiting = [], [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        found.append(task.name)
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


async def test_slow_headers_and_idle_connections_are_closed(monkeypatch):
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.7)
    async with serving() as port:
        for text in (b"", b"GET / HT"):
            begun = trio.current_time()
            assert await talk(port, text) == ""
            assert trio.current_time() - begun > 0.2
        monkeypatch.setattr(limits, "HEADER_SECONDS", AGES)
        begun = trio.current_time()
        assert (await talk(port, b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")).endswith('{"health":"OK"}')
        assert trio.current_time() - begun > 0.6


async def test_a_drip_of_header_bytes_buys_no_time(monkeypatch):
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.3)
    async with serving() as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(1000):
                await stream.send_all(b"G")
                await trio.sleep(0.05)


async def test_a_slow_body_is_answered_408(monkeypatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.3)
    async with serving() as port:
        head = b"POST /api/jobs/noop/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
        assert (await talk(port, head)).startswith("HTTP/1.1 408 ")


def test_an_address_has_its_share_and_loopback_all():
    admission = Admission(5, 2)
    with admission.enter("192.0.2.1") as a, admission.enter("192.0.2.1") as b, admission.enter("192.0.2.1") as c:
        assert (a, b, c) == (True, True, False)
        with admission.enter("127.0.0.1") as d, admission.enter("::1") as e, admission.enter("127.0.0.1") as f:
            assert (d, e, f) == (True, True, True)
            with admission.enter("192.0.2.9") as g:
                assert not g
    assert not admission._open


async def test_one_connection_too_many_is_told_so():
    app, shutdown = make_goflow().app, trio.Event()
    with listen("127.0.0.1:0") as listener:
        port = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_app, app, listener, shutdown=shutdown, admission=Admission(2, 2)))
            async with await trio.open_tcp_stream("127.0.0.1", port), await trio.open_tcp_stream("127.0.0.1", port):
                await trio.testing.wait_all_tasks_blocked()
                assert (await talk(port, b"")).startswith("HTTP/1.1 503 ")
            with trio.fail_after(SOON):
                while not (await talk(port, b"GET /x HTTP/1.0\r\n\r\n")).startswith("HTTP/1.1 404 "):  # noqa: ASYNC110
                    await trio.sleep(0.01)  # until both are noticed to be gone
            shutdown.set()


@pytest.mark.parametrize("bind", [":0", "0.0.0.0:0", "[::]:0"])
async def test_others_may_only_reach_it_with_tokens_or_by_saying_so(bind, tmp_path, monkeypatch):
    def refuse(*args):
        raise AssertionError(args)

    monkeypatch.setattr("goflow_trio.actors.opening.open_backend", refuse)
    with pytest.raises(UsageError, match=r"--token-file.*--insecure"):
        await make_goflow().serve(bind)
    with pytest.raises(UsageError, match="cannot be read"):
        await make_goflow(security=Security(token_file=tmp_path / "none")).serve(bind)
    if "::" not in bind:
        with pytest.raises(AssertionError):
            await make_goflow().serve(bind, insecure=True)


async def test_tls(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    gf = make_goflow(security=Security(certfile=tmp_path / "pem", keyfile=tmp_path / "pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(_serve, gf))
        assert url.startswith("https://127.0.0.1:")
        async with AsyncClient(base_url=url, verify=trusting) as client:
            answer = await client.get("/api/health")
            assert answer.json() == {"health": "OK"}
            assert "strict-transport-security" in answer.headers
            login = await client.post("/api/login", json={"token": "x"}, headers={"Origin": url})
            assert login.json()["authentication"] is False
            answer = await client.post("/api/jobs/noop/submit", headers={"Origin": url.replace("https", "http")})
            assert answer.status_code == 403
        nursery.cancel_scope.cancel()
    with pytest.raises(UsageError, match="the key /nowhere cannot be read: No such file"):
        await make_goflow(security=Security(certfile=tmp_path / "pem", keyfile="/nowhere")).serve("127.0.0.1:0")
    with pytest.raises(UsageError, match="cannot be used"):
        await make_goflow(security=Security(certfile=__file__, keyfile=__file__)).serve("127.0.0.1:0")


async def test_shutdown_is_not_held_up_by_readers_that_take_nothing(monkeypatch):
    monkeypatch.setattr(limits, "SEND_SECONDS", AGES)

    async def flood(scope, receive, send):
        assert scope["type"] == "http", "it takes no part in the server's life"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})

    shutdown = trio.Event()
    with listen("127.0.0.1:0") as listener:
        port = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_app, flood, listener, shutdown=shutdown))
            streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(50)]
            for stream in streams:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await trio.sleep(0.5)
            nursery.cancel_scope.deadline = trio.current_time() + SOON
            shutdown.set()
        assert not nursery.cancel_scope.cancelled_caught
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def slow_connections(port, number, task_status):
    """Hold so many connections open that send a header or a body byte now and then."""
    head = b"POST /api/jobs/noop/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"

    async def one(index):
        while True:
            try:
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(head if index % 2 else b"GET / HTTP/1.1\r\nX: ")
                    while True:
                        await stream.send_all(b"a")
                        await trio.sleep(2)
            except (OSError, trio.BrokenResourceError):
                await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        for index in range(number):
            nursery.start_soon(one, index)
        await trio.sleep(0.5)
        task_status.started()


async def latencies(client, number):
    times = []
    for _ in range(number):
        begun = time.perf_counter()
        assert (await client.get("/api/jobs")).status_code == 200
        times.append(time.perf_counter() - begun)
        await trio.sleep(0.005)
    return times


@pytest.mark.parametrize("number", [100, pytest.param(500, marks=pytest.mark.slow)])
async def test_slow_connections_do_not_slow_down_others(number):
    async with serving() as port, AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        quiet = await latencies(client, 100)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(slow_connections, port, number))
            crowded = await latencies(client, 300)
            nursery.cancel_scope.cancel()
    before, after = (statistics.quantiles(times, n=100) for times in (quiet, crowded))
    print(f"{number} slow connections: p99 {after[98] * 1e3:.1f} ms, without them {before[98] * 1e3:.1f} ms")
    assert after[49] < max(1, 10 * before[49])  # a machine that stands still for a moment is no fault of theirs
