"""Asks a server over HTTP, and says what went wrong in one of a few errors."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx2
import msgspec

from goflow_trio.errors import GoflowError, NotFound

T = TypeVar("T")

_PROBLEM = "application/problem+json"


class ClientError(GoflowError):
    """A server could not be asked, or did not do what was asked.

    Attributes:
        status: the status it answered with; None if it gave no answer.
    """

    status: int | None = None


class Unreachable(ClientError):
    """No server answers there, or what answers is none of ours."""


class Unavailable(ClientError):
    """The server cannot do it now: its store does not take writes, it ends, or a limit is reached. Try again later.

    Attributes:
        retry_after: after so many seconds.
    """

    retry_after: float = 1.0


class Refused(ClientError):
    """The server understood and said no; asking again changes nothing."""


class Unauthorized(Refused):
    """It wants a token, and got none or one that does not count."""


class Forbidden(Refused):
    """The token's role does not allow this."""


class Missing(Refused, NotFound):
    """It has no job, task or execution of this name."""


_ERRORS: dict[int, type[ClientError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: Missing,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, detail: str, retry_after: str = "") -> ClientError:
    """Return the error that stands for a status."""
    error = _ERRORS.get(status, Refused)(detail)
    error.status = status
    if isinstance(error, Unavailable) and retry_after.isdecimal():
        error.retry_after = float(retry_after)
    return error


class Asking:
    """One server, asked over HTTP.

    Args:
        http: the connections, with the server's URL and the token.
        url: how the server is called in messages.
    """

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self.url = url

    async def bytes(self, method: str, path: str, what: str = "", *, also: int = 200, **options: Any) -> bytes:
        """Return the body of an answer.

        Args:
            method: the HTTP method.
            path: the path, its parts quoted.
            what: what was asked for, to name in the error if it is not there.
            also: a status that is an answer too.
            options: of httpx2.

        Raises:
            ClientError: there is none, or it is an error.
        """
        try:
            answer = await self._http.request(method, path, **options)
        except httpx2.InvalidURL as error:
            raise Unreachable(f"{self.url!r} is no URL of a server: {error}") from None
        except httpx2.TransportError as error:
            said = str(error) or type(error).__name__
            raise Unreachable(f"no server answers at {self.url} ({said}); start one with goflow-trio serve") from None
        is_problem = answer.headers.get("content-type", "").startswith(_PROBLEM)
        if answer.is_success or (answer.status_code == also and not is_problem):
            return answer.content
        detail = _detail(answer)
        if answer.status_code == 404:  # noqa: PLR2004
            detail = detail or f"the server has no {what or path}"
        detail = detail or f"{method} {path} was answered {answer.status_code}"
        raise error_of(answer.status_code, detail, answer.headers.get("retry-after", ""))

    async def ask(self, kind: type[T], method: str, path: str, what: str = "", **options: Any) -> T:
        """Return an answer as a value.

        Args:
            kind: its type.
            method: see `bytes`.
            path: see `bytes`.
            what: see `bytes`.
            options: see `bytes`.

        Raises:
            ClientError: as `bytes`; `Unreachable` if the answer is none of ours.
        """
        body = await self.bytes(method, path, what, **options)
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Unreachable(f"{self.url} is no server of ours: it does not answer {method} {path} as one") from None


def _detail(answer: httpx2.Response) -> str:
    if not answer.headers.get("content-type", "").startswith(_PROBLEM):
        return ""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return ""
