"""The operators that make an HTTP request: `Get`, `Post` and `Request`. They return the body as text.

Everything is bounded, as the server at the other end may be slow, hostile or endless: the time for the whole request,
the size of the body after decompression, the number of redirects. What goes wrong becomes a `RequestFailed`;
exceptions of the client library never leave this file. Credentials and query strings do not appear in messages or in
a `repr`.
"""

from __future__ import annotations

import codecs
import functools
import json as json_text
import math
import ssl
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio
from attrs import field, frozen

from goflow_trio.errors import DefinitionError, RequestFailed
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.secrets import Secret, revealed

if TYPE_CHECKING:
    import httpx2

BODY_CAP = 10 * 1024 * 1024
"""Bytes a body may have, after decompression."""

ENCODINGS = frozenset({"identity", "gzip"})
"""Compressions that are asked for and read. They are undone here, never beyond the cap: the library would first undo
whole pieces of whatever the server likes, and a small piece can grow without limit."""

MAX_REDIRECTS = 5
"""Redirects that are followed."""

EXCERPT = 200
"""Characters of the body that the message of a `RequestFailed` shows."""


def shown(url: str) -> str:
    """Give a URL without what may be secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")


def _check_url(_instance: object, _attribute: object, url: Any) -> None:
    """Refuse what is no http or https URL, where it is written."""
    if not isinstance(url, str):
        raise DefinitionError(f"url must be text, got {type(url).__name__}")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise DefinitionError("url must be like https://example.org/path, with a host and a valid port")


def _check_seconds(_instance: object, attribute: Any, seconds: object) -> None:
    """Refuse a time-out that would be none, or over before it began."""
    if seconds is None and attribute.default is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise DefinitionError(f"{attribute.name} must be a number of seconds over 0, got {seconds!r}")


def _method(value: object) -> str:
    """Take a method in capitals."""
    if not isinstance(value, str) or not value.isalpha() or not value.isascii():
        raise DefinitionError(f"method must be a word like GET, got {value!r}")
    return value.upper()


def _headers(values: Mapping[Any, Any] | None) -> Mapping[str, str | Secret]:
    """Take a copy of the headers."""
    for name, given in (values or {}).items():
        value = "" if isinstance(given, Secret) else given
        if not isinstance(name, str) or not isinstance(value, str):
            raise DefinitionError(f"header {name!r}: names and values must be text")
        if not name or any(mark in name + value for mark in "\r\n\0"):
            raise DefinitionError(f"header {name!r}: it must have a name, and no line breaks or NUL")
    return MappingProxyType(dict(values or {}))


def _json(value: object) -> bytes | None:
    """Encode a JSON body once, so that every attempt sends the same bytes."""
    if value is None:
        return None
    try:
        return json_text.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:  # of UnicodeEncodeError too
        raise DefinitionError(f"the body cannot be written as JSON: {error}") from None


def _body(value: object) -> bytes | None:
    """Take a body as bytes, which every attempt sends again (a stream would be empty the second time)."""
    match value:
        case None | bytes():
            return value
        case str():
            return value.encode()
        case bytearray() | memoryview():
            return bytes(value)
        case Mapping():
            return _json(dict(value))
        case list() | tuple():
            return _json(value)
    raise DefinitionError(f"body must be text, bytes, a mapping or a list, got {type(value).__name__}")


def _check_one_body(_instance: Any, _attribute: object, value: bytes | None) -> None:
    """Refuse two bodies."""
    if value is not None and _instance.body is not None:
        raise DefinitionError("give either body or json, not both")


@frozen
class Request:
    """Make an HTTP request and return the body of the answer as text.

    Redirects are followed, at most five. An answer outside 2xx fails. The body is decoded by the charset it is
    declared with, UTF-8 otherwise. Proxies are taken from the usual environment variables.

    Args:
        method: `GET`, `PUT`, ...
        url: http or https.
        body: text (sent as UTF-8), bytes, or a mapping or list (sent as JSON). Kept as bytes, the same for each
            attempt. Its content type is `application/json`, as Goflow's `Post` has it, unless a header says otherwise.
        headers: further headers, values may be a `Secret`; not shown in a `repr`.
        json: any JSON value, instead of `body`.
        timeout: seconds for the whole request, redirects and body included.
        connect_timeout: seconds to connect.
        read_timeout: seconds without a single byte of the answer; None: only `timeout` counts.

    Raises:
        DefinitionError: an argument that no request can be made of.
    """

    method: str = field(converter=_method)
    url: str = field(validator=_check_url, repr=lambda url: repr(shown(url)))
    body: bytes | None = field(default=None, converter=_body, repr=False)
    headers: Mapping[str, str | Secret] = field(default=None, converter=_headers, repr=False, hash=False)
    json: bytes | None = field(default=None, converter=_json, validator=_check_one_body, repr=False)
    timeout: float = field(default=30.0, kw_only=True, validator=_check_seconds)
    connect_timeout: float = field(default=10.0, kw_only=True, validator=_check_seconds)
    read_timeout: float | None = field(default=None, kw_only=True, validator=_check_seconds)

    async def run(self, context: TaskContext) -> str:  # noqa: ARG002 - as the protocol has it
        """Make the request.

        Returns:
            The body of the answer.

        Raises:
            RequestFailed: no answer, one outside 2xx, too slow, or too big. Its attribute `status` is the code of
                the answer, None if there was none.
        """
        return await _send(self)


@frozen
class Get:
    """GET a URL and return the body. See `Request`.

    Args:
        url: http or https.
        headers: further headers; a value may be a `Secret`.
        timeout: seconds for the whole request.
        connect_timeout: seconds to connect.
        read_timeout: seconds without a single byte of the answer.
    """

    url: str = field(validator=_check_url, repr=lambda url: repr(shown(url)))
    headers: Mapping[str, str | Secret] = field(default=None, converter=_headers, repr=False, hash=False)
    timeout: float = field(default=30.0, kw_only=True, validator=_check_seconds)
    connect_timeout: float = field(default=10.0, kw_only=True, validator=_check_seconds)
    read_timeout: float | None = field(default=None, kw_only=True, validator=_check_seconds)

    async def run(self, context: TaskContext) -> str:  # noqa: ARG002 - as the protocol has it
        """Make the request; see `Request.run`."""
        return await _send(_request("GET", self))


@frozen
class Post:
    """POST to a URL and return the body of the answer. See `Request`.

    Args:
        url: http or https.
        body: text, bytes, or a mapping or list (sent as JSON); the same bytes at every attempt.
        headers: further headers; a value may be a `Secret`.
        json: any JSON value, instead of `body`.
        timeout: seconds for the whole request.
        connect_timeout: seconds to connect.
        read_timeout: seconds without a single byte of the answer.
    """

    url: str = field(validator=_check_url, repr=lambda url: repr(shown(url)))
    body: bytes | None = field(default=None, converter=_body, repr=False)
    headers: Mapping[str, str | Secret] = field(default=None, converter=_headers, repr=False, hash=False)
    json: bytes | None = field(default=None, converter=_json, validator=_check_one_body, repr=False)
    timeout: float = field(default=30.0, kw_only=True, validator=_check_seconds)
    connect_timeout: float = field(default=10.0, kw_only=True, validator=_check_seconds)
    read_timeout: float | None = field(default=None, kw_only=True, validator=_check_seconds)

    async def run(self, context: TaskContext) -> str:  # noqa: ARG002 - as the protocol has it
        """Make the request; see `Request.run`."""
        body = self.body if self.body is not None else self.json
        return await _send(_request("POST", self, b"" if body is None else body))


def _request(method: str, given: Get | Post, body: bytes | None = None) -> Request:
    return Request(
        method,
        given.url,
        body=body,
        headers=given.headers,
        timeout=given.timeout,
        connect_timeout=given.connect_timeout,
        read_timeout=given.read_timeout,
    )


@functools.cache
def _tls() -> ssl.SSLContext:
    """Load the client library and the certificates, once: 130 ms and 36 ms, so not in the loop."""
    import httpx2  # noqa: PLC0415 - `import goflow_trio` does not pay for it

    return httpx2.create_ssl_context()


async def _send(request: Request) -> str:
    """Make the request within its time and map what goes wrong."""
    what = f"{request.method} {shown(request.url)}"
    with trio.move_on_after(request.timeout):
        tls = await trio.to_thread.run_sync(_tls) if not _tls.cache_info().currsize else _tls()
        import httpx2  # noqa: PLC0415 - loaded by now

        try:
            return await _exchange(httpx2, request, tls, what)
        except httpx2.TimeoutException as error:
            phase = "connecting" if isinstance(error, httpx2.ConnectTimeout) else "waiting for the answer"
            raise _failure(f"{what}: timed out while {phase}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            raise _failure(f"{what}: {type(error).__name__}: {_cause(error)}") from error
    raise _failure(f"{what}: no complete answer within {request.timeout:g} s")


async def _exchange(library: Any, request: Request, tls: ssl.SSLContext, what: str) -> str:
    """Send, follow redirects, read.

    A client for each request: 1.3 ms with the certificates loaded, and no connection whose server has meanwhile
    closed it. Redirects are followed here since the library would read their bodies whole.
    """
    content = request.body if request.body is not None else request.json
    headers = {name: revealed(value) for name, value in request.headers.items()}
    timeout = library.Timeout(request.read_timeout or request.timeout, connect=request.connect_timeout)
    async with library.AsyncClient(verify=tls, timeout=timeout, follow_redirects=False) as client:
        following = client.build_request(request.method, request.url, content=content, headers=headers)
        following.headers["Accept-Encoding"] = "gzip"
        if content is not None:
            following.headers.setdefault("Content-Type", "application/json")
        for _ in range(MAX_REDIRECTS + 1):
            response = await client.send(following, stream=True)
            try:
                if response.next_request is None:
                    return await _read(response, what)
                following = response.next_request
            finally:
                await response.aclose()
    raise _failure(f"{what}: more than {MAX_REDIRECTS} redirects", response.status_code)


async def _read(response: httpx2.Response, what: str) -> str:
    """Read the body up to its cap; of a failure only what the message shows."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise _failure(f"{what}: the body has the unwanted encoding {encoding[:EXCERPT]!r}", response.status_code)
    unzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    cap = BODY_CAP if response.is_success else 4 * EXCERPT
    body = bytearray()
    damage: zlib.error | None = None
    # Leaving the loop would leave the library's inner generators to the garbage collector, with their warnings; a
    # cancel unwinds them.
    with trio.CancelScope() as enough:
        async for raw in response.aiter_raw():
            room = cap + 1 - len(body)
            try:
                body += unzip.decompress(raw, room) if unzip and room else raw[:room]
            except zlib.error as error:
                damage = error
            if damage or len(body) > cap:
                enough.cancel()
    if damage or (unzip and body and not unzip.eof and len(body) <= cap):
        raise _failure(f"{what}: the gzip body is damaged or cut", response.status_code) from damage
    if response.is_success and len(body) > cap:
        raise _failure(f"{what}: the body is over {cap:,} bytes", response.status_code)
    text = body.decode(_codec(response.charset_encoding), "replace")
    if response.is_success:
        return text
    excerpt = text[:EXCERPT].strip()
    raise _failure(f"{what}: status {response.status_code}" + (f": {excerpt}" if excerpt else ""), response.status_code)


def _codec(charset: str | None) -> str:
    """Name the codec of a charset; one that Python does not know is read as UTF-8."""
    try:
        return codecs.lookup(charset or "utf-8").name
    except LookupError:
        return "utf-8"


def _cause(error: BaseException) -> str:
    """Dig out what the system said: `[Errno 111] ... Connection refused` lies four exceptions deep."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        elif error.__context__ is not None:
            error = error.__context__
        else:
            return str(error) or type(error).__name__


def _failure(message: str, status: int | None = None) -> RequestFailed:
    """Make the error with its particulars."""
    error = RequestFailed(message)
    vars(error).update(status=status)
    return error
