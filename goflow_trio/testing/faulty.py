"""A backend that misbehaves when it is told to, to see what is lost and what is not.

Wrap a backend, say what goes wrong and when, and run what is to be tested on it. Faults come at a chosen operation,
which makes a test *exhaustive*: let operation 1, 2, 3 … fail, each in a run of its own, until a run comes through, the
way SQLite tests its own I/O errors (https://www.sqlite.org/testing.html#i_o_error_testing); or for as long as a block
lasts, which is an *outage*.

Example:
    >>> import trio
    >>> from goflow_trio.stores.memory import MemoryBackend
    >>> async def main():
    ...     backend = FaultyBackend(MemoryBackend())
    ...     backend.fail(2, "after")
    ...     await backend.put({"a": b"1"})
    ...     try:
    ...         await backend.put({"b": b"2"})
    ...     except StoreUnavailable as error:
    ...         print(error, "-", await backend.get("b"))
    >>> trio.run(main)
    operation 2 (put) was told to fail after it took effect - b'2'
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal, TypeVar

import trio
from attrs import field, frozen

from goflow_trio.errors import StoreClosed, StoreUnavailable
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability

T = TypeVar("T")

Mode = Literal["before", "after", "unknown", "hang", "hang after", "slow", "die", "die after"]
"""How an operation fails.

`before`: it raises, and had no effect. `after`: it raises, and had its effect. `unknown`: one of both, in turn, so that
the caller cannot know. `hang`, `hang after`: it never answers. `slow`: it takes `seconds` longer. `die`, `die after`:
as `hang`, and from then on nothing gets through any more, as after a SIGKILL; `FaultyBackend.died` tells the test.
"""

WRITES: Final = frozenset({"put", "put_if_absent", "delete"})
"""The operations that change something."""

READS: Final = frozenset({"get", "get_many", "scan"})
"""The operations that change nothing."""

OPERATIONS: Final = WRITES | READS


@frozen
class _Fault:
    mode: Mode
    operations: frozenset[str]
    error: Exception | None
    seconds: float
    turn: list[int] = field(factory=lambda: [0])

    def next_mode(self) -> Mode:
        if self.mode != "unknown":
            return self.mode
        self.turn[0] += 1
        return "before" if self.turn[0] % 2 else "after"


class FaultyBackend:
    """Passes operations on to `inner`, but for the faults it was told.

    Args:
        inner: the backend that does the work. It is not closed with this one: as a disk outlives a process, it can be
            looked at, and wrapped again, after what used it has ended.
        durability: what it declares; the inner one's by default.

    Attributes:
        inner: as given.
        operations: how many operations were begun.
        history: their names and first keys, in order.
        died: set by a fault that dies.
    """

    def __init__(self, inner: Backend, *, durability: Durability | None = None) -> None:
        self.inner = inner
        self.durability = durability or inner.durability
        self.in_process = getattr(inner, "in_process", False)
        self.operations = 0
        self.history: list[tuple[str, str]] = []
        self.died = trio.Event()
        self._planned: dict[int, _Fault] = {}
        self._lasting: list[_Fault] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<FaultyBackend on {self.inner!r}, {self.operations} operations>"

    def fail(
        self, operation: int, mode: Mode = "before", *, error: Exception | None = None, seconds: float = 1.0
    ) -> None:
        """Let one operation fail.

        Args:
            operation: which: 1 is the first of this backend's life.
            mode: how.
            error: what it raises; a `StoreUnavailable` by default.
            seconds: how long a slow one takes longer.
        """
        self._planned[operation] = _Fault(mode, OPERATIONS, error, seconds)

    @contextmanager
    def failing(
        self,
        mode: Mode = "before",
        *,
        operations: Collection[str] = OPERATIONS,
        error: Exception | None = None,
        seconds: float = 1.0,
    ) -> Iterator[None]:
        """Let operations fail for the length of a block; those that hang go on hanging after it.

        Args:
            mode: how.
            operations: which kinds, such as `WRITES`.
            error: what they raise.
            seconds: how long slow ones take longer.
        """
        fault = _Fault(mode, frozenset(operations), error, seconds)
        self._lasting.append(fault)
        try:
            yield
        finally:
            self._lasting.remove(fault)

    async def _do(self, name: str, key: str, operation: Callable[..., Awaitable[T]], *args: object) -> T:
        if self._closed:
            raise StoreClosed("this backend was closed")
        if self.died.is_set():
            await trio.sleep_forever()
        self.operations += 1
        number = self.operations
        self.history.append((name, key))
        fault = self._planned.get(number) or next((f for f in self._lasting if name in f.operations), None)
        if fault is None:
            return await operation(*args)
        mode = fault.next_mode()
        if mode == "slow":
            await trio.sleep(fault.seconds)
            return await operation(*args)
        if mode.endswith("after"):
            await operation(*args)
        else:
            await trio.lowlevel.checkpoint()
        if mode.startswith("die"):
            self.died.set()
        if mode.startswith(("die", "hang")):
            await trio.sleep_forever()
        if fault.error is not None:
            raise fault.error
        raise StoreUnavailable(f"operation {number} ({name}) was told to fail {mode} it took effect")

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        return await self._do("get", key, self.inner.get, key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        return await self._do("get_many", next(iter(keys), ""), self.inner.get_many, keys)

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`."""
        await self._do("put", next(iter(items), ""), self.inner.put, items)

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`."""
        return await self._do("put_if_absent", key, self.inner.put_if_absent, key, value)

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        return await self._do("scan", prefix, self.inner.scan, prefix, after, limit)

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`."""
        keys = list(keys)
        await self._do("delete", next(iter(keys), ""), self.inner.delete, keys)

    async def aclose(self) -> None:
        """Let nothing more through; the inner backend stays open."""
        self._closed = True
        await trio.lowlevel.checkpoint()
