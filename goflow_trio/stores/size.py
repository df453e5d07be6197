"""How large a store is on disk, where it can tell. A backend that can has `size`, which no other has to have."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import trio

from goflow_trio.errors import StoreError
from goflow_trio.stores.base import Backend

SECONDS: Final = 1.0
"""How long somebody waits who asks for a size."""

_SELDOM_SECONDS: Final = 10.0
_REST: Final = 100


@runtime_checkable
class Sized(Protocol):
    """A backend that can tell how large it is, at little cost: it is asked every few seconds."""

    async def size(self) -> int | None:
        """Return the bytes of its files, of a moment ago at worst; None while that is not known."""
        ...


async def size_of(backend: Backend) -> int | None:
    """Return how many bytes a store has on disk; None where that is not known, or not within `SECONDS`."""
    if isinstance(backend, Sized):
        with trio.move_on_after(SECONDS), suppress(StoreError):
            return await backend.size()
    return None


class FolderSize:
    """The bytes of the files in a folder, counted seldom: its rest is a hundred times as long as the count took.

    So a folder of a million files costs 1 % of a core while somebody looks, and nothing while nobody does.

    Args:
        folder: with nothing but files in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = -math.inf
        self.bytes: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether `count` may be called again; not while it is at work."""
        return time.monotonic() >= self._due

    def count(self) -> None:
        """Count, in a thread. What it finds counts whether or not somebody still waits for it."""
        begun, self._due = time.monotonic(), math.inf
        try:
            self.bytes = sum(map(_bytes_of, _entries(self._folder)))
        finally:
            ended = time.monotonic()
            self._due = ended + max(_SELDOM_SECONDS, _REST * (ended - begun))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _bytes_of(entry: os.DirEntry[str]) -> int:
    with suppress(FileNotFoundError):  # it was deleted meanwhile
        return entry.stat().st_size
    return 0
