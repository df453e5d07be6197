"""Routes x tokens x Host x Origin, walked from the app's own table of routes: none is forgotten.

Behind the guard stands a middleware that notes what reached it, so that a refusal is proved to come before the app.
"""

from __future__ import annotations

import re
from itertools import count, product

import pytest

from goflow_trio import Goflow, Security
from goflow_trio.web.app import ROUTES
from goflow_trio.web.guard import tokens
from goflow_trio.web.guard.layer import HOOK, PUBLIC
from tests.web.guard.driving import ask

TOKENS = ("none", "bad", "expired", "revoked", "read", "operate", "cookie-read", "cookie-operate", "cookie-over")
HOSTS = {"own": "127.0.0.1:8181", "localhost": "localhost", "foreign": "evil.example", "odd": "127.0.0.1@evil.example"}
ORIGINS = {
    "none": {},
    "same": {"Origin": "http://{host}", "Sec-Fetch-Site": "same-origin"},
    "typed": {"Sec-Fetch-Site": "none"},
    "foreign": {"Origin": "https://evil.example"},
    "foreign, new browser": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "another port": {"Origin": "http://127.0.0.1:9999", "Sec-Fetch-Site": "same-site"},
    "null": {"Origin": "null"},
}
ADDRESSES = (f"198.51.{number // 250}.{number % 250}" for number in count())


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "_LOOK_AGAIN_SECONDS", 0)
    file = tmp_path / "tokens"
    lines = [
        "read    read-token-0123456789     reader",
        "operate operate-token-0123456789  operator",
        "operate expired-token-0123456789  late      2020-01-01",
    ]
    file.write_text("\n".join([*lines, "operate revoked-token-0123456789 gone", "read over-token-0123456789 over"]))
    file.chmod(0o600)
    reached = []

    def note(app):
        async def noted(scope, receive, send):
            reached.append(scope["path"])
            if scope["path"] in {"/api/login", "/api/logout", "/ui/sign-in"}:
                await app(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.accept"})
            else:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b""})

        return noted

    gf = Goflow(security=Security(token_file=file))
    gf.use(note)
    cookies = {}
    for name in ("read", "operate", "over"):
        body = b'{"token":"%s-token-0123456789"}' % name.encode()
        answer = await ask(gf.app, "POST", "/api/login", {"Content-Length": str(len(body))}, body=[body])
        cookies[name] = answer.headers["set-cookie"].split(";")[0]
    file.write_text("\n".join(lines))
    return gf.app, reached, cookies


def routes(app):
    """Return every method and path of the table; parameters are filled in."""
    table = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]*>", "x", rule.rule)
        for method in {"WS"} if rule.websocket else rule.methods:
            table.add((method, path))
    return sorted(table)


def headers_of(token, host, origin, cookies):
    headers = {"Host": host}
    headers |= {name: value.format(host=host) for name, value in origin.items()}
    if token.startswith("cookie-"):
        headers["Cookie"] = f"other=1; {cookies[token.removeprefix('cookie-')]}"
    elif token != "none":
        headers["Authorization"] = f"Bearer {token}-token-0123456789"
    return headers


def is_hook(method, path):
    """Return whether a route asks for a token of its own; `test_hooks` proves that it does."""
    return method == "POST" and HOOK.fullmatch(path.encode()) is not None


def expected(method, path, token, host, origin):
    """Return the status of a refusal; None if it is let through."""
    is_unsafe = method not in {"GET", "HEAD", "OPTIONS"}
    if host in {"foreign", "odd"}:
        return 421
    if is_unsafe and origin not in {"none", "same", "typed"}:
        return 403
    if (method, path) in PUBLIC or is_hook(method, path):
        return None
    if token in {"none", "bad", "expired", "revoked", "cookie-over"}:
        return 401
    if is_unsafe and method != "WS" and "read" in token:
        return 403
    return None


async def test_every_route_is_guarded(world):
    app, reached, cookies = world
    table = [*routes(app), ("GET", "/not/a/route"), ("DELETE", "/api/health"), ("GET", "/api/health/")]
    assert [route for route in table if is_hook(*route)] == [("POST", "/api/jobs/x/hook")]
    assert {("WS", "/api/ws"), ("GET", "/stream"), ("GET", "/api/docs"), ("GET", "/ui/")} <= set(table)
    asked = 0
    for (method, path), token, host, origin in product(table, TOKENS, HOSTS, ORIGINS):
        case = method, path, token, host, origin
        reached.clear()
        headers = headers_of(token, HOSTS[host], ORIGINS[origin], cookies)
        if path == "/api/logout":
            headers.pop("Cookie", None)  # signing out is tested elsewhere
        answer = await ask(app, method, path, headers, client=next(ADDRESSES))
        status = expected(*case)
        if status is None:
            assert reached, case
            assert path in {"/api/login", "/ui/sign-in"} or answer.status in {101, 200}, case
        else:
            assert (answer.status, reached) == (status, []), case
        asked += 1
    assert asked == len(table) * len(TOKENS) * len(HOSTS) * len(ORIGINS)
    assert asked > 5_000


def test_what_routes_declare_is_what_the_guard_holds_them_to():
    for group in ROUTES:
        for route in group.routes:
            if (route.method, route.path) in PUBLIC:
                assert route.role == "open"
            elif is_hook(route.method, route.path):
                assert route.role == "hook"
            else:
                assert route.role == ("read" if route.method in {"GET", "WEBSOCKET"} else "operate"), route.path


async def test_a_revoked_session_is_over_and_so_is_one_that_signed_out(world):
    app, reached, cookies = world
    assert (await ask(app, "GET", "/api/jobs", {"Cookie": cookies["over"]})).status == 401
    assert (await ask(app, "POST", "/api/logout", {"Cookie": cookies["read"]})).status == 200
    reached.clear()
    assert (await ask(app, "GET", "/api/jobs", {"Cookie": cookies["read"]})).status == 401
    assert not reached
    assert (await ask(app, "GET", "/api/jobs", {"Cookie": cookies["operate"]})).status == 200


async def test_without_tokens_everybody_may_but_not_from_everywhere():
    reached = []

    def note(app):
        async def noted(scope, receive, send):
            reached.append(scope["path"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return noted

    gf = Goflow()
    gf.use(note)
    for host, origin in product(HOSTS, ORIGINS):
        headers = headers_of("none", HOSTS[host], ORIGINS[origin], {})
        answer = await ask(gf.app, "POST", "/api/jobs/x/submit", headers)
        assert answer.status == (expected("POST", "/", "operate", host, origin) or 200)
    assert len(reached) == 2 * 3
