"""The checks that need nothing but the request: size, Host, Origin. Pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from attrs import field, frozen

from goflow_trio.core import limits

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@frozen
class Refused(Exception):
    """A request is not let through.

    Args:
        status: what it is answered with.
        detail: names the rule and the mend.
        headers: go with the answer.
    """

    status: HTTPStatus
    detail: str
    headers: Mapping[str, str] = field(factory=dict)


def check_size(target: int, headers: Collection[tuple[bytes, bytes]]) -> None:
    """Refuse a request whose URL or headers are too large.

    Raises:
        Refused: they are.
    """
    if target > limits.URL_BYTES:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL is longer than {limits.URL_BYTES} bytes")
    if len(headers) > limits.HEADERS:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"there are more than {limits.HEADERS} headers")
    if sum(len(name) + len(value) for name, value in headers) > limits.HEADER_BYTES:
        detail = f"the headers are larger than {limits.HEADER_BYTES} bytes"
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)


def check_host(host: str | None, own_address: str, allowed: Collection[str]) -> None:
    """Refuse a request that calls this server by a name that is not its own.

    A web page whose name was made to point at this machine (DNS rebinding) comes with that name. A request without a
    Host, which HTTP/1.0 allows, cannot come from a browser.

    Args:
        host: the header.
        own_address: the address at which the request arrived.
        allowed: further names.

    Raises:
        Refused: it does.
    """
    if host is None or "*" in allowed:
        return
    name = _host_name(host)
    if name and (name in allowed or _is_local(name) or name == own_address.lower()):
        return
    if name and any(known.startswith("*.") and name.endswith(known[1:]) for known in allowed):
        return
    raise Refused(
        HTTPStatus.MISDIRECTED_REQUEST,
        "this server is not known by the name in the Host header; allow it with --allowed-host",
    )


def _host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return ""
    if parts.netloc != host or "@" in host:
        return ""
    return (parts.hostname or "").rstrip(".")


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_origin(scheme: str, headers: Mapping[str, str], trusted: Collection[str]) -> None:
    """Refuse what a web page of another origin asks for.

    Browsers say where a request comes from in `Sec-Fetch-Site`, older ones in `Origin`; programs send neither. The
    rule is that of Go's `http.CrossOriginProtection`.

    Args:
        scheme: how the request came.
        headers: of the request, names in lower case.
        trusted: origins that are let through.

    Raises:
        Refused: it is from another origin.
    """
    origin = headers.get("origin")
    if origin is not None and origin.lower() in trusted:
        return
    site = headers.get("sec-fetch-site")
    foreign = site not in {None, "same-origin", "none"}
    if foreign or (origin is not None and not _is_same(origin, scheme, headers.get("host", ""))):
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "a web page of another origin may not do this; allow its origin with --cors-origin",
        )


def _is_same(origin: str, scheme: str, host: str) -> bool:
    """Return whether an origin is that of the request; its scheme counts only if ours is surely not a proxy's."""
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        port = theirs.port or _DEFAULT_PORTS.get(theirs.scheme)
        own_ports = {ours.port} if ours.port else {80, 443}
    except ValueError:
        return False
    if scheme in {"https", "wss"} and theirs.scheme != "https":
        return False
    return bool(theirs.hostname) and theirs.hostname == ours.hostname and port in own_ports
