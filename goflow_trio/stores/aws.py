"""The options that stores in Amazon's services, and in services like them, have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypedDict

from goflow_trio.stores.options import count, refuse, seconds

CONNECTIONS: Final = 8
"""How many requests are under way at once unless told otherwise."""

CONNECT_TIMEOUT: Final = 5.0
"""How long a connection may take, at most, in seconds."""

OPTIONS: Final = ("endpoint_url", "region", "timeout", "connections")


class ServiceOptions(TypedDict):
    """Where the service is and how it is talked to, as keyword arguments of `open_s3` and `open_dynamodb`."""

    endpoint_url: str | None
    region: str | None
    operation_timeout: float
    connections: int


def service_options(url: str, options: Mapping[str, str], timeout: float) -> ServiceOptions:
    """Return these options of a URL.

    Args:
        url: the store's URL, for messages.
        options: all that it has.
        timeout: what is taken if it has no `timeout`, in seconds.

    Raises:
        UsageError: one of them cannot be used.
    """
    endpoint = options.get("endpoint_url")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        refuse(url, "option 'endpoint_url' begins with http:// or https://")
    return {
        "endpoint_url": endpoint,
        "region": options.get("region"),
        "operation_timeout": seconds(url, options, default=timeout),
        "connections": count(url, options, "connections", CONNECTIONS),
    }
