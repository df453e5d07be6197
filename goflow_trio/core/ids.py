"""Ids that follow from what they stand for, so that nothing is begun twice however often it is tried."""

from __future__ import annotations

import hashlib
from datetime import datetime


def child_id(execution: str, task: str, attempt: int, at: datetime) -> str:
    """Return the id of the execution that an attempt starts.

    It has the form of the others (a version 7 UUID, RFC 9562), so that it sorts by its time; what is random there is
    derived from the attempt here.

    Args:
        execution: the parent's id.
        task: which of its tasks.
        attempt: which of the task's attempts.
        at: when the attempt started.
    """
    digest = hashlib.blake2b(f"{execution}/{attempt}/{task}".encode(), digest_size=10).digest()
    bits = int.from_bytes(digest)
    milliseconds = int(at.timestamp() * 1000)
    value = milliseconds << 80 | 7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
