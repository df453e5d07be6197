"""What the stores on a disk have in common: their name, the path in their URL, what is said when the disk says no."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from goflow_trio.errors import StoreFull, StoreReadOnly, StoreUnavailable
from goflow_trio.stores.options import refuse
from goflow_trio.stores.urls import split_store_url

_MENDS: Final[Mapping[type[StoreUnavailable], str]] = {
    StoreFull: "free some space",
    StoreReadOnly: "make it and the folder it is in writable",
    StoreUnavailable: "it is tried again",
}


def name_of(path: Path) -> str:
    """Return what a store is called in messages."""
    return f"store {str(path)!r}"


def path_of(url: str, rule: str) -> str:
    """Return the path of a URL that names a file or folder, with its first slash.

    Args:
        url: the store's URL.
        rule: what is said of one that has something before its path, or fewer than three slashes.

    Raises:
        UsageError: it has.
    """
    parts = split_store_url(url)
    if parts.netloc or not url.partition(":")[2].startswith("///"):
        refuse(url, rule)
    return unquote(parts.path)


def passing(kind: type[StoreUnavailable], what: str) -> StoreUnavailable:
    """Return the error for what passes when somebody mends it, or by itself: the mend is added to `what`."""
    return kind(f"{what}; {_MENDS[kind]}")
