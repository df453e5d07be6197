"""The Quart-Trio app: its parts, the one table from errors to statuses, and what every answer has in common."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from goflow_trio.actors.engine import Engine
from goflow_trio.errors import (
    DefinitionError,
    EngineClosed,
    GoflowError,
    NotFound,
    Overloaded,
    StoreError,
    StoreUnavailable,
    UsageError,
)
from goflow_trio.web import wire
from goflow_trio.web.api import make_api
from goflow_trio.web.pages import make_pages
from goflow_trio.web.stream import make_streams

logger = logging.getLogger("goflow_trio.web")

STATUS: tuple[tuple[type[GoflowError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (DefinitionError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (Overloaded, HTTPStatus.TOO_MANY_REQUESTS),
    (EngineClosed, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The status of each error; the first row that fits counts."""

_BODY_BYTES = 1024 * 1024


def create_app(engine: Callable[[], Engine], *, dashboard: bool = True) -> QuartTrio:
    """Return the app.

    Args:
        engine: returns the running engine; raises `EngineClosed` while there is none.
        dashboard: whether the pages are served.
    """
    app = QuartTrio("goflow_trio", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _BODY_BYTES
    app.config["BODY_TIMEOUT"] = 10
    app.config["RESPONSE_TIMEOUT"] = None  # a stream is a response that takes as long as it is read
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.register_blueprint(make_api(engine))
    app.register_blueprint(make_streams(engine))
    if dashboard:
        app.register_blueprint(make_pages(engine))
    app.register_error_handler(GoflowError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)
    return app


def problem(status: HTTPStatus, detail: str, **headers: str) -> Response:
    """Return an error as `application/problem+json` (RFC 9457)."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    return Response(wire.encode(body), int(status), headers, content_type="application/problem+json")


async def _answer_error(error: GoflowError) -> Response:
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    headers = {"Retry-After": "1"} if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS} else {}
    return problem(status, str(error), **headers)


async def _answer_http_error(error: HTTPException) -> Any:
    """Answer as Goflow does where it has an answer: no route and no such method are one and the same 404."""
    if isinstance(error, RequestRedirect):
        return _redirect(error.new_url)
    if error.code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        bare = request.path.rstrip("/")
        if bare != request.path and bare and _matches(bare):
            return _redirect(request.script_root + bare)
        return Response("404 page not found", 404, content_type="text/plain")
    return problem(HTTPStatus(error.code or 500), error.description or "")


def _matches(path: str) -> bool:
    from quart import current_app  # noqa: PLC0415

    adapter = current_app.url_map.bind("")
    return adapter.test(path, request.method)


def _redirect(location: str) -> Response:
    if request.method == "GET":
        body = f'<a href="{location}">Moved Permanently</a>.\n\n'
        return Response(body, 301, {"Location": location}, content_type="text/html; charset=utf-8")
    return Response("", 307, {"Location": location})


async def _answer_bug(error: Exception) -> Response:
    number = uuid.uuid4().hex[:12]
    logger.error("error %s in %s %s", number, request.method, request.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"an internal error; the server's log has it as {number}")
