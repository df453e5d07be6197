"""What a storage backend is: the contract, its limits, and the rules all backends share about keys.

A backend moves bytes and knows nothing of jobs. This file must not open, read or write anything, and must not import
a driver. `goflow_trio.testing.store_conformance` holds the same contract as checks that any backend can run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from attrs import frozen

from goflow_trio.errors import UsageError

MAX_KEY_BYTES: Final = 1024
"""The longest key, in bytes of UTF-8. S3's limit, the smallest of the stores we ship or expect."""

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
"""The largest value. A store with smaller items (DynamoDB: 400 kB) has to split them itself."""

SCAN_LIMIT: Final = 1000
"""How many pairs one `Backend.scan` returns unless told otherwise."""


@frozen
class Durability:
    """What a store keeps when the machine misbehaves, as it is set up now. The server prints it at start.

    Args:
        survives_kill: whatever `put` returned for is there after SIGKILL of this process.
        survives_power_cut: the same after the power of the machine (or of the store's machine) was cut.
        detail: the settings this rests on, or what is lost, in a few words.
    """

    survives_kill: bool
    survives_power_cut: bool
    detail: str

    def __str__(self) -> str:
        kill, power_cut = (
            "kept" if survives else "may be lost" for survives in (self.survives_kill, self.survives_power_cut)
        )
        return f"after a kill: {kill}; after a power cut: {power_cut} ({self.detail})"


class Backend(Protocol):
    """An ordered map from text keys to bytes that may outlive the process.

    Who implements one owes this, and `goflow_trio.testing.store_conformance` checks it:

    - **Keys** are 1 to `MAX_KEY_BYTES` bytes of UTF-8, any code point but NUL and the surrogates. They are compared by
      code point, which is the order of their UTF-8 bytes: never by locale, never ignoring case, never normalised.
      **Values** are 0 to `MAX_VALUE_BYTES` bytes. What is outside raises `UsageError` before anything is written
      (`check_key`, `check_keys` and `check_items` do it).
    - **Durable on return.** When `put`, `put_if_absent` or `delete` returns, `durability` holds for it.
    - **Each key is atomic.** No reader, no crash and no cancellation ever shows a part of a value. Several keys in
      one `put` need not appear together.
    - **Reads see what was written**: a `get` or `scan` that starts after a write returned sees it.
    - **Repeatable.** Every operation may be repeated with the same arguments after an error; a caller does just that.
    - **Concurrent.** Any number of tasks may call at once. Of racing `put_if_absent` exactly one wins.
    - **Cancellable.** Every operation is a checkpoint and gives way to a cancellation soon. A cancelled write has an
      unknown outcome: each of its keys is old or new. The backend stays usable and leaks nothing.
    - **Errors** are the ones of `goflow_trio.errors`, the driver's are mapped: `StoreUnavailable` for what passes by
      itself, `CodecError` for damage, `StoreIncompatible` for what is not ours. No message contains a password.
    - **No waiting without end**: a store that does not answer raises `StoreUnavailable` within a bound that the
      backend documents.
    - **Threads are its own.** A blocking driver never runs on trio's default thread limiter, which operators can fill.
    """

    @property
    def durability(self) -> Durability:
        """What this store keeps, declared from the settings that were found when it was opened."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return the value of `key`, or None when there is none."""
        ...

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values of those `keys` that exist; the others are absent from the answer. Any number of keys."""
        ...

    async def put(self, items: Mapping[str, bytes]) -> None:
        """Write all `items`, over what was there. An empty mapping is allowed and writes nothing."""
        ...

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """Write `value` unless `key` exists already.

        Returns:
            True when this call wrote it. A call that is repeated after an error may find its own value: compare it.
        """
        ...

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """Return the first pairs in ascending order of their keys.

        Args:
            prefix: only keys that start with it, character by character: nothing in it is a wildcard. Empty: all keys.
            after: only keys greater than it; to page, pass the last key of the page before. It need not be
                a key; any text that UTF-8 can encode will do.
            limit: at most so many, 0 or more. A shorter answer means that there are no more.
        """
        ...

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove `keys`, any number of them; one that does not exist is no error."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun and release everything; afterwards all other methods raise `StoreClosed`.

        It may be called again and then does nothing. When cancelled, it still closes, without waiting for the end.
        """
        ...


def can_be_shared(backend: Backend) -> bool:
    """Return whether another process could have this store open too.

    A backend whose `in_process` is true says that none can; it need not have that attribute.
    """
    return backend.durability.survives_kill or not getattr(backend, "in_process", False)


def answers_at_once(backend: Backend) -> bool:
    """Return whether no operation of this store ever waits for anything outside, so that none needs a time-out.

    A backend whose `at_once` is true says so; it need not have that attribute.
    """
    return getattr(backend, "at_once", False)


def check_key(key: str) -> None:
    """Refuse a key that not every backend can hold.

    Raises:
        UsageError: it is empty, longer than `MAX_KEY_BYTES` bytes of UTF-8, or contains NUL or a lone surrogate.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"key {key!r}: it contains a lone surrogate, which no UTF-8 text can hold") from error
    if not 0 < size <= MAX_KEY_BYTES:
        raise UsageError(f"key {key[:40]!r}: it has {size} bytes; a key has 1 to {MAX_KEY_BYTES}")
    if "\0" in key:
        raise UsageError(f"key {key!r}: it contains NUL")


def check_keys(keys: Iterable[str]) -> list[str]:
    """Return keys, each once, in the order in which they came first; refuse any that not every backend can hold.

    Raises:
        UsageError: see `check_key`.
    """
    wanted = list(dict.fromkeys(keys))
    for key in wanted:
        check_key(key)
    return wanted


def check_items(items: Mapping[str, bytes]) -> None:
    """Refuse a mapping with a key or value that not every backend can hold.

    Raises:
        UsageError: see `check_key`; or a value has more than `MAX_VALUE_BYTES`.
    """
    for key, value in items.items():
        check_key(key)
        if len(value) > MAX_VALUE_BYTES:
            raise UsageError(f"key {key!r}: its value has {len(value)} bytes; the limit is {MAX_VALUE_BYTES}")


def prefix_end(prefix: str) -> str | None:
    r"""Return the least text that is greater than every text with this prefix.

    Example:
        >>> prefix_end("log/")
        'log0'
        >>> prefix_end("a\U0010ffff")
        'b'

    Returns:
        The upper bound (exclusive) of a scan; None when there is none: the prefix is empty or all U+10FFFF.
    """
    head = prefix.rstrip("\U0010ffff")
    if not head:
        return None
    following = ord(head[-1]) + 1
    # U+D800 to U+DFFF are the surrogates: no key contains one, and UTF-8 has no bytes for them.
    return head[:-1] + chr(0xE000 if following == 0xD800 else following)  # noqa: PLR2004
