"""Finds out who calls: by bearer token, by the cookie of a session, by the host, or by there being none of these."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from goflow_trio.web.guard.backoff import Backoff
from goflow_trio.web.guard.caller import ANYBODY, UNPROVEN, Caller
from goflow_trio.web.guard.rules import Refused
from goflow_trio.web.guard.sessions import COOKIE, Sessions
from goflow_trio.web.guard.settings import Security
from goflow_trio.web.guard.tokens import Token, TokenFile

logger = logging.getLogger("goflow_trio.web.guard")

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="goflow-trio"'}
_INVALID = {"WWW-Authenticate": 'Bearer realm="goflow-trio", error="invalid_token"'}


class Callers:
    """Everybody who may call.

    Args:
        security: the settings.
        now: the wall clock.
        monotonic: a clock that does not jump.

    Attributes:
        are_known: whether a request is refused that nobody is known to have sent.

    Raises:
        UsageError: the token file cannot be used.
    """

    def __init__(self, security: Security, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        path = security.token_file
        self._tokens = None if path is None else TokenFile(Path(path), now, monotonic)
        self._sessions = Sessions(now)
        self._backoff = Backoff(monotonic)
        self._now = now
        self._ask_host = security.identify
        self.are_known = security.asks_who_calls

    def identify(self, scope: Mapping[str, Any], headers: Mapping[str, str], address: str) -> Caller:
        """Return who calls.

        Args:
            scope: the request.
            headers: its headers, names in lower case.
            address: the caller's.

        Raises:
            Refused: 401, or 429 after too many wrong tokens.
        """
        if not self.are_known:
            return ANYBODY
        caller = self._by_token(headers, address) or self._by_host(scope)
        if caller is not None:
            return caller
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "a token is needed: send it as `Authorization: Bearer …`, or sign in at POST /api/login"
            if self._tokens is not None
            else "it is not known who sent this: sign in first",
            _CHALLENGE if self._tokens is not None else {},
        )

    def _by_token(self, headers: Mapping[str, str], address: str) -> Caller | None:
        if self._tokens is None:
            return None
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            token = self.check(text.strip(), address)
            return Caller(token.name, token.role, token)
        cookie = cookie_of(headers)
        session = self._sessions.find(cookie) if cookie else None
        if session is not None and self._tokens.is_valid(session):
            return Caller(session.name, session.role, session, cookie)
        return None

    def _by_host(self, scope: Mapping[str, Any]) -> Caller | None:
        if self._ask_host is None:
            return None
        try:
            return self._ask_host(scope)
        except Exception:
            logger.exception("identify failed, so it let nobody in")
            return None

    def check(self, text: str, address: str) -> Token:
        """Return the line of a token that counts.

        Raises:
            Refused: it does not; 429 if this address showed too many wrong ones.
        """
        token = None if self._tokens is None else self._tokens.find(text)
        if token is not None and token.is_valid(self._now()):
            return token
        if token is not None:
            raise Refused(HTTPStatus.UNAUTHORIZED, f"the token of {token.name} has expired", _INVALID)
        if self._tokens is not None and self._tokens.was_revoked(text):  # no guess, and not to be counted as one
            raise Refused(HTTPStatus.UNAUTHORIZED, "this token was revoked", _INVALID)
        self.count_wrong(address)
        raise Refused(HTTPStatus.UNAUTHORIZED, "the token is not known here", _INVALID)

    def count_wrong(self, address: str) -> None:
        """Count a wrong token of an address.

        Raises:
            Refused: 429, if it showed too many.
        """
        wait = self._backoff.wrong(address)
        if wait:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many wrong tokens came from this address; a right one is let through all the same",
                {"Retry-After": str(wait)},
            )

    def is_valid(self, caller: Caller, scope: Mapping[str, Any]) -> bool:
        """Return whether who was let in with a request would still be."""
        if caller in {ANYBODY, UNPROVEN}:
            return True
        if self._tokens is None or caller.token is None:
            return self._by_host(scope) == caller
        if caller.session is not None and self._sessions.find(caller.session) is None:
            return False
        return self._tokens.is_valid(caller.token)

    def sign_in(self, text: str, address: str) -> tuple[str, Token | None]:
        """Return the cookie of a new session and the token it stands for; nothing where no tokens are asked for.

        Raises:
            Refused: as `check`.
        """
        if not self.are_known:
            return "", None
        token = self.check(text, address)
        return self._sessions.begin(token), token

    def sign_out(self, headers: Mapping[str, str]) -> None:
        """End the session of a request's cookie."""
        cookie = cookie_of(headers)
        if cookie:
            self._sessions.end(cookie)


def cookie_of(headers: Mapping[str, str]) -> str:
    """Return the value of our cookie; empty if there is none."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return ""
