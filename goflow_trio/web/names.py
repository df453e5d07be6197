"""Names in paths. Any name that a job may have can be asked for, one with a slash (`%2F`) too."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from werkzeug.routing import BaseConverter

_SLASH = "\udc2f"  # stands for a slash in a name while the path is matched; decoding never makes a lone surrogate


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
            parts = raw.decode("latin-1").replace("%2f", "%2F").split("%2F")
            scope = {**scope, "path": _SLASH.join(map(unquote, parts))}
        await app(scope, receive, send)

    return wrapped


def quoted(path: str) -> str:
    """Return a path as it may stand in a header or a page."""
    return "%2F".join(map(quote, path.split(_SLASH)))
