"""Browsers that are signed in: a cookie stands for a token, so that the token itself stays out of the browser."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from goflow_trio.core import limits
from goflow_trio.web.guard.tokens import Token, digest

COOKIE = "goflow_session"


class Sessions:
    """The sessions of this program's run; a restart signs everybody out.

    Args:
        now: the wall clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._open: OrderedDict[bytes, tuple[Token, datetime]] = OrderedDict()

    def begin(self, token: Token) -> str:
        """Return the value of the cookie of a new session."""
        value = secrets.token_urlsafe(32)
        self._open[digest(value)] = token, self._now() + timedelta(seconds=limits.SESSION_SECONDS)
        if len(self._open) > limits.SESSIONS:
            self._open.popitem(last=False)
        return value

    def find(self, value: str) -> Token | None:
        """Return the token a cookie stands for; None if its session is over."""
        token, ends = self._open.get(digest(value), (None, None))
        if ends is not None and self._now() >= ends:
            self.end(value)
            return None
        return token

    def end(self, value: str) -> None:
        """Sign out."""
        self._open.pop(digest(value), None)
