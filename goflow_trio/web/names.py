"""Names in paths. Any name that a job may have can be asked for, one with a slash (`%2F`) too."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from werkzeug.routing import BaseConverter

_SLASH = "\ue000"  # private use: stands for a slash that is part of a name while the path is matched


class NameConverter(BaseConverter):
    """One part of a path, as a name."""

    def to_python(self, value: str) -> str:
        """Return the name."""
        return value.replace(_SLASH, "/")

    def to_url(self, value: Any) -> str:
        """Return the part of a path."""
        return super().to_url(value).replace("/", "%2F")


def keep_slashes(app: Any) -> Any:
    """Return an ASGI app that tells a slash in a name from one between names: servers decode both alike."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path") or b""
        if b"%2F" in raw or b"%2f" in raw:
            path = raw.decode("latin-1").replace("%2F", "%EE%80%80").replace("%2f", "%EE%80%80")
            scope = {**scope, "path": unquote(path)}
        await app(scope, receive, send)

    return wrapped


def quoted(path: str) -> str:
    """Return a path as it may stand in a header or a page."""
    return quote(path).replace("%EE%80%80", "%2F")
