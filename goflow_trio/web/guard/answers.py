"""How the guard says no: problem+json for programs, a page to sign in for browsers; and what every answer carries."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from http import HTTPStatus

import msgspec

from goflow_trio.web.guard.rules import Refused

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Carried by every answer that does not say otherwise itself."""

OVER_TLS = {"strict-transport-security": "max-age=31536000"}

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-content:center;"
    "color-scheme:light dark}form{display:grid;gap:.75rem;width:min(22rem,90vw)}"
    "input,button{font:inherit;padding:.5rem}"
)
_STYLE_HASH = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · goflow</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Sign in</h1>
<form method="post" action="{login}">
<input type="hidden" name="next" value="{next}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button>
{message}</form>
</main>
</body>
</html>
"""


def sign_in_page(root_path: str, after: str, message: str = "") -> bytes:
    """Return the page on which a browser exchanges a token for a session. It needs no script and no other file.

    Args:
        root_path: where the server is reached.
        after: the path to go on to.
        message: why the last attempt failed.
    """
    said = f'<p role="alert">{escape(message)}</p>\n' if message else ""
    return _PAGE.format(
        style=_STYLE, login=escape(f"{root_path}/ui/sign-in"), next=escape(after), message=said
    ).encode()


PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
}


def refusal(refused: Refused) -> tuple[Mapping[str, str], bytes]:
    """Return headers and body of a refusal as `application/problem+json` (RFC 9457)."""
    body = {
        "type": "about:blank",
        "title": refused.status.phrase,
        "status": int(refused.status),
        "detail": refused.detail,
    }
    headers = {"content-type": "application/problem+json", "cache-control": "no-store", **refused.headers}
    return headers, msgspec.json.encode(body)


def wants_page(headers: Mapping[str, str], method: str, refused: Refused) -> bool:
    """Return whether a person in a browser is asking, who can be shown where to sign in."""
    return refused.status is HTTPStatus.UNAUTHORIZED and method == "GET" and "text/html" in headers.get("accept", "")
