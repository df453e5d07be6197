"""Requests against a real server on a socket, well-behaved and evil."""

import contextlib
import gzip
import os
import sys

import pytest
import trio

from goflow_trio.errors import DefinitionError, RequestFailed
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators import Get, Operator, Post, Request, http
from tests.patience import SOON

CONTEXT = TaskContext("job", "id", "task")


def answer(status="200 OK", body=b"", *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def silent_server(_server):
    return silent()


class Server:
    """Answers every connection with what `reply` gives, and keeps the requests."""

    def __init__(self, reply):
        self.reply = reply
        self.requests = []
        self.url = ""

    async def serve(self, task_status):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        await trio.serve_listeners(self.handle, listeners, task_status=task_status)

    async def handle(self, stream):
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some()
                if not more or more.startswith(b"\x16"):  # a TLS hello
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
            while len(body) < int(fields.get("content-length", 0)):
                body += await stream.receive_some()
            self.requests.append((lines[0], fields, body))
            try:
                reply = self.reply(self)
                if isinstance(reply, bytes):
                    await stream.send_all(reply)
                else:
                    async with contextlib.aclosing(reply):
                        async for part in reply:
                            await stream.send_all(part)
            except trio.BrokenResourceError:
                return


@pytest.fixture
async def serve(nursery, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def start(reply):
        server = Server(reply if callable(reply) else lambda _server: reply)
        await nursery.start(server.serve)
        return server

    return start


async def run(operator):
    with trio.fail_after(SOON):
        return await operator.run(CONTEXT)


async def failure(operator):
    with pytest.raises(RequestFailed) as caught:
        await run(operator)
    return caught.value


async def test_get_returns_the_body(serve):
    server = await serve(answer("200 OK", "grün".encode()))
    assert await run(Get(f"{server.url}/a?b=c", {"X-Mine": "1"})) == "grün"
    line, fields, body = server.requests[0]
    assert line == "GET /a?b=c HTTP/1.1"
    assert fields["x-mine"] == "1"
    assert "content-type" not in fields
    assert body == b""


@pytest.mark.parametrize(
    ("charset", "text"), [("iso-8859-1", "grün"), ("no-such-charset", "gr\ufffdn"), ("utf-8", "gr\ufffdn")]
)
async def test_the_declared_charset_is_used(serve, charset, text):
    server = await serve(answer("200 OK", b"gr\xfcn", f"Content-Type: text/plain; charset={charset}"))
    assert await run(Get(server.url)) == text


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oh", "304 Not Modified", "302 Found"])
async def test_a_status_outside_2xx_fails(serve, status):
    body = b"" if status.startswith("304") else b"because " + b"x" * 100_000
    server = await serve(answer(status, body))
    error = await failure(Get(f"{server.url}/p"))
    assert str(error).startswith(f"GET {server.url}/p: status {status[:3]}")
    assert error.status == int(status[:3])
    assert len(str(error)) < 300


async def test_the_excerpt_is_200_characters(serve):
    server = await serve(answer("500 Oh", "ü".encode() * 5000))
    assert str(await failure(Get(server.url))).count("ü") == 200


async def test_secrets_of_the_url_are_not_told(serve):
    server = await serve(answer("403 Forbidden"))
    url = server.url.replace("http://", "http://me:hush@") + "/p?token=hush#hush"
    error = await failure(Get(url))
    assert str(error) == f"GET {server.url}/p?...: status 403"
    assert "authorization" in server.requests[0][1]
    assert repr(Get(url, {"Authorization": "hush"})) == (
        f"Get(url='{server.url}/p?...', timeout=30.0, connect_timeout=10.0, read_timeout=None)"
    )
    assert "hush" not in repr(Post(url, "hush")) + repr(Request("PUT", url, json="hush"))


async def test_redirects_are_followed(serve):
    def reply(server):
        if len(server.requests) <= 5:
            return answer("302 Found", b"x" * 1000, f"Location: /{len(server.requests)}")
        return answer("200 OK", b"there")

    server = await serve(reply)
    assert await run(Get(server.url)) == "there"
    assert server.requests[-1][0] == "GET /5 HTTP/1.1"


async def test_a_redirect_loop_ends(serve):
    server = await serve(answer("302 Found", b"", "Location: /"))
    assert "more than 5 redirects" in str(await failure(Get(server.url)))
    assert len(server.requests) == 6


async def test_the_endless_body_of_a_redirect_is_not_read(serve):
    async def endless():
        yield b"HTTP/1.1 302 Found\r\nLocation: /next\r\nConnection: close\r\n\r\n"
        while True:
            yield b"x" * 65536

    server = await serve(lambda server: endless() if len(server.requests) == 1 else answer("200 OK", b"ok"))
    assert await run(Get(server.url, timeout=SOON)) == "ok"


@pytest.mark.parametrize("location", ["http://[", "ftp://x/", "http://127.0.0.1:99999/"])
async def test_a_redirect_to_nowhere_fails(serve, location):
    server = await serve(answer("302 Found", b"", f"Location: {location}"))
    assert str(await failure(Get(server.url))).startswith(f"GET {server.url}: ")


async def test_a_307_sends_the_body_again(serve):
    server = await serve(lambda server: answer("307 T", b"", "Location: /b") if len(server.requests) == 1 else answer())
    await run(Post(server.url, "again"))
    assert [body for _, _, body in server.requests] == [b"again", b"again"]


async def test_a_body_over_the_cap_fails(serve, monkeypatch):
    monkeypatch.setattr(http, "BODY_CAP", 100_000)
    server = await serve(answer("200 OK", b"x" * 100_001))
    assert "the body is over 100,000 bytes" in str(await failure(Get(server.url)))
    server = await serve(answer("200 OK", b"x" * 100_000))
    assert len(await run(Get(server.url))) == 100_000


async def test_the_cap_counts_after_decompression(serve):
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    server = await serve(answer("200 OK", bomb, "Content-Encoding: gzip"))
    assert "the body is over" in str(await failure(Get(server.url)))
    server = await serve(answer("200 OK", gzip.compress(b"small"), "Content-Encoding: gzip"))
    assert await run(Get(server.url)) == "small"
    server = await serve(answer("200 OK", b"no gzip", "Content-Encoding: gzip"))
    assert "damaged or cut" in str(await failure(Get(server.url)))
    server = await serve(answer("200 OK", gzip.compress(b"small" * 9)[:-5], "Content-Encoding: gzip"))
    assert "damaged or cut" in str(await failure(Get(server.url)))
    server = await serve(answer("200 OK", b"", "Content-Encoding: gzip"))
    assert await run(Get(server.url)) == ""


async def test_a_compression_that_was_not_asked_for_fails(serve):
    for encoding in ("br", "gzip, gzip"):
        server = await serve(answer("200 OK", b"x", f"Content-Encoding: {encoding}"))
        assert f"the unwanted encoding '{encoding}'" in str(await failure(Get(server.url)))
        assert server.requests[0][1]["accept-encoding"] == "gzip"


async def test_a_refused_connection_names_the_cause():
    error = await failure(Get("http://127.0.0.1:1/"))
    assert str(error).startswith("GET http://127.0.0.1:1/: ConnectError: ")
    assert "Connection refused" in str(error)
    assert error.status is None


async def test_a_name_that_does_not_exist_and_no_tls_fail(serve):
    assert "ConnectError" in str(await failure(Get("http://no-such-name.invalid/")))
    server = await serve(answer())
    assert "ConnectError" in str(await failure(Get(server.url.replace("http:", "https:"), timeout=SOON)))


async def test_an_answer_that_is_cut_or_garbage_fails(serve):
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
    assert "RemoteProtocolError" in str(await failure(Get(server.url)))
    server = await serve(b"SSH-2.0-OpenSSH\r\n\r\n")
    assert "RemoteProtocolError" in str(await failure(Get(server.url)))


async def silent():
    await trio.sleep_forever()
    yield b""


async def drip():
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    while True:
        yield b"."
        await trio.sleep(0.02)


async def test_the_total_time_is_bounded(serve):
    """Also for a server that always sends a little."""
    for reply in (silent, drip):
        server = await serve(lambda _server, reply=reply: reply())
        error = await failure(Get(server.url, timeout=0.3))
        assert "within 0.3 s" in str(error) or "timed out" in str(error)


async def test_a_silent_server_is_left_after_the_read_time_out(serve):
    server = await serve(silent_server)
    error = await failure(Get(server.url, read_timeout=0.2))
    assert str(error) == f"GET {server.url}: timed out while waiting for the answer"


async def test_a_connect_time_out(monkeypatch):
    """A socket whose queue is full answers no further connection."""
    listener = trio.socket.socket()
    with listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        for _ in range(4):
            sock = trio.socket.socket()
            waiting.append(sock)
            with trio.move_on_after(0.1):
                await sock.connect(address)
        error = await failure(Get(f"http://127.0.0.1:{address[1]}/", connect_timeout=0.2))
        for sock in waiting:
            sock.close()
    assert "timed out while connecting" in str(error)


async def test_cancelling_ends_it(serve):
    server = await serve(silent_server)
    with trio.move_on_after(0.2) as scope:
        await Get(server.url).run(CONTEXT)
    assert scope.cancelled_caught


async def test_post_sends_the_same_body_at_every_attempt(serve):
    """Goflow's retries sent an empty one."""
    given = {"a": [1, "ü"]}
    server = await serve(answer("200 OK", b"fine"))
    operator = Post(server.url, given)
    given["a"].append("later")
    assert [await run(operator), await run(operator)] == ["fine", "fine"]
    assert [body for _, _, body in server.requests] == ['{"a": [1, "ü"]}'.encode()] * 2
    assert server.requests[0][0] == "POST / HTTP/1.1"


@pytest.mark.parametrize(
    ("make", "body", "kind"),
    [
        (Post, b"", "application/json"),
        (lambda url: Post(url, "zwölf"), "zwölf".encode(), "application/json"),
        (lambda url: Post(url, b"\0\xff"), b"\0\xff", "application/json"),
        (lambda url: Post(url, bytearray(b"x"), {"content-type": "a/b"}), b"x", "a/b"),
        (lambda url: Post(url, [1, None]), b"[1, null]", "application/json"),
        (lambda url: Post(url, json="text"), b'"text"', "application/json"),
        (lambda url: Request("put", url, json={"a": 1}), b'{"a": 1}', "application/json"),
        (lambda url: Request("patch", url, "x", {"Content-Type": "a/b"}), b"x", "a/b"),
        (lambda url: Request("DELETE", url), b"", None),
    ],
)
async def test_bodies_and_their_content_type(serve, make, body, kind):
    server = await serve(answer())
    operator = make(server.url)
    assert isinstance(operator, Operator)
    await run(operator)
    _, fields, sent = server.requests[0]
    assert (sent, fields.get("content-type")) == (body, kind)


async def test_header_the_library_refuses_fails(serve):
    server = await serve(answer())
    assert "GET http" in str(await failure(Get(server.url, {"a b": "c"})))
    assert "GET http" in str(await failure(Get(server.url, {"a": "ü\u20ac"})))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Get("example.org"), "url must be like"),
        (lambda: Get("ftp://example.org"), "url must be like"),
        (lambda: Get("http://example.org:99999/"), "url must be like"),
        (lambda: Get("http://["), "url must be like"),
        (lambda: Get(5), "url must be text"),
        (lambda: Get("http://x", timeout=0), "timeout must be a number"),
        (lambda: Get("http://x", timeout=None), "timeout must be a number"),
        (lambda: Get("http://x", read_timeout=float("nan")), "read_timeout must be"),
        (lambda: Get("http://x", {"a": "b\r\nc: d"}), "no line breaks"),
        (lambda: Get("http://x", {"a": 1}), "must be text"),
        (lambda: Post("http://x", 5), "body must be text"),
        (lambda: Post("http://x", {"a": object()}), "cannot be written as JSON"),
        (lambda: Post("http://x", json=float("nan")), "cannot be written as JSON"),
        (lambda: Post("http://x", "a", json=1), "either body or json"),
        (lambda: Request("G T", "http://x"), "method must be a word"),
    ],
)
def test_a_wrong_definition_is_refused_when_it_is_made(make, words):
    with pytest.raises(DefinitionError) as caught:
        make()
    assert words in str(caught.value)


async def test_the_client_library_is_loaded_late():
    code = "import goflow_trio.operators, sys; print('httpx2' in sys.modules)"
    result = await trio.run_process(
        [sys.executable, "-c", code],
        capture_stdout=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stdout == b"False\n"
