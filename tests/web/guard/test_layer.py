"""The guard around an app of three lines: bodies, headers, CORS, path prefix, and streams that end."""

from __future__ import annotations

import json
import logging

import pytest
import trio
from hypercorn.middleware.dispatcher import TrioDispatcherMiddleware

from goflow_trio import Security
from goflow_trio.core import limits
from goflow_trio.web.guard import Guard, caller_of
from tests.web.guard.driving import Answer, ask, make_scope

TOKEN = "operate-token-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def echo(scope, receive, send):
    """Answer with the body, and a stream under /stream."""
    if scope["type"] == "lifespan":
        await trio.sleep_forever()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await trio.sleep_forever()
    kind = b"text/event-stream" if scope["path"].endswith("stream") else b"text/plain"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    if kind == b"text/event-stream":
        await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        await trio.sleep_forever()
    body = (await receive())["body"] + f" {scope['root_path']} {scope['path']} {caller_of(scope).name}".encode()
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"operate {TOKEN} alice\nread read-token-0123456789 bob")
    file.chmod(0o600)
    return file


async def test_a_body_arrives_whole():
    headers = {"Transfer-Encoding": "chunked"}
    answer = await ask(Guard(echo, Security()), "POST", "/x", headers, body=[b"a", b"b", b"c"])
    assert answer.body == b"abc  /x "


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Length": str(limits.BODY_BYTES + 1)}, [b""]),
        ({"Content-Length": "-1"}, [b""]),
        ({"Transfer-Encoding": "chunked"}, [b"x" * 60_000] * 18),
    ],
)
async def test_a_large_body_is_refused(headers, body):
    answer = await ask(Guard(echo, Security()), "POST", "/x", headers, body=body)
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")


async def test_a_slow_body_is_refused(autojump_clock):
    async def slow():
        await trio.sleep_forever()

    messages = []

    async def send(message):
        await trio.lowlevel.checkpoint()
        messages.append(message)

    begun = trio.current_time()
    scope = make_scope("POST", "/x", {"Content-Length": "5"})
    await Guard(echo, Security())(scope, slow, send)
    assert messages[0]["status"] == 408
    assert trio.current_time() - begun == pytest.approx(limits.BODY_SECONDS)


async def test_every_answer_has_a_policy():
    for path in ("/x", "/stream-not"):
        headers = (await ask(Guard(echo, Security()), "GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "strict-transport-security" not in headers
    headers = (await ask(Guard(echo, Security()), "GET", "/x", scheme="https")).headers
    assert headers["strict-transport-security"]


async def test_cors_is_off_until_an_origin_is_named(file):
    asking = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    closed = Guard(echo, Security(token_file=file))
    assert (await ask(closed, "OPTIONS", "/x", asking)).status == 401
    answer = await ask(closed, "GET", "/x", {**asking, **BEARER})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    opened = Guard(echo, Security(token_file=file, cors_origins=["https://app.example"]))
    answer = await ask(opened, "OPTIONS", "/x", asking)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "https://app.example")
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    answer = await ask(opened, "POST", "/x", {**asking, **BEARER})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")
    answer = await ask(opened, "POST", "/x", {**BEARER, "Origin": "https://evil.example"})
    assert (answer.status, "access-control-allow-origin" in answer.headers) == (403, False)


@pytest.mark.parametrize("path", ["/flow/x", "/x"])
async def test_a_path_prefix_may_be_cut_off_by_the_proxy_or_not(path):
    answer = await ask(Guard(echo, Security(root_path="/flow/")), "GET", path)
    assert answer.body == b" /flow /flow/x "


async def test_below_a_site_it_is_as_at_the_top(file):
    """The app that it is mounted in says where, by the root path of ASGI; nobody has to say so again."""
    site = TrioDispatcherMiddleware({"/flow": Guard(echo, Security(token_file=file))})
    assert (await ask(site, "GET", "/flow/api/health")).body == b" /flow /flow/api/health "
    assert (await ask(site, "GET", "/flow", BEARER)).body == b" /flow /flow/ alice"
    assert (await ask(site, "GET", "/flow/ui/")).status == 401
    answer = await ask(site, "GET", "/flow/ui/jobs/x?a=1", {"Accept": "text/html"})
    assert b'action="/flow/ui/sign-in"' in answer.body


async def test_a_browser_is_shown_where_to_sign_in(file):
    answer = await ask(Guard(echo, Security(token_file=file)), "GET", '/ui/"><b>', {"Accept": "text/html"})
    assert answer.status == 401
    assert b'action="/ui/sign-in"' in answer.body
    assert b"<b>" not in answer.body
    assert "form-action 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_stream_ends_with_its_token(file, autojump_clock):
    guard = Guard(echo, Security(token_file=file))
    answers = {path: Answer() for path in ("/stream", "/ws")}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, guard, "LIFESPAN", "")
        nursery.start_soon(lambda: ask(guard, "GET", "/stream", BEARER, answer=answers["/stream"]))
        nursery.start_soon(lambda: ask(guard, "WS", "/ws", BEARER, answer=answers["/ws"]))
        await trio.sleep(60)
        assert [answer.messages[-1].get("more_body", True) for answer in answers.values()] == [True, True]
        file.write_text("read read-token-0123456789 bob")
        await trio.sleep(30)
        assert not guard.open
        nursery.cancel_scope.cancel()
    assert answers["/stream"].messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert answers["/ws"].messages[-1]["code"] == 1008


async def test_streams_end_when_the_server_does(autojump_clock):
    guard = Guard(echo, Security())
    answers = {path: Answer() for path in ("/stream", "/ws")}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ask(guard, "GET", "/stream", answer=answers["/stream"]))
        nursery.start_soon(lambda: ask(guard, "WS", "/ws", answer=answers["/ws"]))
        await trio.sleep(1)
        guard.end_streams()
    assert answers["/stream"].messages[-1]["more_body"] is False
    assert answers["/ws"].messages[-1]["code"] == 1001


async def test_who_did_what_is_one_line_each_without_secrets(file, caplog):
    guard = Guard(echo, Security(token_file=file))
    with caplog.at_level(logging.INFO, "goflow_trio.audit"):
        await ask(guard, "GET", "/read", BEARER)
        await ask(guard, "POST", "/do\n{}", BEARER, query=b"secret=1")
        await ask(guard, "POST", "/do", {"Authorization": "Bearer read-token-0123456789"})
        await ask(guard, "POST", "/do", {"Authorization": "Bearer wrong-token"})
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [(line["event"], line["by"], line["path"], line["status"]) for line in lines] == [
        ("request", "alice", "/do\n{}", 200),
        ("refused", "bob", "/do", 403),
        ("refused", "", "/do", 401),
    ]
    assert lines[0].keys() >= {"at", "address", "method"}
    assert not [secret for secret in ("token-0", "wrong-token", "secret=1") if secret in caplog.text]


async def test_only_http_1_is_spoken():
    answer = Answer()

    async def send(message):
        await trio.lowlevel.checkpoint()
        answer.messages.append(message)

    scope = {**make_scope("PRI", "*"), "http_version": "2.0"}
    await Guard(echo, Security())(scope, trio.sleep_forever, send)
    assert answer.status == 505
