"""Drives an ASGI app without a socket."""

from __future__ import annotations

import trio

ADDRESS = "203.0.113.9"


class Answer:
    """What came back."""

    def __init__(self):
        self.messages = []
        self.wake = trio.Event()

    @property
    def status(self):
        for message in self.messages:
            if message["type"].endswith("response.start"):
                return message["status"]
            if message["type"] == "websocket.accept":
                return 101
        return None

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.messages)


def make_scope(method, path, headers=(), *, client=ADDRESS, scheme=None, query=b""):
    kind = {"WS": "websocket", "LIFESPAN": "lifespan"}.get(method, "http")
    return {
        "type": kind,
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme or ("ws" if kind == "websocket" else "http"),
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in dict(headers).items()],
        "client": (client, 5000),
        "server": ("127.0.0.1", 8181),
        "extensions": {"websocket.http.response": {}},
    }


async def ask(app, method, path, headers=(), *, body=(b"",), answer=None, **options):
    """Send one request; returns when the app has answered it."""
    answer = answer or Answer()
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    parts[-1]["more_body"] = False
    if method == "WS":
        parts = [{"type": "websocket.connect"}]

    async def receive():
        if parts:
            return parts.pop(0)
        return await trio.sleep_forever()

    async def send(message):
        await trio.lowlevel.checkpoint()
        answer.messages.append(message)
        answer.wake.set()

    await app(make_scope(method, path, headers, **options), receive, send)
    return answer
