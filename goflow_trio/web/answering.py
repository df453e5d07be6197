"""Makes responses: of an answer, in the form its route declares, and of an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus

from quart import Response

from goflow_trio.web import shapes, wire
from goflow_trio.web.routes import EVENT_STREAM, JSON, Answer, Route

PROBLEM = "application/problem+json"
_CHARSET = "; charset=utf-8"


async def respond(answer: Answer, route: Route) -> Response:
    """Return the response of an answer: JSON with Goflow's content type, a stream, or what the route says it is."""
    body = answer.body
    if isinstance(body, AsyncIterator):
        headers = {"Cache-Control": "no-cache", **answer.headers}
        return Response(body, answer.status, headers, content_type=EVENT_STREAM)
    if route.content_type != JSON and isinstance(body, (str, bytes)):
        return Response(body, answer.status, answer.headers, content_type=route.content_type + _CHARSET)
    return Response(wire.encode(body), answer.status, answer.headers, content_type=JSON + _CHARSET)


def problem(
    status: HTTPStatus, detail: str, headers: dict[str, str] | None = None, errors: dict[str, str] | None = None
) -> Response:
    """Return an error as `application/problem+json` (RFC 9457).

    Args:
        status: the status.
        detail: the one line that names the thing, the rule and the mend.
        headers: further headers.
        errors: what is wrong with each field, where it is about several.
    """
    body = shapes.Problem("about:blank", status.phrase, int(status), detail)
    if errors:
        body.errors = errors
    return Response(wire.encode(body), int(status), headers, content_type=PROBLEM)
