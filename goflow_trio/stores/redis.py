"""The store in Redis or Valkey: a hash with the values and a sorted set with the keys, through coredis on trio itself.

A write changes both in one Lua script, so they never differ. All commands go through one connection, in the order they
were asked for: what was cancelled is done or not, but never later than what was asked for after it. A pool would
lose that order, and one connection pipelines anyway. Every `coredis` error is mapped here and none gets out.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, unquote

import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field
from coredis.connection import BaseConnectionParams, TCPConnection, TCPLocation
from coredis.exceptions import (
    AuthorizationError,
    ClusterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from coredis.exceptions import ConnectionError as RedisConnectionError

from goflow_trio.errors import (
    StoreClosed,
    StoreError,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    UsageError,
)
from goflow_trio.stores.admission import check_usable, unanswered
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability, check_items, check_key, check_keys, prefix_end
from goflow_trio.stores.options import TIMEOUT, boolean, read_options, refuse, seconds
from goflow_trio.stores.urls import hide_password, split_store_url

T = TypeVar("T")

PREFIX: Final = "goflow"
_OPTIONS: Final = ("prefix", "timeout", "allow_lossy", "ca_file")
_DEFAULT_PORT: Final = 6379
_CONNECT_TIMEOUT: Final = 5.0
# One command's arguments are in the server's memory twice while a script runs.
_BATCH_BYTES: Final = 16 * 1024 * 1024
_BATCH_KEYS: Final = 1000

_PUT: Final = """
for i = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], 0, ARGV[i])
end
return 1
"""
_PUT_IF_ABSENT: Final = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
"""
_DELETE: Final = """
for i = 1, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
  redis.call('ZREM', KEYS[2], ARGV[i])
end
return 1
"""
# Lua's stack is too short for all fields at once.
_SCAN: Final = """
local keys = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
local values = {}
for start = 1, #keys, 500 do
  local stop = math.min(start + 499, #keys)
  for _, value in ipairs(redis.call('HMGET', KEYS[1], unpack(keys, start, stop))) do values[#values + 1] = value end
end
return {keys, values}
"""
_PASSING: Final = ("OOM", "MISCONF", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS")
"""Codes of errors that pass by themselves; coredis leaves those it has no class for in the text."""

_PASSING_ERRORS: Final = (RedisConnectionError, ReadOnlyError, ClusterDownError, TryAgainError, OSError)

logger = logging.getLogger("goflow_trio.store")


@define(eq=False)
class _Link:
    """The one connection, and the task that it lives in.

    coredis' connections live in a nursery. A backend may be opened in one task and closed in another, so that nursery
    cannot belong to either: it is in a system task, which ends with `close` or with the run.
    """

    location: TCPLocation
    options: BaseConnectionParams
    connection: TCPConnection | None = None
    nursery: trio.Nursery | None = None
    lock: trio.Lock = field(factory=trio.Lock)
    ended: trio.Event = field(factory=trio.Event)

    async def open(self) -> None:
        """Start the system task."""
        ready = trio.Event()

        async def host() -> None:
            try:
                async with trio.open_nursery() as self.nursery:
                    ready.set()
                    await trio.sleep_forever()
            except Exception:
                # In a system task it would end the whole run. Whoever waits for a command is told as well.
                logger.exception("the connection to %s ended with an error", self.location)
            finally:
                self.nursery = None
                self.ended.set()

        trio.lowlevel.spawn_system_task(host, name=f"Redis store at {self.location}")
        await ready.wait()

    def close(self) -> None:
        """Hang up; `ended` says when that is done."""
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()

    def drop(self, connection: TCPConnection | None) -> None:
        """Give a connection up: the next operation makes a new one."""
        if connection is not None:
            connection.invalidate()

    async def connected(self) -> TCPConnection:
        """Return the connection, a new one if there is none or it broke."""
        async with self.lock:
            if self.connection is None or not self.connection.usable:
                if self.nursery is None:
                    raise StoreClosed("the run that opened this store is over")
                self.connection = None
                connection = TCPConnection(self.location, **self.options)
                try:
                    await self.nursery.start(connection.run)
                except BaseException:
                    _discard(connection)
                    raise
                self.connection = connection
            return self.connection


class RedisBackend:
    """A `Backend` in a Redis or Valkey server. Made by `open_redis`. It belongs to the run that opened it.

    Items of one `put` of up to 16 MiB together appear together. After `operation_timeout` seconds without an answer
    the connection is given up, and with it all that waits for it.
    """

    def __init__(self, name: str, link: _Link, prefix: str, operation_timeout: float) -> None:
        self._name = name
        self._link = link
        # The braces keep both on one node of a cluster.
        self._values, self._keys = f"{{{prefix}}}:values", f"{{{prefix}}}:keys"
        self._timeout = operation_timeout
        self._durability = Durability(survives_kill=False, survives_power_cut=False, detail="Redis")
        self._pid = os.getpid()
        self._closed = False
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<RedisBackend {self._name.removeprefix('store ')}{' closed' if self._closed else ''}>"

    @property
    def durability(self) -> Durability:
        """What the server's settings, read when it was opened, promise."""
        return self._durability

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        check_key(key)
        return await self._run(lambda do: do(b"HGET", self._values, key))

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        keys = check_keys(keys)

        async def work(do: _Do) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for start in range(0, len(keys), _BATCH_KEYS):
                some = keys[start : start + _BATCH_KEYS]
                values = await do(b"HMGET", self._values, *some)
                found.update((key, value) for key, value in zip(some, values, strict=True) if value is not None)
            return found

        return await self._run(work)

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`."""
        items = dict(items)
        check_items(items)

        async def work(do: _Do) -> None:
            for batch in _batches(items):
                await do(b"EVAL", _PUT, 2, self._values, self._keys, *batch)

        await self._run(work)

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`."""
        check_items({key: value})
        answer = await self._run(lambda do: do(b"EVAL", _PUT_IF_ABSENT, 2, self._values, self._keys, key, value))
        return bool(answer)

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        end = prefix_end(prefix)
        least = f"({after}" if after >= prefix else f"[{prefix}"
        most = "+" if end is None else f"({end}"
        arguments = (_SCAN, 2, self._values, self._keys, least, most, max(limit, 0))
        keys, values = await self._run(lambda do: do(b"EVAL", *arguments))
        return [(key.decode(), value) for key, value in zip(keys, values, strict=True)]

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`."""
        keys = check_keys(keys)

        async def work(do: _Do) -> None:
            for start in range(0, len(keys), _BATCH_KEYS):
                await do(b"EVAL", _DELETE, 2, self._values, self._keys, *keys[start : start + _BATCH_KEYS])

        await self._run(work)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        was_closed, self._closed = self._closed, True
        if os.getpid() != self._pid:
            return
        try:
            with trio.move_on_after(self._timeout):
                if not was_closed and self._link.connection is not None and self._link.connection.usable:
                    # Answers come in order: this one comes after all that was begun.
                    with suppress(RedisError, OSError):
                        await self._link.connection.create_request(b"PING")
        finally:
            self._link.close()
        await self._link.ended.wait()

    def close_now(self) -> None:
        """Hang up, without waiting for anything."""
        self._closed = True
        self._link.close()

    async def prepare(self, *, allow_lossy: bool) -> None:
        """Check that the server keeps what it is given, and that what is under our keys is ours.

        Raises:
            UsageError: it may lose or evict, and that is not allowed.
            StoreIncompatible: something else is under our keys.
        """

        async def work(do: _Do) -> tuple[dict[str, str], list[bytes]]:
            found: dict[str, str] = {}
            for section in ("persistence", "memory", "replication"):
                found |= _info(await do(b"INFO", section))
            with suppress(ResponseError, AuthorizationError):  # hosted ones do not show their configuration
                answer = await do(b"CONFIG", "GET", "appendfsync")
                found |= {name.decode(): value.decode() for name, value in answer.items()}
            return found, [await do(b"TYPE", key) for key in (self._values, self._keys)]

        found, types = await self._run(work)
        if found.get("role") == "slave":
            raise StoreUnavailable(f"{self._name}: this is a replica, which cannot be written; name the primary")
        if types[0] not in {b"hash", b"none"} or types[1] not in {b"zset", b"none"}:
            raise StoreIncompatible(
                f"{self._name}: {self._values!r} is not a store of goflow-trio; name another one with ?prefix=…"
            )
        self._durability = _judge(self._name, found, allow_lossy=allow_lossy)

    async def _run(self, work: Callable[[_Do], Awaitable[T]]) -> T:
        await check_usable(self._name, self._pid, closed=self._closed, waiting=self._waiting)
        self._waiting += 1
        connection: TCPConnection | None = None
        try:
            with trio.move_on_after(self._timeout):
                connection = await self._link.connected()
                return await work(connection.create_request)
        except (RedisError, OSError) as error:
            if isinstance(error, ReadOnlyError):  # it was demoted; the name may lead to another server now
                self._link.drop(connection)
            raise _map(self._name, error) from error
        finally:
            self._waiting -= 1
        self._link.drop(connection)
        raise unanswered(self._name, self._timeout)


class _Do(Protocol):
    """Sends one command and waits for its answer."""

    def __call__(self, command: bytes, *args: str | bytes | int) -> Awaitable[Any]: ...


async def open_redis(
    url: str,
    *,
    prefix: str = PREFIX,
    operation_timeout: float = TIMEOUT,
    allow_lossy: bool = False,
    ca_file: str | None = None,
) -> RedisBackend:
    """Open the store in a Redis (6 or newer) or Valkey server.

    Args:
        url: `redis://user:password@host:6379/0`; `rediss://` for TLS, whose certificate is checked.
        prefix: what the names of the store's two keys begin with.
        operation_timeout: how long one operation may take, in seconds.
        allow_lossy: take a server that forgets when it restarts, or evicts when it is full.
        ca_file: certificates to trust besides those of the system.

    Raises:
        UsageError: the URL cannot be used, or the server may lose what it was given.
        StoreIncompatible: something else is under the store's keys; it was left untouched.
        StoreUnavailable: the server cannot be reached.
    """
    parts = split_store_url(url)
    database = _database(url, parts)
    name = f"store {hide_password(url)!r}"
    options: BaseConnectionParams = {
        "connect_timeout": min(_CONNECT_TIMEOUT, operation_timeout),
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "db": database,
        "client_name": "goflow-trio",
    }
    if parts.scheme in {"rediss", "valkeys"}:
        try:
            options["ssl_context"] = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"{name}: certificates in {ca_file!r} cannot be read: {error}") from error
    link = _Link(TCPLocation(parts.hostname or "localhost", parts.port or _DEFAULT_PORT), options)
    backend = RedisBackend(name, link, prefix, operation_timeout)
    try:
        await link.open()
        await backend.prepare(allow_lossy=allow_lossy)
    except BaseException:
        backend.close_now()
        raise
    return backend


def check_url(url: str) -> None:
    """Refuse a URL that names no server.

    Raises:
        UsageError: see `open_redis`.
    """
    _database(url, split_store_url(url))
    options = read_options(url, _OPTIONS)
    seconds(url, options)
    boolean(url, options, "allow_lossy", default=False)
    if not re.fullmatch(r"[^{}\0]{1,200}", options.get("prefix", PREFIX)):
        refuse(url, "option 'prefix' is a name of 1 to 200 characters without { and }")


async def open_store(url: str) -> Backend:
    """Open the store that a `redis:` or `valkey:` URL names; see `open_redis`."""
    options = read_options(url, _OPTIONS)
    return await open_redis(
        url.partition("?")[0],
        prefix=options.get("prefix", PREFIX),
        operation_timeout=seconds(url, options),
        allow_lossy=boolean(url, options, "allow_lossy", default=False),
        ca_file=options.get("ca_file"),
    )


def _discard(connection: TCPConnection) -> None:
    # coredis closes its memory streams with a connection, and leaves them open when it could not make it.
    for value in vars(connection).values():
        if isinstance(value, MemoryObjectSendStream | MemoryObjectReceiveStream):
            value.close()


def _database(url: str, parts: SplitResult) -> int:
    text = parts.path.removeprefix("/") or "0"
    if not (text.isascii() and text.isdigit()):
        refuse(url, "its path is the number of a database: redis://localhost:6379/0")
    return int(text)


def _batches(items: Mapping[str, bytes]) -> Iterator[list[str | bytes]]:
    batch: list[str | bytes] = []
    room = _BATCH_BYTES
    for key, value in items.items():
        if batch and (room < len(value) or len(batch) == 2 * _BATCH_KEYS):
            yield batch
            batch, room = [], _BATCH_BYTES
        batch += (key, value)
        room -= len(value)
    if batch:
        yield batch


def _info(text: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}


def _judge(name: str, found: Mapping[str, str], *, allow_lossy: bool) -> Durability:
    appends = found.get("aof_enabled") == "1"
    policy = found.get("maxmemory_policy", "unknown")
    sync = found.get("appendfsync", "unknown")
    problems = []
    if not appends:
        problems.append("appendonly is off, so what was written since its last dump is lost when it restarts")
    if policy != "noeviction":
        problems.append(f"maxmemory-policy is {policy}, so it may throw away what it was given")
    if problems and not allow_lossy:
        raise UsageError(
            f"{name}: {'; '.join(problems)}; set appendonly to yes and maxmemory-policy to noeviction in its "
            "configuration, or accept the loss with ?allow_lossy=true"
        )
    if problems:
        return Durability(survives_kill=False, survives_power_cut=False, detail=f"Redis, {'; '.join(problems)}")
    detail = f"Redis, appendonly=yes, appendfsync={sync}, maxmemory-policy=noeviction"
    if sync == "always":
        return Durability(survives_kill=True, survives_power_cut=True, detail=detail)
    lost = "the last second" if sync == "everysec" else "the last seconds"
    return Durability(survives_kill=True, survives_power_cut=False, detail=f"{detail}: {lost} of writes")


def _map(name: str, error: Exception) -> StoreError:
    text = " ".join(str(error).split()) or type(error).__name__
    cause = error.__cause__
    if isinstance(error, RedisConnectionError) and cause is not None and str(cause):
        text = f"{text} ({' '.join(str(cause).split())})"
    shown = f"{name}: {text}"
    if text.startswith("OOM"):
        return StoreFull(f"{shown}; raise maxmemory")
    if text.startswith("READONLY"):
        return StoreReadOnly(f"{shown}; name the primary")
    if isinstance(error, _PASSING_ERRORS) or text.startswith(_PASSING):
        return StoreUnavailable(shown)
    return StoreError(shown)
