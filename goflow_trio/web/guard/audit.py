"""Who did what: one JSON object a line on the logger `goflow_trio.audit`.

Everything that changes something is told, and everybody who was turned away. It goes to a log and not into the store,
so that nobody can fill that from outside; what was done is in the store anyway, with `by` where it is recorded.
"""

from __future__ import annotations

import logging
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
