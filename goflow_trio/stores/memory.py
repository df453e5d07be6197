"""The store for trying things out and for tests: a dict with ordered keys. It must not touch a disk or a thread.

Everything is in this process's memory, without a bound of its own: it is as large as what is kept in it, which
the engine's retention limits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import trio

from goflow_trio.errors import StoreClosed, UsageError
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability, check_items, check_key, check_keys, prefix_end
from goflow_trio.stores.urls import hide_password

_DURABILITY: Final = Durability(
    survives_kill=False, survives_power_cut=False, detail="in memory: everything is lost when the process ends"
)
# At 100,000 keys one insort moves 10 us of memory and sorting what is nearly sorted takes 4 ms.
_FEW: Final = 256


class MemoryBackend:
    """A `Backend` in memory.

    The keys are sorted when somebody scans, not when they are written: `put` costs the same with 100,000 keys as with
    ten, and a scan pays for the keys that came and went since the last one.
    """

    in_process = True
    at_once = True

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._sorted: list[str] = []
        # Always: set(_values) == (set(_sorted) - _gone) | _fresh, and _fresh has nothing of _sorted.
        self._fresh: set[str] = set()
        self._gone: set[str] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<MemoryBackend {'closed' if self._closed else f'{len(self._values)} keys'}>"

    @property
    def durability(self) -> Durability:
        """Nothing survives."""
        return _DURABILITY

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        check_key(key)
        await self._checkpoint()
        return self._values.get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        wanted = check_keys(keys)
        await self._checkpoint()
        return {key: self._values[key] for key in wanted if key in self._values}

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`. A cancelled one has written nothing."""
        items = dict(items)
        check_items(items)
        await self._checkpoint()
        for key, value in items.items():
            self._set(key, value)

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`. A cancelled one has written nothing."""
        check_items({key: value})
        await self._checkpoint()
        if key in self._values:
            return False
        self._set(key, value)
        return True

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        await self._checkpoint()
        self._sort()
        start = max(bisect_left(self._sorted, prefix), bisect_right(self._sorted, after))
        end = prefix_end(prefix)
        stop = len(self._sorted) if end is None else bisect_left(self._sorted, end)
        return [(key, self._values[key]) for key in self._sorted[start : min(stop, start + max(limit, 0))]]

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`. A cancelled one has removed nothing."""
        keys = check_keys(keys)
        await self._checkpoint()
        for key in keys:
            if self._values.pop(key, None) is None:
                continue
            if key in self._fresh:
                self._fresh.remove(key)
            else:
                self._gone.add(key)

    async def aclose(self) -> None:
        """See `Backend.aclose`. What was stored is gone."""
        self._closed = True
        self._values.clear()
        self._sorted.clear()
        self._fresh.clear()
        self._gone.clear()
        await trio.lowlevel.checkpoint()

    async def _checkpoint(self) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint()
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the memory store was closed; open another one")

    def _set(self, key: str, value: bytes) -> None:
        if key in self._gone:
            self._gone.remove(key)
        elif key not in self._values:
            self._fresh.add(key)
        self._values[key] = value

    def _sort(self) -> None:
        if len(self._gone) <= _FEW:
            for key in self._gone:
                del self._sorted[bisect_left(self._sorted, key)]
        else:
            self._sorted = [key for key in self._sorted if key not in self._gone]
        self._gone.clear()
        if len(self._fresh) <= _FEW:
            for key in self._fresh:
                insort(self._sorted, key)
        else:
            self._sorted += sorted(self._fresh)
            self._sorted.sort()
        self._fresh.clear()


def check_url(url: str) -> None:
    """Refuse anything but `memory://`.

    Raises:
        UsageError: it names more than the scheme.
    """
    if url.lower() not in {"memory://", "memory:"}:
        raise UsageError(f"store {hide_password(url)!r}: a memory store has no name or options; write memory://")


async def open_store(url: str) -> Backend:
    """Return a new, empty store; each call returns another one."""
    check_url(url)
    await trio.lowlevel.checkpoint()
    return MemoryBackend()
