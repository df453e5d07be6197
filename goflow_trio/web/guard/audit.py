"""Who did what: one JSON object a line on the logger `goflow_trio.audit`.

Everything that changes something is told, and everybody who was turned away. It goes to a log and not into the store,
so that nobody can fill that from outside; what was done is in the store anyway, with `by` where it is recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

logger = logging.getLogger("goflow_trio.audit")

_LONGEST = 512


def tell(event: str, *, by: str, address: str, method: str, path: str, status: int, **more: Any) -> None:
    """Write one line. Paths are told without their query, and never any header."""
    line = {
        "at": datetime.now(UTC),
        "event": event,
        "by": by,
        "address": address,
        "method": method,
        "path": path[:_LONGEST],
        "status": status,
        **more,
    }
    logger.info("%s", msgspec.json.encode(line).decode())


def tell_audit(scope: Mapping[str, Any], event: str, *, by: str, status: int) -> None:
    """Write one line about a request: for a middleware or route of yours that signs people in.

    Args:
        scope: the ASGI scope of the request.
        event: what it was: `sign-in`, `refused sign-in` or `sign-out`.
        by: who it was; empty if that is not known.
        status: of the answer.
    """
    address = str((scope.get("client") or ("",))[0])
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    tell(event, by=by, address=address, method=scope["method"], path=path, status=status)
