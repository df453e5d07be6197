"""Where a browser exchanges a token for a session, and anybody asks who they are."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs

from msgspec import Meta, Struct
from quart import Blueprint, Response, request
from werkzeug.http import dump_cookie

from goflow_trio.core import limits
from goflow_trio.errors import UsageError
from goflow_trio.web import wire
from goflow_trio.web.guard.answers import PAGE_HEADERS, sign_in_page
from goflow_trio.web.guard.audit import tell_audit
from goflow_trio.web.guard.caller import ANYBODY, Caller
from goflow_trio.web.guard.callers import Callers
from goflow_trio.web.guard.layer import CALLERS, SIGN_IN, caller_of
from goflow_trio.web.guard.rules import Refused
from goflow_trio.web.guard.sessions import COOKIE
from goflow_trio.web.guard.tokens import Role
from goflow_trio.web.routes import Answer, Routes
from goflow_trio.web.shapes import Maybe

routes = Routes("sessions")


class SignIn(Struct, forbid_unknown_fields=True):
    """What a session begins with."""

    token: Annotated[str, Meta(description="a token of the token file")]


class Session(Struct):
    """Who calls, and what they may do."""

    name: str
    role: Role
    expires: Maybe
    authentication: Annotated[bool, Meta(description="whether tokens are asked for at all")]


class SignedOut(Struct):
    """The session is over."""

    success: bool


@routes.post("/api/login", role="open", errors=[401], lenient=True)
async def login(body: SignIn) -> Answer | Session:
    """Begin a session: a token for a cookie, which is HttpOnly and SameSite=Strict."""
    cookie, caller = _sign_in(body.token)
    return Answer(_session(caller), headers=_set_cookie(cookie))


@routes.post("/api/logout", role="open")
async def logout() -> Answer | SignedOut:
    """End the session of the cookie."""
    caller = caller_of(request.scope)
    _callers().sign_out({"cookie": request.headers.get("Cookie", "")})
    tell_audit(request.scope, "sign-out", by=caller.name, status=200)
    return Answer(SignedOut(success=True), headers=_set_cookie(""))


@routes.get("/api/session")
async def session() -> Session:
    """Who calls, and what they may do."""
    return _session(caller_of(request.scope))


def make_sign_in() -> Blueprint:
    """Return where the guard's own page for signing in sends its form."""
    pages = Blueprint("sign_in", __name__)

    @pages.post(SIGN_IN)
    async def sign_in() -> Response:
        text = (await request.get_data()).decode("utf-8", "replace")  # type: ignore[union-attr]  # bytes by default
        form = {name: values[-1] for name, values in parse_qs(text, max_num_fields=10).items()}
        after = _own_path(form.get("next", ""))
        try:
            cookie, _ = _sign_in(form.get("token", ""))
        except Refused as refused:
            page = sign_in_page(request.script_root, after, refused.detail)
            return Response(page, int(refused.status), {**refused.headers, **PAGE_HEADERS})
        return Response(b"", 303, {"Location": after, **_set_cookie(cookie)})

    return pages


def _sign_in(token: str) -> tuple[str, Caller]:
    try:
        cookie, found = _callers().sign_in(token.strip(), _address())
    except Refused as refused:
        tell_audit(request.scope, "refused sign-in", by="", status=int(refused.status))
        raise
    caller = ANYBODY if found is None else Caller(found.name, found.role, found)
    tell_audit(request.scope, "sign-in", by=caller.name, status=200)
    return cookie, caller


def _callers() -> Callers:
    callers = request.scope.get(CALLERS)
    if not isinstance(callers, Callers):
        raise UsageError("no guard stands before this app, so there is nothing to sign in to")
    return callers


def _session(caller: Caller) -> Session:
    expires = caller.token.expires if caller.token else None
    return Session(caller.name, caller.role, wire.timestamp(expires), _callers().are_known)


def _own_path(path: str) -> str:
    """Return a path of this server to go on to, never an address elsewhere."""
    is_path = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if is_path and path.isprintable() and path.isascii() else f"{request.script_root}/"


def _set_cookie(value: str) -> dict[str, str]:
    """Return the headers that set our cookie; an empty value takes it away."""
    attributes: dict[str, Any] = {
        "max_age": int(limits.SESSION_SECONDS) if value else 0,
        "path": f"{request.script_root}/",
        "secure": request.scheme == "https",
        "httponly": True,
        "samesite": "Strict",
    }
    return {"Set-Cookie": dump_cookie(COOKIE, value, **attributes), "Cache-Control": "no-store"}


def _address() -> str:
    return str((request.scope.get("client") or ("",))[0])
