"""The guard itself: an ASGI layer that lets a request through to the app, or answers it.

It knows of each request being answered and who asked, so that a stream ends when its token is revoked or expires: every
`limits.REVOKED_SECONDS` all of them are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import trio
from attrs import define

from goflow_trio.core import limits
from goflow_trio.web.guard import audit
from goflow_trio.web.guard.answers import (
    HEADERS,
    OVER_TLS,
    PAGE_HEADERS,
    refusal,
    sign_in_page,
    wants_page,
)
from goflow_trio.web.guard.caller import ANYBODY, UNPROVEN, Caller
from goflow_trio.web.guard.callers import Callers
from goflow_trio.web.guard.proxies import believe_proxy
from goflow_trio.web.guard.rules import SAFE, Refused, check_host, check_origin, check_size
from goflow_trio.web.guard.settings import Security
from goflow_trio.web.guard.tokens import Role

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

SIGN_IN = "/ui/sign-in"
"""Where the form of the guard's own page for signing in goes."""

PUBLIC = frozenset({("GET", "/api/health"), ("POST", "/api/login"), ("POST", "/api/logout"), ("POST", SIGN_IN)})
"""What is answered without a token."""

HOOK = re.compile(rb"/api/jobs/[^/]+/hook")
"""Raw paths, in which a slash of a name is `%2F`, where a POST needs no token of the server: the route asks for the
job's own. Nobody is identified there, so that the token of a job is not counted as a wrong one of the server."""

CALLER = "goflow_trio.caller"
CALLERS = "goflow_trio.callers"
"""Where an ASGI scope has who calls, and everybody who may."""

_CORS_METHODS = "GET, POST, PUT, PATCH, DELETE"
_CORS_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID"
_CORS_EXPOSED = "ETag, Retry-After, Location"
_POLICY_VIOLATION = 1008
_GOING_AWAY = 1001


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Return who sent a request; anybody where no guard stands before the app."""
    caller = scope.get(CALLER, ANYBODY)
    assert isinstance(caller, Caller)
    return caller


@define(eq=False)
class _Open:
    """A request being answered."""

    caller: Caller
    asked: Mapping[str, Any]
    scope: trio.CancelScope
    is_stream: bool = False
    has_started: bool = False
    has_ended: bool = False
    status: int = 0
    close_code: int = _POLICY_VIOLATION


class Guard:
    """Stands before an ASGI app.

    Args:
        app: the app.
        security: the settings.
        now: the wall clock.

    Raises:
        UsageError: the token file cannot be used.
    """

    def __init__(self, app: App, security: Security, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.app = app
        self.security = security
        self.callers = Callers(security, now, _monotonic)
        self.open: set[_Open] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] in {"http", "websocket"}:
            await _Request(self, dict(scope), receive, send).answer()

    async def _live(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Look after open streams for as long as the app lives."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await self.app(scope, receive, send)
            nursery.cancel_scope.cancel()

    async def _watch(self) -> None:
        while True:
            await trio.sleep(limits.REVOKED_SECONDS)
            for request in list(self.open):
                if not self.callers.is_valid(request.caller, request.asked):
                    request.scope.cancel()

    def end_streams(self) -> None:
        """End the streams that are open, because the server ends."""
        for request in list(self.open):
            if request.is_stream:
                request.close_code = _GOING_AWAY
                request.scope.cancel()


class _Request:
    """One request on its way through the guard."""

    def __init__(self, guard: Guard, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._guard = guard
        self._scope = scope
        self._receive = receive
        self._send = send
        self._caller = ANYBODY
        self._is_websocket = scope["type"] == "websocket"
        self._method: str = "GET" if self._is_websocket else scope["method"]
        target = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
        self._size = target, scope["headers"]
        security = guard.security
        believe_proxy(scope, security.forwarded_allow_ips)
        self._headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        self._address: str = (scope.get("client") or ("",))[0]
        self._path: str = scope["path"]
        root = self._root = security.root_path or scope.get("root_path", "").rstrip("/")
        if root:  # a proxy may have cut it off, or not; an app that we are mounted in has not
            if self._path == root or self._path.startswith(root + "/"):
                self._path = self._path[len(root) :] or "/"
            scope["root_path"] = root
            scope["path"] = root + self._path
            raw = scope.get("raw_path") or b""
            if not raw.startswith(root.encode()):
                scope["raw_path"] = root.encode() + raw
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
        is_hook = self._method == "POST" and HOOK.fullmatch(raw, len(root)) is not None
        sign_in = security.sign_in
        self._is_asked_there = is_hook or (bool(sign_in) and self._path.startswith(sign_in))
        self._is_public = (self._method, self._path) in PUBLIC and not self._is_websocket
        self._origin = self._headers.get("origin", "")
        self._may_read = self._origin.lower() in security.cors_origins

    async def answer(self) -> None:
        """Check, then pass on or refuse."""
        try:
            self._check()
            if self._is_preflight():
                await self._reply(HTTPStatus.NO_CONTENT, self._preflight(), b"")
                return
            self._let_in()
            receive = self._receive if self._is_websocket else await self._body()
        except Refused as refused:
            await self._refuse(refused)
            return
        if receive is None:
            return  # the caller left
        self._scope[CALLER] = self._caller
        self._scope[CALLERS] = self._guard.callers
        await self._pass(receive)

    # What is checked --------------------------------------------------------------------------------

    def _check(self) -> None:
        security, scope = self._guard.security, self._scope
        if scope.get("http_version", "1.1") not in {"1.0", "1.1", "2", "3"}:
            raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
        check_size(*self._size)
        own = (scope.get("server") or ("",))[0] or ""
        check_host(self._headers.get("host"), own, security.allowed_hosts)
        if self._is_websocket or self._method not in SAFE:
            check_origin(scope["scheme"], self._headers, security.cors_origins)

    def _let_in(self) -> None:
        """Find out who calls, and refuse what they may not do."""
        if self._is_asked_there:
            self._caller = UNPROVEN
            return
        try:
            self._caller = self._guard.callers.identify(self._scope, self._headers, self._address)
        except Refused:
            if self._is_public:
                return
            raise
        if self._method not in SAFE and self._caller.role is not Role.OPERATE and not self._is_public:
            raise Refused(
                HTTPStatus.FORBIDDEN,
                f"{self._caller.name} has the role {self._caller.role}; this needs the role operate",
            )

    async def _body(self) -> Receive | None:
        """Return a receive that has the whole body at once; None if the caller left before it was there.

        Raises:
            Refused: it is too large or too slow.
        """
        length = self._headers.get("content-length", "0")
        too_large = Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {limits.BODY_BYTES} bytes")
        if not length.isdecimal() or int(length) > limits.BODY_BYTES:
            raise too_large
        if int(length) == 0 and "transfer-encoding" not in self._headers:
            return self._receive
        body = bytearray()
        with trio.move_on_after(limits.BODY_SECONDS):
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if len(body) > limits.BODY_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    return _replay({"type": "http.request", "body": bytes(body), "more_body": False}, self._receive)
        detail = f"the body took longer than {limits.BODY_SECONDS:g} s"
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, detail, {"Connection": "close"})

    # CORS -------------------------------------------------------------------------------------------

    def _is_preflight(self) -> bool:
        return (
            self._method == "OPTIONS"
            and not self._is_websocket
            and self._may_read
            and "access-control-request-method" in self._headers
        )

    def _preflight(self) -> dict[str, str]:
        return {
            "Access-Control-Allow-Methods": _CORS_METHODS,
            "Access-Control-Allow-Headers": _CORS_HEADERS,
            "Access-Control-Max-Age": "600",
        }

    # What is answered -------------------------------------------------------------------------------

    async def _pass(self, receive: Receive) -> None:
        request = _Open(self._caller, self._scope, trio.CancelScope(), is_stream=self._is_websocket)
        self._guard.open.add(request)
        try:
            with request.scope:
                await self._guard.app(self._scope, receive, self._watched(request))
        finally:
            self._guard.open.discard(request)
            if self._method not in SAFE and not self._is_public:
                self._tell("request", request.status)
        if request.scope.cancelled_caught and not request.has_ended:
            await self._cut(request)

    def _watched(self, request: _Open) -> Send:
        """Return a send that adds what every answer carries, and notes how far the answer is."""

        async def send(message: Message) -> None:
            kind = message["type"]
            if kind in {"http.response.start", "websocket.http.response.start", "websocket.accept"}:
                message = {**message, "headers": self._completed(message.get("headers", []))}
                request.has_started = True
                request.status = message.get("status", 101)
                content = dict(message["headers"]).get(b"content-type", b"")
                request.is_stream |= content.startswith(b"text/event-stream")
            elif kind == "websocket.close" or (kind == "http.response.body" and not message.get("more_body", False)):
                request.has_ended = True
            await self._send(message)

        return send

    async def _cut(self, request: _Open) -> None:
        """End the answer to a request that was cut off."""
        if self._is_websocket:
            reason = "the token is no longer valid" if request.close_code == _POLICY_VIOLATION else "the server ends"
            await self._send({"type": "websocket.close", "code": request.close_code, "reason": reason})
        elif request.has_started:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._refuse(Refused(HTTPStatus.UNAUTHORIZED, "the token is no longer valid"))

    def _completed(self, given: Any) -> list[tuple[bytes, bytes]]:
        headers = [(bytes(name).lower(), bytes(value)) for name, value in given]
        present = {name for name, _ in headers}
        wanted = dict(HEADERS)
        if self._scope["scheme"] in {"https", "wss"}:
            wanted |= OVER_TLS
        if self._guard.callers.are_known:
            wanted["cache-control"] = "private, no-cache"
        headers += [(name.encode(), value.encode()) for name, value in wanted.items() if name.encode() not in present]
        if self._guard.security.cors_origins:
            headers.append((b"vary", b"Origin"))
        if self._may_read:
            headers += [
                (b"access-control-allow-origin", self._origin.encode("latin1")),
                (b"access-control-expose-headers", _CORS_EXPOSED.encode()),
            ]
        return headers

    async def _refuse(self, refused: Refused) -> None:
        self._tell("refused", int(refused.status), detail=refused.detail)
        security = self._guard.security
        can_sign_in = bool(security.sign_in) or security.token_file is not None
        if can_sign_in and not self._is_websocket and wants_page(self._headers, self._method, refused):
            query = self._scope["query_string"].decode("latin1")
            after = self._root + self._path + (f"?{query}" if query else "")
            if security.sign_in:
                there = f"{self._root}{security.sign_in}?next={quote(after, safe='')}"
                await self._reply(HTTPStatus.SEE_OTHER, {"Location": there, "Cache-Control": "no-store"}, b"")
                return
            page = sign_in_page(self._root, after)
            await self._reply(refused.status, {**refused.headers, **PAGE_HEADERS}, page)
        else:
            await self._reply(refused.status, *refusal(refused))

    async def _reply(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes) -> None:
        kind = "http.response"
        if self._is_websocket:
            if "websocket.http.response" not in self._scope.get("extensions", {}):
                await self._send({"type": "websocket.close", "code": _POLICY_VIOLATION})
                return
            kind = "websocket.http.response"
        given = [(name.lower().encode(), value.encode("latin1", "replace")) for name, value in headers.items()]
        given.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": f"{kind}.start", "status": int(status), "headers": self._completed(given)})
        await self._send({"type": f"{kind}.body", "body": body, "more_body": False})

    def _tell(self, event: str, status: int, **more: str) -> None:
        audit.tell(
            event,
            by=self._caller.name,
            address=self._address,
            method=self._method,
            path=self._path,
            status=status,
            **more,
        )


def _replay(first: Message, receive: Receive) -> Receive:
    """Return a receive that gives a message and then goes on with another receive."""
    kept = [first]

    async def replayed() -> Message:
        return kept.pop() if kept else await receive()

    return replayed


def _monotonic() -> float:
    return trio.current_time()
