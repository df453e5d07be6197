"""The store in PostgreSQL: one table, through psycopg 3 in threads of the store's own.

Each operation is one statement in a transaction of its own. Every `psycopg` error is mapped here and none gets out.

psycopg's own pool is not used: after a restart of the server it tries again with a growing delay, up to minutes, and
meanwhile says no more than that it has no connection. Here a thread that needs a connection makes one, at once, and
what goes wrong with that is what the caller is told.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, LiteralString, TypeAlias, TypeVar, cast
from urllib.parse import quote, urlencode, urlunsplit

import psycopg
from attrs import define, field
from psycopg import conninfo, sql

from goflow_trio.errors import (
    CodecError,
    StoreError,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    UsageError,
)
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability, check_items, check_keys, prefix_end
from goflow_trio.stores.driver import DriverErrors
from goflow_trio.stores.options import TIMEOUT, count, read_options, refuse, seconds
from goflow_trio.stores.threads import StoreThreads
from goflow_trio.stores.urls import hide_password, split_store_url

T = TypeVar("T")
Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

TABLE: Final = "goflow"
CONNECTIONS: Final = 4
"""How many connections one store has at most unless told otherwise."""

_OURS: Final = ("table", "timeout", "connections")
_TABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(?:\.[A-Za-z_][A-Za-z0-9_]{0,62})?\Z")
# One statement's parameters may have 1 GB; a batch is far below, even with hexadecimal digits in an error message.
_BATCH_BYTES: Final = 64 * 1024 * 1024
_BATCH_KEYS: Final = 5000
_CONNECT_TIMEOUT: Final = 5.0
# The server gives up on a statement before we do: what we repeat is then not overtaken by what we gave up on.
_SERVER_SHARE: Final = 0.8
_DAMAGED: Final = ("XX001", "XX002")
_PASSING: Final = ("08", "25006", "40", "53", "55", "57", "58")
"""The SQLSTATEs, or their classes, of what passes by itself: connections, conflicts, full, shut down."""


@define
class _Connections:
    """Connections that nobody uses at the moment. All methods are for the store's threads."""

    parameters: Mapping[str, Any]
    timeout: float
    idle: list[Connection] = field(factory=list)
    lock: threading.Lock = field(factory=threading.Lock)
    closed: bool = False

    def take(self) -> tuple[Connection, bool]:
        """Return a connection, and whether it was just made."""
        while True:
            with self.lock:
                connection = self.idle.pop() if self.idle else None
            if connection is None:
                return self._connect(), True
            if _is_alive(connection):
                return connection, False
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next call, unless it is broken or all is over."""
        with self.lock:
            keep = not (connection.closed or self.closed)
            if keep:
                self.idle.append(connection)
        if not keep:
            connection.close()

    def close(self) -> None:
        """Close them; those in use are closed when they are given back."""
        with self.lock:
            self.closed = True
            idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> Connection:
        connection = psycopg.connect(**self.parameters, autocommit=True)
        limit = f"{int(self.timeout * _SERVER_SHARE * 1000)}ms"
        try:
            connection.execute(
                "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)",
                (limit, limit),
            )
        except BaseException:
            connection.close()
            raise
        return connection


@define
class _InUse:
    """The connection that a call is waiting for, so that it can be broken from outside."""

    connection: Connection | None = None
    given_up: bool = False

    def give_up(self) -> None:
        """Cut the connection; the thread that waits for it notices. Safe from any thread, unlike closing it."""
        self.given_up = True
        connection = self.connection
        if connection is None:
            return
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


class PostgresBackend:
    """A `Backend` in a table of a PostgreSQL database. Made by `open_postgres`.

    An operation that finds its connection broken is repeated once on a new one, except `put_if_absent`, whose outcome
    is then unknown. After `timeout` seconds without an answer, an operation's connection is cut.
    """

    def __init__(self, name: str, connections: _Connections, table: str, threads: StoreThreads) -> None:
        self._name = name
        self._connections = connections
        self._threads = threads
        self._table = table
        self._durability = Durability(survives_kill=True, survives_power_cut=True, detail="PostgreSQL")
        self._sql = {
            name: sql.SQL(text).format(sql.Identifier(*table.split("."))) for name, text in _STATEMENTS.items()
        }

    def __repr__(self) -> str:
        return f"<PostgresBackend {self._name.removeprefix('store ')}{' closed' if self._threads.closed else ''}>"

    @property
    def durability(self) -> Durability:
        """What the server's settings, read when it was opened, promise."""
        return self._durability

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        keys = check_keys(keys)

        def work(connection: Connection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for start in range(0, len(keys), _BATCH_KEYS):
                found.update(self._rows(connection, "get", (keys[start : start + _BATCH_KEYS],)))
            return found

        return await self._run(work)

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`. Items of up to 64 MiB together appear together."""
        items = dict(items)
        check_items(items)
        # Two writers that take the same rows in different order would wait for each other.
        batches = _batches(sorted(items.items()))

        def work(connection: Connection) -> None:
            for keys, values in batches:
                connection.execute(self._sql["put"], (keys, values))

        await self._run(work, writes=items)

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`."""
        check_items({key: value})

        def work(connection: Connection) -> bool:
            return connection.execute(self._sql["put_if_absent"], (key, value)).rowcount == 1

        return await self._run(work, writes=[key], repeatable=False)

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        end = prefix_end(prefix)
        # PostgreSQL's text has no NUL. Nor has a key: none starts with it, and each that is greater than what is before
        # the NUL is greater than the whole.
        if "\0" in prefix:
            await self._run(lambda _: None)
            return []
        cut_after = after.partition("\0")[0]
        order = "after" if after >= prefix else "from"
        bound = cut_after if after >= prefix else prefix
        name = order if end is None else f"{order}_until"
        parameters = (bound, max(limit, 0)) if end is None else (bound, end, max(limit, 0))
        return await self._run(lambda connection: self._rows(connection, name, parameters))

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`."""
        keys = sorted(check_keys(keys))

        def work(connection: Connection) -> None:
            for start in range(0, len(keys), _BATCH_KEYS):
                connection.execute(self._sql["delete"], (keys[start : start + _BATCH_KEYS],))

        await self._run(work, writes=keys)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self._threads.aclose(self._connections.close)

    def close_now(self) -> None:
        """Close what is open, without waiting for anything."""
        self._connections.close()

    async def prepare(self) -> None:
        """Make the table unless it is there, check that it is ours, and read what durability rests on.

        Raises:
            StoreIncompatible: the table is not ours, or the database cannot hold every key.
        """
        self._durability = await self._run(self._prepare)

    async def _run(self, work: Callable[[Connection], T], *, writes: Iterable[str] = (), repeatable: bool = True) -> T:
        in_use = _InUse()
        attempt = partial(self._attempt, work, in_use, repeatable=repeatable)
        return await self._threads.run(attempt, writes=list(writes), give_up=in_use.give_up)

    def _attempt(self, work: Callable[[Connection], T], in_use: _InUse, *, repeatable: bool) -> T:
        while True:
            connection, is_new = self._connections.take()
            in_use.connection = connection
            try:
                if in_use.given_up:  # while it connected: what nobody waits for is better not begun
                    raise StoreUnavailable(f"{self._name} took too long to connect")
                return work(connection)
            except psycopg.Error as error:
                if error.sqlstate == "25006":  # read-only: it was demoted, and another server is the primary now
                    connection.close()
                if is_new or not repeatable or not connection.closed or in_use.given_up:
                    raise
            finally:
                in_use.connection = None
                self._connections.give_back(connection)

    def _rows(self, connection: Connection, statement: str, parameters: Sequence[object]) -> list[tuple[str, bytes]]:
        with connection.cursor(binary=True) as cursor:
            # The cast: the statements say which columns come back.
            return cast("list[tuple[str, bytes]]", cursor.execute(self._sql[statement], parameters).fetchall())

    def _prepare(self, connection: Connection) -> Durability:
        if _one(connection, "SHOW server_encoding") != "UTF8":
            raise StoreIncompatible(
                f"{self._name}: its encoding is {_one(connection, 'SHOW server_encoding')}, "
                "which cannot hold every key; create a database with ENCODING 'UTF8'"
            )
        table = sql.Identifier(*self._table.split(".")).as_string(connection)
        if _one(connection, "SELECT to_regclass(%s)", (table,)) is None:
            # Another server may make it at the same moment, and PostgreSQL then refuses one of the two.
            with suppress(psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
                connection.execute(self._sql["create"])
        columns = connection.execute(_COLUMNS, (table,)).fetchall()
        if columns != [("key", "text", "C"), ("value", "bytea", "default")]:
            raise StoreIncompatible(
                f"{self._name}: table {self._table!r} is not a store of goflow-trio; name another one with ?table=…"
            )
        settings = {name: _one(connection, f"SHOW {name}") for name in _SETTINGS}
        bad = {name: value for name, value in settings.items() if value == "off"}
        shown = ", ".join(f"{name}={value}" for name, value in (bad or settings).items())
        return Durability(survives_kill=True, survives_power_cut=not bad, detail=f"PostgreSQL, {shown}")


_SETTINGS: Final = ("synchronous_commit", "fsync", "full_page_writes")
_STATEMENTS: Final = {
    "create": 'CREATE TABLE IF NOT EXISTS {} (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL)',
    "get": "SELECT key, value FROM {} WHERE key = ANY(%s::text[])",
    "put": "INSERT INTO {} (key, value) SELECT * FROM unnest(%s::text[], %b::bytea[]) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    "put_if_absent": "INSERT INTO {} (key, value) VALUES (%s, %b) ON CONFLICT (key) DO NOTHING",
    "from": "SELECT key, value FROM {} WHERE key >= %s ORDER BY key LIMIT %s",
    "from_until": "SELECT key, value FROM {} WHERE key >= %s AND key < %s ORDER BY key LIMIT %s",
    "after": "SELECT key, value FROM {} WHERE key > %s ORDER BY key LIMIT %s",
    "after_until": "SELECT key, value FROM {} WHERE key > %s AND key < %s ORDER BY key LIMIT %s",
    "delete": "DELETE FROM {} WHERE key = ANY(%s::text[])",
}
_COLUMNS: Final = """
SELECT attname::text, format_type(atttypid, atttypmod), coalesce(collname::text, 'default')
FROM pg_attribute LEFT JOIN pg_collation ON pg_collation.oid = attcollation
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


async def open_postgres(
    url: str, *, table: str = TABLE, operation_timeout: float = TIMEOUT, connections: int = CONNECTIONS
) -> PostgresBackend:
    """Open the store in a table of a PostgreSQL database, and make the table unless it is there.

    Args:
        url: as libpq understands it: `postgresql://user:password@host/database?sslmode=verify-full`.
        table: the table's name, with or without its schema.
        operation_timeout: how long one operation may take, in seconds.
        connections: at most so many connections.

    Raises:
        UsageError: the URL or the table's name cannot be used.
        StoreIncompatible: the table is not ours; it was left untouched.
        StoreUnavailable: the server cannot be reached, or may only be read.
    """
    name = f"store {hide_password(url)!r}"
    if not _TABLE_NAME.match(table):
        raise UsageError(f"{name}: table {table!r}: a table's name has letters, digits and _; write ?table={TABLE}")
    try:
        parameters: dict[str, Any] = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Its message may quote the password.
        raise UsageError(f"{name}: libpq cannot read this; see its manual under Connection URIs") from None
    defaults = {
        "connect_timeout": max(1, round(min(_CONNECT_TIMEOUT, operation_timeout))),
        "tcp_user_timeout": round(operation_timeout * 1000),
        "target_session_attrs": "read-write",  # of several hosts, and after a failover: the primary
        "application_name": "goflow-trio",
    }
    backend = PostgresBackend(
        name,
        _Connections(defaults | parameters, operation_timeout),
        table,
        StoreThreads(name, _ERRORS, most=connections, timeout=operation_timeout),
    )
    try:
        await backend.prepare()
    except BaseException:
        backend.close_now()
        raise
    return backend


def check_url(url: str) -> None:
    """Refuse a URL that names no database.

    Raises:
        UsageError: see `open_postgres`.
    """
    _parts(url)


async def open_store(url: str) -> Backend:
    """Open the store that a `postgresql:` URL names; see `open_postgres`. Other options are libpq's."""
    libpq_url, table, timeout, connections = _parts(url)
    return await open_postgres(libpq_url, table=table, operation_timeout=timeout, connections=connections)


def _parts(url: str) -> tuple[str, str, float, int]:
    parts = split_store_url(url)
    options = read_options(url, known=None)
    ours = {name: value for name, value in options.items() if name in _OURS}
    theirs = urlencode({name: value for name, value in options.items() if name not in _OURS}, quote_via=quote)
    table = ours.get("table", TABLE)
    if not _TABLE_NAME.match(table):
        refuse(url, f"table {table!r}: a table's name has letters, digits and _")
    libpq_url = urlunsplit(("postgresql", parts.netloc, parts.path, theirs, ""))
    try:
        conninfo.conninfo_to_dict(libpq_url)
    except psycopg.ProgrammingError:
        refuse(url, f"libpq cannot read this; its own options here are {', '.join(_OURS)}")
    return libpq_url, table, seconds(url, ours), count(url, ours, "connections", CONNECTIONS)


def _batches(items: Sequence[tuple[str, bytes]]) -> list[tuple[list[str], list[bytes]]]:
    batches: list[tuple[list[str], list[bytes]]] = []
    room = 0
    for key, value in items:
        if not batches or room < len(value) or len(batches[-1][0]) == _BATCH_KEYS:
            batches.append(([], []))
            room = _BATCH_BYTES
        batches[-1][0].append(key)
        batches[-1][1].append(value)
        room -= len(value) + 1
    return batches


def _is_alive(connection: Connection) -> bool:
    # It asks the kernel and not the server: whether the other side has hung up since the last call.
    try:
        connection.pgconn.consume_input()
    except psycopg.Error:
        return False
    return not connection.closed


def _one(connection: Connection, query: LiteralString, parameters: Sequence[object] = ()) -> object:
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]


def _map(name: str, error: psycopg.Error) -> StoreError:
    state = error.sqlstate or ""
    text = " ".join(str(error).split())  # libpq's messages have several lines
    shown = f"{name}: {text}" + (f" ({state})" if state else "")
    if state in _DAMAGED:
        return CodecError(f"{shown}; restore it from a backup")
    if state == "53100":  # disk_full
        return StoreFull(f"{shown}; free some space")
    if state == "25006":  # read_only_sql_transaction
        return StoreReadOnly(f"{shown}; it is not the primary, or was set so")
    if state.startswith(_PASSING) or (
        not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    ):
        return StoreUnavailable(shown)
    return StoreError(shown)


_ERRORS: Final = DriverErrors((psycopg.Error,), _map)
