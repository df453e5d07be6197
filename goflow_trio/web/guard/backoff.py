"""Slows down who guesses. A right token is never held up by it, whoever else calls from the same address."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable

from goflow_trio.core import limits

_ADDRESSES = 10_000


class Backoff:
    """Counts wrong tokens by address: a burst of `limits.WRONG_TOKENS`, then one a second.

    Args:
        monotonic: a clock that does not jump.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wrong(self, address: str) -> int:
        """Count a wrong token; return the seconds to wait before the next one, 0 if there is no need."""
        key = _network(address)
        now = self._monotonic()
        spent, at = self._spent.pop(key, (0.0, now))
        spent = min(max(0.0, spent - (now - at)) + 1, limits.WRONG_TOKENS + 60)
        self._spent[key] = spent, now
        if len(self._spent) > _ADDRESSES:
            self._spent.popitem(last=False)
        return max(0, math.ceil(spent - limits.WRONG_TOKENS))


def _network(address: str) -> str:
    """Return what one caller has to itself: an IPv4 address, or 64 bits of IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
