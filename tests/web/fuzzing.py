"""Requests that no well-meaning client sends, and an in-process client that sends them without a socket between."""

from __future__ import annotations

import json
from urllib.parse import quote, unquote

import trio

from tests.patience import SOON

HOSTILE = [
    "😀👩‍👩‍👧‍👦",
    "\u202eevil\u202c",
    "a'b\"c`d",
    "<img src=x onerror=alert(1)>",
    "..",
    ".",
    "../../etc/passwd",
    "a/b",
    "a%2Fb",
    "%2e%2e%2f",
    "a\r\nSet-Cookie: x=1",
    "nul\0nul",
    "x" * 255,
    "x" * 10_000,
    "é" * 127,
    "e\u0301",
    " leading",
    "a?b#c&d=e",
    "a\\b",
    "\ue000",
    "\x1b[31mred",
    "null",
    "undefined",
    "-1",
    "'; DROP TABLE jobs; --",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "%s%s%n",
    "a;b,c",
    "+",
]
"""Names, ids and values as an attacker or an unlucky user writes them."""

VALUES = [
    "",
    "0",
    "1",
    "-1",
    "1.5",
    "1e9",
    "9" * 40,
    "NaN",
    "true",
    "null",
    "[]",
    "{}",
    "2026-01-01T00:00:00Z",
    *HOSTILE,
]

BODIES = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"0",
    b"{",
    b"\xff\xfe\x00",
    b"[" * 2000,
    b'{"a":' * 2000,
    b'{"params":{"day":"x"}}',
    b'{"params":{"day":NaN}}',
    b'{"params":{"day":1e999}}',
    b'{"params":{"day":"\\ud800"}}',
    b'{"params":[]}',
    b'{"params":{},"params":{}}',
    b'{"from":"start"}',
    b'{"from":7}',
    b'{"task":"b"}',
    b'{"approved":"yes"}',
    b'{"until":"2100-01-01T00:00:00Z"}',
    b'{"until":"9999-12-31T23:59:59.999999+14:00"}',
    b'{"until":"0001-01-01T00:00:00-14:00"}',
    b'[{"job":"noop-1"}]',
    b'[{"job":"noop-1","params":{"x":{}}}]',
    b'[{"job":7}]',
    b'[{"job":"nope","idempotencyKey":""}]',
    b"x" * 100_000,
]


def draw_request(rng, description, ids):
    """Return a random request: mostly a described route, with parts, query, headers and body that may be anything.

    Args:
        rng: the source of randomness.
        description: the OpenAPI document.
        ids: real names and ids, so that not everything is a 404.

    Returns:
        Method, raw path, query string, headers, body, and the path as it is described (None if it is not).
    """
    template = rng.choice(list(description["paths"]))
    operations = description["paths"][template]
    method = rng.choice([*(name.upper() for name in operations)] * 8 + ["PUT", "DELETE", "PATCH", "HEAD", "get", "X"])
    path = template
    while "{" in path:
        begin, end = path.index("{"), path.index("}") + 1
        value = rng.choice(ids) if rng.random() < 0.5 else rng.choice(HOSTILE)
        path = path[:begin] + quote(value, safe="") + path[end:]
    if rng.random() < 0.1:
        template = None
        path = rng.choice(
            [path + "/", "/" + path, path + "/x", path.upper(), path[:-1] or "/", "/" + quote(rng.choice(HOSTILE))]
        )
    names = [parameter["name"] for operation in operations.values() for parameter in operation["parameters"]]
    query = "&".join(f"{quote(rng.choice([*names, 'x']))}={quote(rng.choice(VALUES))}" for _ in range(rng.randrange(4)))
    headers = {}
    for name in ("Idempotency-Key", "Last-Event-ID", "Range", "If-None-Match", "Accept-Encoding", "Accept", "X"):
        if rng.random() < 0.15:
            headers[name] = rng.choice(VALUES).encode("utf-8", "replace")[:2000].replace(b"\r", b"").replace(b"\n", b"")
    if rng.random() < 0.7:
        headers["Content-Type"] = rng.choice(
            [b"application/json"] * 6 + [b"text/plain", b"", b"a/b; c=\xff", b"multipart/form-data"]
        )
    return method, path, query.encode(), headers, rng.choice(BODIES), template


async def ask(app, method, path, *, query=b"", headers=None, body=b""):
    """Send one request into an ASGI app; return status, headers and the body, of a stream its first part."""
    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode(), value) for name, value in (headers or {}).items()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8181),
        "state": {},
        "extensions": {},
    }
    sent = []
    gone = trio.Event()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if message["type"] == "http.response.body" and message.get("body") and is_stream(sent[0]):
            gone.set()
            await trio.sleep_forever()

    with trio.fail_after(SOON):
        await app(scope, receive, send)
    found = {name.decode().lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def is_stream(start):
    return any(value == b"text/event-stream" for _, value in start["headers"])


def is_problem(headers, body):
    """Return whether an answer is an error as all of ours are."""
    if headers.get("content-type") != "application/problem+json":
        return False
    return {"type", "title", "status", "detail"} <= set(json.loads(body))
