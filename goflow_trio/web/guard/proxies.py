"""What a reverse proxy says about the caller, believed only from the proxies that were named."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Any

from goflow_trio.web.guard.settings import Network

_SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss"}}


def believe_proxy(scope: dict[str, Any], trusted: Collection[Network]) -> None:
    """Put the caller's own address, scheme and Host into an ASGI scope, if a trusted proxy tells them."""
    client = scope.get("client")
    if not trusted or client is None or not _is_trusted(client[0], trusted):
        return
    told = {
        name: value.decode("latin1")
        for name, value in scope["headers"]
        if name in {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
    }
    hops = [hop.strip() for hop in told.get(b"x-forwarded-for", "").split(",")]
    strangers = [hop for hop in hops if hop and not _is_trusted(hop, trusted)]
    if strangers and _is_address(strangers[-1]):  # what stands before it was said by the stranger
        scope["client"] = (strangers[-1], 0)
    proto = told.get(b"x-forwarded-proto", "").split(",")[-1].strip().lower()
    scope["scheme"] = _SCHEMES[scope["type"]].get(proto, scope["scheme"])
    host = told.get(b"x-forwarded-host", "").split(",")[-1].strip()
    if host:
        scope["headers"] = [
            *((name, value) for name, value in scope["headers"] if name != b"host"),
            (b"host", host.encode("latin1")),
        ]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(text: str, trusted: Collection[Network]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in trusted)
