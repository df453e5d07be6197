"""Reading a store's URL, and making one safe to print. It knows no particular store and opens nothing."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from goflow_trio.errors import UsageError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_SECRET_PARAMETER = re.compile(r"([?&;][^=&;]*(?:pass|pwd|secret|token|key)[^=&;]*=)[^&;#]*", re.IGNORECASE)


def hide_password(url: str) -> str:
    """Return the URL fit for a message: its password and secret-looking parameters as `***`.

    It also works on what is not a valid URL, because those are the ones that end up in error messages. When in doubt
    it hides too much: a password may contain an unquoted `@`, `/` or `?`.

    Example:
        >>> hide_password("postgresql://ann:s3cret@db.example/goflow?sslpassword=x")
        'postgresql://ann:***@db.example/goflow?sslpassword=***'
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    at = rest.rfind("@")
    colon = rest.find(":", 0, at) if at > 0 else -1
    # Without an authority (`sqlite:///a:b@c.db`) there is no place for a password.
    if colon >= 0 and not (mark and rest.startswith("/")):
        rest = f"{rest[:colon]}:***{rest[at:]}"
    return scheme + mark + _SECRET_PARAMETER.sub(r"\1***", rest)


def split_store_url(url: str) -> SplitResult:
    """Split a store's URL into its parts.

    Raises:
        UsageError: it names no scheme, or cannot be read as a URL.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or not _SCHEME.match(scheme):
        raise UsageError(
            f"store {hide_password(url)!r}: it names no kind of store; write memory:// or sqlite:///goflow.db"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port  # a property that raises when the port is not a number
    except ValueError as error:
        # The cause may quote the password, so it is neither repeated nor chained.
        raise UsageError(f"store {hide_password(url)!r}: this is not a valid URL") from (
            error if hide_password(url) == url else None
        )
    return parts
