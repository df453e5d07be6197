"""Makes responses: of an answer, in the form its route declares, and of an error.

What is read again and again costs little: a JSON answer to a GET has an `ETag`, and whoever sends it back in
`If-None-Match` gets a 304 without a body while nothing changed. Large bodies are compressed for who takes gzip.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from functools import partial
from hashlib import blake2b
from http import HTTPStatus

import trio
from quart import Response, request

from goflow_trio.web import shapes, wire
from goflow_trio.web.routes import EVENT_STREAM, JSON, Answer, Route

PROBLEM = "application/problem+json"
_CHARSET = "; charset=utf-8"
_COMPRESS_BYTES = 4 * 1024
_THREAD_BYTES = 64 * 1024
_compress = partial(gzip.compress, compresslevel=3, mtime=0)


async def respond(answer: Answer, route: Route) -> Response:
    """Return the response of an answer: JSON with Goflow's content type, a stream, or what the route says it is."""
    body = answer.body
    if isinstance(body, Response):
        return body
    if isinstance(body, AsyncIterator):
        headers = {"Cache-Control": "no-cache", **answer.headers}
        if request.method == "HEAD":
            body = b""
        return Response(body, answer.status, headers, content_type=EVENT_STREAM)
    if isinstance(body, (str, bytes)):
        kind = "text/plain" if route.content_type == JSON else route.content_type
        content_type = kind + (_CHARSET if kind.startswith("text/") else "")
        return Response(body, answer.status, answer.headers, content_type=content_type)
    data = wire.encode(body)
    response = Response(data, answer.status, answer.headers, content_type=JSON + _CHARSET)
    is_compressible = len(data) >= _COMPRESS_BYTES
    if is_compressible:
        response.vary.add("Accept-Encoding")  # of a 304 too
    if route.method == "GET" and answer.status == HTTPStatus.OK and route.role != "open":
        # Weak: the same for the compressed form.
        tag = blake2b(data, digest_size=12).hexdigest()
        response.set_etag(tag, weak=True)
        if request.if_none_match.contains_weak(tag):
            response.status_code = HTTPStatus.NOT_MODIFIED
            response.set_data(b"")
            del response.headers["Content-Length"], response.headers["Content-Type"]
            return response
    if is_compressible and request.accept_encodings["gzip"] > 0:
        large = len(data) >= _THREAD_BYTES
        response.set_data(await trio.to_thread.run_sync(_compress, data) if large else _compress(data))
        response.headers["Content-Encoding"] = "gzip"
    return response


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
