"""Which names a job, a task or a tag may have. Refuses early what would break a route, a key or a terminal."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from itertools import islice

from goflow_trio.errors import DefinitionError

NAME_BYTES = 255
"""Longest name, in UTF-8 bytes: what a file system and every store's key accept."""

_LOOKED_AT = 1_000  # 30 ms at worst, and anybody may ask


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of an error about a name that there is not: those that are near it; empty if none is.

    Example:
        >>> did_you_mean("nigthly", ["hourly", "nightly"])
        "; did you mean 'nightly'?"
    """
    near = difflib.get_close_matches(name[:NAME_BYTES], islice(names, _LOOKED_AT), n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def check_name(name: object, what: str) -> str:
    """Return `name` if it may be used.

    Args:
        name: the candidate.
        what: names the thing in the error: `"job"`, `"job 'etl': task"`.

    Raises:
        DefinitionError: it is not text, is empty, over 255 bytes, not in Unicode NFC, `.` or `..`, or has control
            characters, surrogates or space at its ends.
    """
    if not isinstance(name, str):
        raise DefinitionError(f"{what} name must be text, got {type(name).__name__}")
    if not name:
        raise DefinitionError(f"{what} name is empty; give it one")
    shown = name if len(name) <= 60 else name[:60] + "…"  # noqa: PLR2004
    if name in {".", ".."} or name != name.strip():
        raise DefinitionError(f"{what} name {shown!r} may not be '.', '..', or start or end with space")
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in name):
        raise DefinitionError(f"{what} name {shown!r} has control characters; leave them out")
    if len(name.encode()) > NAME_BYTES:
        raise DefinitionError(f"{what} name {shown!r} is longer than {NAME_BYTES} bytes; shorten it")
    if not unicodedata.is_normalized("NFC", name):
        raise DefinitionError(f"{what} name {shown!r} is not in Unicode normal form C; normalise it")
    return name
