"""The Quart-Trio app: its parts, the one table from errors to statuses, and what every answer has in common."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from quart import Response, has_request_context, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import WebsocketMismatch

from goflow_trio.actors.engine import Engine
from goflow_trio.core import limits
from goflow_trio.errors import (
    CodecError,
    DefinitionError,
    EngineClosed,
    EngineDraining,
    GoflowError,
    NotFound,
    Overloaded,
    ParamsError,
    StoreError,
    StoreUnavailable,
    TooManySubscribers,
    UsageError,
    WrongState,
)
from goflow_trio.web import (
    api,
    backfills,
    calendar,
    context,
    docs,
    executions,
    grid,
    hooks,
    metrics,
    operating,
    overview,
    runs,
    stream,
    system,
    tasks,
)
from goflow_trio.web.answering import problem, respond
from goflow_trio.web.guard import routes as sessions
from goflow_trio.web.guard.rules import Refused
from goflow_trio.web.names import NameConverter, keep_slashes, quoted
from goflow_trio.web.pages import make_pages
from goflow_trio.web.reading import UnsupportedBody
from goflow_trio.web.routes import Routes, bind
from goflow_trio.web.socket import QuartSocket

logger = logging.getLogger("goflow_trio.web")

ROUTES: tuple[Routes, ...] = (
    api.routes,
    hooks.routes,
    executions.routes,
    tasks.routes,
    backfills.routes,
    operating.routes,
    overview.routes,
    system.routes,
    runs.routes,
    grid.routes,
    calendar.routes,
    context.routes,
    stream.routes,
    sessions.routes,
    metrics.routes,
    docs.routes,
)
"""All declared routes."""

STATUS: tuple[tuple[type[GoflowError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (DefinitionError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (UnsupportedBody, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (ParamsError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (WrongState, HTTPStatus.CONFLICT),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (TooManySubscribers, HTTPStatus.SERVICE_UNAVAILABLE),
    (EngineDraining, HTTPStatus.SERVICE_UNAVAILABLE),
    (Overloaded, HTTPStatus.TOO_MANY_REQUESTS),
    (EngineClosed, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (CodecError, HTTPStatus.GONE),  # a damaged record: it was set aside
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The status of each error; the first row that fits counts."""


def create_app(engine: Callable[[], Engine], *, dashboard: bool = True) -> QuartTrio:
    """Return the app.

    Args:
        engine: returns the running engine; raises `EngineClosed` while there is none.
        dashboard: whether the pages are served.
    """
    app = QuartTrio("goflow_trio", static_folder=None)
    app.asgi_websocket_class = QuartSocket
    app.config["MAX_CONTENT_LENGTH"] = limits.BODY_BYTES
    app.config["BODY_TIMEOUT"] = limits.BODY_SECONDS
    app.config["RESPONSE_TIMEOUT"] = None  # a stream is a response that takes as long as it is read
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.converters["default"] = app.url_map.converters["name"] = NameConverter
    app.url_map.merge_slashes = False  # or `//host/…` would be answered with a redirect to another host
    app.extensions["goflow_trio.routes"] = ROUTES
    bind(app, ROUTES, engine, respond)
    app.asgi_app = keep_slashes(app.asgi_app)  # type: ignore[method-assign]
    app.register_blueprint(sessions.make_sign_in())
    if dashboard:
        app.register_blueprint(make_pages(engine))
    app.register_error_handler(GoflowError, _answer_error)
    app.register_error_handler(Refused, _answer_refusal)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)
    return app


async def _answer_error(error: GoflowError) -> Response:
    status = next(status for kind, status in STATUS if isinstance(error, kind))
    headers = {"Retry-After": "1"} if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS} else {}
    return problem(status, str(error), headers, error.fields if isinstance(error, ParamsError) else None)


async def _answer_refusal(refused: Refused) -> Response:
    return problem(refused.status, refused.detail, dict(refused.headers))


async def _answer_http_error(error: HTTPException) -> Any:
    """Answer as Goflow does where it has an answer: no route and no such method are one and the same 404."""
    if error.code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED} and not has_request_context():
        return Response("404 page not found", 404, content_type="text/plain")
    if isinstance(error, WebsocketMismatch):
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return problem(HTTPStatus.UPGRADE_REQUIRED, f"{request.path} is a WebSocket: connect to it as one", upgrade)
    if error.code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        bare = request.path.rstrip("/")
        if bare != request.path and bare and _matches(bare):
            return _redirect(request.script_root + quoted(bare))
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
    asked = f"{request.method} {request.path!r}" if has_request_context() else f"WebSocket {websocket.path!r}"
    logger.error("error %s in %s", number, asked, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"an internal error; the server's log has it as {number}")
