"""An adapter over py-key-value-aio, for twenty more stores: MongoDB, Elasticsearch, Vault and others.

Those stores know neither order nor conditions, and most of them need asyncio. So the order of keys is in memory here,
loaded when the store is opened and kept in the store beside the values; conditions are decided here, under a lock; and
trio-asyncio runs the store's own loop. It follows what this cannot promise:

- **One backend at a time.** A second one on the same store does not see the first one's keys, and both may win a
  claim. Nothing notices that two servers run on it.
- **Durability is the store's own**, and cannot be checked here.
- **Sizes are the store's own.** A value is a text a third longer than its bytes: Memcached takes 1 MB, DynamoDB 400 kB.
- **Some of those stores block** (disk, DuckDB, RocksDB): they are synchronous inside. And some do not run under
  trio-asyncio at all (the file tree).
- **Memory and time grow with the keys**: all are in memory, and a new one rewrites 1/256 of them.

| collection | key | holds |
|---|---|---|
| `goflow` | digest of the key | `{"key": …, "value": base 64}` |
| `goflow` | `index-<n>` | `{"keys": […]}`: those whose digest begins with n; written before the values |
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, Generic, TypeVar
from urllib.parse import unquote

import trio
import trio_asyncio
from attrs import define, field
from key_value.aio.errors import KeyValueOperationError
from key_value.aio.protocols.key_value import AsyncKeyValue

from goflow_trio.errors import CodecError, StoreError, StoreUnavailable, UsageError
from goflow_trio.stores.admission import check_usable, unanswered
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability, check_items, check_keys
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.stores.options import TIMEOUT, refuse
from goflow_trio.stores.urls import hide_password, split_store_url

T = TypeVar("T")

COLLECTION: Final = "goflow"
_BUCKETS: Final = tuple(f"{number:02x}" for number in range(256))
_BATCH: Final = 100

_BY_URL: Final[Mapping[str, tuple[str, str]]] = {
    "redis": ("redis", "RedisStore"),
    "rediss": ("redis", "RedisStore"),
    "postgresql": ("postgresql", "PostgreSQLStore"),
    "mongodb": ("mongodb", "MongoDBStore"),
}
"""The scheme after `kv+`: the module and class in `key_value.aio.stores` that take a URL."""

_BY_PATH: Final[Mapping[str, tuple[str, str, str]]] = {
    "disk": ("disk", "DiskStore", "directory"),
}
"""The scheme after `kv+`: the module, class and parameter that take a path."""


@define(eq=False)
class _Job(Generic[T]):
    """Work for the store's loop. It goes on when nobody waits for it any more, so that no write is left half done."""

    work: Callable[[], Awaitable[T]]
    done: trio.Event = field(factory=trio.Event)
    value: T | None = None
    error: Exception | None = None


class KeyValueBackend:
    """A `Backend` over a store of py-key-value-aio. Made by `open_key_value`. It belongs to the run that opened it.

    An operation that has not ended after `operation_timeout` seconds is cancelled.
    """

    def __init__(self, name: str, durability: Durability, operation_timeout: float) -> None:
        self._name = name
        self._durability = durability
        self._timeout = operation_timeout
        self._pid = os.getpid()
        self._keys = MemoryBackend()
        self._buckets: defaultdict[str, set[str]] = defaultdict(set)
        self._lock = trio.Lock()
        self._closing = trio.Event()
        self._ended = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._loop: Any = None  # trio-asyncio's loops have no public type
        self._store: Any = None

    def __repr__(self) -> str:
        return f"<KeyValueBackend {self._name.removeprefix('store ')}{' closed' if self._closing.is_set() else ''}>"

    @property
    def durability(self) -> Durability:
        """What whoever opened it declared; by default that nothing is known."""
        return self._durability

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        wanted = check_keys(keys)
        return await self._do(lambda: self._values(wanted))

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`. Each key is written by itself."""
        items = dict(items)
        check_items(items)
        await self._do_alone(lambda: self._write(items))

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`. Decided in this process: see the top of the file."""
        check_items({key: value})

        async def work() -> bool:
            if await self._values([key]):
                return False
            await self._write({key: value})
            return True

        return await self._do_alone(work)

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""

        async def work() -> list[tuple[str, bytes]]:
            pairs: list[tuple[str, bytes]] = []
            last = after
            while True:
                some = [key for key, _ in await self._keys.scan(prefix, last, limit - len(pairs))]
                values = await self._values(some)
                # A crash may leave a key in the index whose value was never written.
                pairs += ((key, values[key]) for key in some if key in values)
                if len(pairs) >= limit or not some:
                    return pairs
                last = some[-1]

        return await self._do(work)

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`."""
        wanted = check_keys(keys)

        async def work() -> None:
            known = [key for key in wanted if key in self._buckets[_digest(key)[:2]]]
            for start in range(0, len(known), _BATCH):
                digests = [_digest(key) for key in known[start : start + _BATCH]]
                await self._call(self._store.delete_many, digests)
            for key in known:
                self._buckets[_digest(key)[:2]].discard(key)
            await self._save_index({_digest(key)[:2] for key in known})
            await self._keys.delete(known)

        await self._do_alone(work)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        if os.getpid() != self._pid:
            return
        self._closing.set()
        await self._ended.wait()

    def close_now(self) -> None:
        """Have it closed, without waiting for that."""
        self._closing.set()

    async def open(self, factory: Callable[[], AsyncKeyValue]) -> None:
        """Start the store's loop and load the order of its keys."""
        ready = trio.Event()
        problem: list[Exception] = []

        async def host() -> None:
            try:
                # The loop cannot belong to the task that opens the store: another one may close it.
                async with trio_asyncio.open_loop() as self._loop:
                    try:
                        self._store = factory()
                    except Exception as error:  # noqa: BLE001 - it is whatever the store raises
                        problem.append(error)
                        return
                    async with trio.open_nursery() as self._nursery:
                        ready.set()
                        await self._closing.wait()
                        # What was begun has its time.
                        self._nursery.cancel_scope.deadline = trio.current_time() + self._timeout
                    await self._call_close()
            except Exception as error:  # noqa: BLE001 - in a system task it would end the whole run
                problem.append(error)
            finally:
                self._nursery = None
                self._closing.set()
                ready.set()
                self._ended.set()

        trio.lowlevel.spawn_system_task(host, name=self._name)
        await ready.wait()
        if problem:
            raise UsageError(f"{self._name}: {_text(problem[0])}") from problem[0]
        await self._do(self._load)

    # What runs on the store's loop ------------------------------------------------------------------

    async def _load(self) -> None:
        for start in range(0, len(_BUCKETS), _BATCH):
            some = _BUCKETS[start : start + _BATCH]
            found = await self._call(self._store.get_many, [f"index-{bucket}" for bucket in some])
            for bucket, entry in zip(some, found, strict=True):
                self._buckets[bucket] = set() if entry is None else set(entry["keys"])
        await self._keys.put({key: b"" for keys in self._buckets.values() for key in keys})

    async def _values(self, keys: Sequence[str]) -> dict[str, bytes]:
        values: dict[str, bytes] = {}
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            found = await self._call(self._store.get_many, [_digest(key) for key in some])
            for key, entry in zip(some, found, strict=True):
                if entry is not None:
                    try:
                        values[key] = base64.b64decode(entry["value"], validate=True)
                    except (KeyError, ValueError) as error:
                        raise CodecError(f"{self._name}: what is under {key!r} is not ours or damaged") from error
        return values

    async def _write(self, items: Mapping[str, bytes]) -> None:
        fresh = [key for key in items if key not in self._buckets[_digest(key)[:2]]]
        for key in fresh:
            self._buckets[_digest(key)[:2]].add(key)
        try:
            await self._save_index({_digest(key)[:2] for key in fresh})
            pairs = list(items.items())
            for start in range(0, len(pairs), _BATCH):
                some = pairs[start : start + _BATCH]
                entries = [{"key": key, "value": base64.b64encode(value).decode()} for key, value in some]
                await self._call(self._store.put_many, [_digest(key) for key, _ in some], entries)
        finally:
            # Written or not: a key too many in the index does no harm.
            with trio.CancelScope(shield=True):
                await self._keys.put(dict.fromkeys(fresh, b""))

    async def _save_index(self, buckets: Iterable[str]) -> None:
        changed = sorted(buckets)
        if changed:
            entries = [{"keys": sorted(self._buckets[bucket])} for bucket in changed]
            await self._call(self._store.put_many, [f"index-{bucket}" for bucket in changed], entries)

    async def _call(self, method: Callable[..., Awaitable[Any]], *args: object) -> Any:
        # Any: it is called as untyped as the store is.
        return await self._loop.run_aio_coroutine(method(*args, collection=COLLECTION))

    async def _call_close(self) -> None:
        close = getattr(self._store, "close", None)
        if close is not None:
            with trio.move_on_after(self._timeout):
                await self._loop.run_aio_coroutine(close())

    # Between a caller and the loop ------------------------------------------------------------------

    async def _do_alone(self, work: Callable[[], Awaitable[T]]) -> T:
        async def alone() -> T:
            async with self._lock:
                return await work()

        return await self._do(alone)

    async def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        await check_usable(self._name, self._pid, closed=self._closing.is_set() or self._nursery is None)
        assert self._nursery is not None
        job = _Job(work)
        self._nursery.start_soon(self._run, job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        # A job without an error has a value; where T is None, that is it.
        return job.value  # type: ignore[return-value]

    async def _run(self, job: _Job[T]) -> None:
        job.error = unanswered(self._name, self._timeout)
        try:
            with trio.move_on_after(self._timeout):
                job.value = await job.work()
                job.error = None
        except StoreError as error:
            job.error = error
        except KeyValueOperationError as error:
            job.error = StoreError(f"{self._name}: {_text(error)}")
            job.error.__cause__ = error
        except Exception as error:  # noqa: BLE001 - twenty stores have their own, and most pass
            job.error = StoreUnavailable(f"{self._name}: {_text(error)}")
            job.error.__cause__ = error
        finally:
            job.done.set()


_UNKNOWN: Final = Durability(
    survives_kill=False, survives_power_cut=False, detail="whatever this store keeps; goflow-trio cannot tell"
)


async def open_key_value(
    factory: Callable[[], AsyncKeyValue],
    *,
    name: str = "py-key-value",
    durability: Durability = _UNKNOWN,
    operation_timeout: float = TIMEOUT,
) -> KeyValueBackend:
    """Open a store of py-key-value-aio.

    Args:
        factory: makes the store, such as `lambda: MongoDBStore(url="mongodb://host")`; called inside its asyncio loop.
        name: what it is called in messages; without a password.
        durability: what is known of it.
        operation_timeout: how long one operation may take, in seconds.

    Raises:
        UsageError: the factory failed.
        StoreUnavailable: the store cannot be reached.
    """
    backend = KeyValueBackend(f"store {name!r}", durability, operation_timeout)
    try:
        await backend.open(factory)
    except BaseException:
        backend.close_now()
        raise
    return backend


def check_url(url: str) -> None:
    """Refuse a URL that names no store of py-key-value-aio.

    Raises:
        UsageError: see `open_store`.
    """
    parts = split_store_url(url)
    scheme = parts.scheme.removeprefix("kv+")
    if scheme in _BY_PATH and (parts.netloc or not parts.path.strip("/") or parts.query):
        refuse(url, f"it has three slashes and an absolute path: kv+{scheme}:///srv/goflow")


async def open_store(url: str) -> Backend:
    """Open the store that a `kv+…:` URL names; see `open_key_value` for those without a URL."""
    parts = split_store_url(url)
    scheme = parts.scheme.removeprefix("kv+")
    arguments: dict[str, str] = {}
    if scheme in _BY_URL:
        module, class_name = _BY_URL[scheme]
        arguments = {"url": url.removeprefix("kv+")}
    elif scheme in _BY_PATH:
        module, class_name, parameter = _BY_PATH[scheme]
        arguments = {parameter: unquote(parts.path)}
    else:
        module, class_name = "memory", "MemoryStore"
    try:
        store = getattr(import_module(f"key_value.aio.stores.{module}"), class_name)
    except ImportError as error:
        refuse(url, f"{error}; pip install 'py-key-value-aio[{module}]'")
    return await open_key_value(lambda: store(**arguments), name=hide_password(url))


def _digest(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
