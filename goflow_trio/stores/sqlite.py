"""The store for one machine: a SQLite file, by the standard library alone.

One connection on one thread both writes and checkpoints. That is what SQLite's WAL needs to be safe (two connections
can corrupt the file up to 3.51.2, https://www.sqlite.org/wal.html#walresetbug), and it makes the operations a queue:
they take effect in the order they were asked for. Every `sqlite3` error is mapped here and none gets out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from goflow_trio.errors import (
    CodecError,
    StoreError,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
)
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability, check_items, check_key, check_keys, prefix_end
from goflow_trio.stores.driver import DriverErrors
from goflow_trio.stores.files import name_of, passing, path_of
from goflow_trio.stores.options import refuse
from goflow_trio.stores.sqlite_file import log_of, open_file
from goflow_trio.stores.urls import split_store_url
from goflow_trio.stores.worker import WorkerThread

T = TypeVar("T")

BUSY_TIMEOUT: Final = 5.0
"""How long one operation waits for a lock that another process holds, in seconds."""

_DURABILITY: Final = Durability(
    survives_kill=True, survives_power_cut=True, detail="SQLite, WAL, synchronous=FULL, on a disk that honours fsync"
)
# SQLite before 3.32 allows 999 parameters in a statement.
_KEYS_PER_QUERY: Final = 500
_PUT: Final = "INSERT INTO kv (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_PUT_IF_ABSENT: Final = "INSERT INTO kv (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
# Two queries, because the planner searches by one lower bound only: a late page would walk over the early ones.
_SCAN_FROM: Final = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_SCAN_AFTER: Final = "SELECT key, value FROM kv WHERE key > ? AND key < ? ORDER BY key LIMIT ?"

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_KINDS: Final[Mapping[int, type[StoreUnavailable]]] = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_PERM: StoreReadOnly,
}


class SqliteBackend:
    """A `Backend` in a SQLite file. Made by `open_sqlite`.

    `put` and `delete` are one transaction each, so their keys appear together. A cancelled write either never happens
    or happens as a whole, before any operation that is asked for later. An operation waits `BUSY_TIMEOUT` for another
    process's lock, then raises `StoreUnavailable`; those behind it in the queue wait as well.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, thread: WorkerThread) -> None:
        self._path = path
        self._name = name_of(path)
        self._connection = connection
        self._thread = thread
        self._identity = _identity(path)

    def __repr__(self) -> str:
        return f"<SqliteBackend {str(self._path)!r}{' closed' if self._thread.closed else ''}>"

    @property
    def durability(self) -> Durability:
        """Kept, whatever is killed or cut; `open_sqlite` has checked the settings."""
        return _DURABILITY

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        check_key(key)
        rows = await self._run(lambda: self._rows("SELECT key, value FROM kv WHERE key = ?", (key,)))
        return rows[0][1] if rows else None

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        keys = check_keys(keys)

        def work() -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                some = keys[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(some))
                # Only question marks are put into the text.
                found.update(self._rows(f"SELECT key, value FROM kv WHERE key IN ({marks})", some))  # noqa: S608
            return found

        return await self._run(work)

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`. All items or none."""
        items = dict(items)
        check_items(items)

        def work() -> None:
            with self._transaction():
                self._connection.executemany(_PUT, items.items())

        await self._run(work)

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`."""
        check_items({key: value})

        def work() -> bool:
            with self._transaction():
                return self._connection.execute(_PUT_IF_ABSENT, (key, value)).rowcount == 1

        return await self._run(work)

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        end = prefix_end(prefix)
        # SQLite orders every blob after every text, so an empty blob is the end of all keys.
        bounds = (max(prefix, after), b"" if end is None else end, max(limit, 0))
        query = _SCAN_AFTER if after >= prefix else _SCAN_FROM
        return await self._run(lambda: self._rows(query, bounds))

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`. All keys or none."""
        keys = check_keys(keys)

        def work() -> None:
            with self._transaction():
                self._connection.executemany("DELETE FROM kv WHERE key = ?", ((key,) for key in keys))

        await self._run(work)

    async def size(self) -> int:
        """See `Sized`: the file, and its log."""
        return await self._thread.run(lambda: sum(map(_bytes_of, (self._path, log_of(self._path)))))

    async def aclose(self) -> None:
        """See `Backend.aclose`. The log is folded into the file, and the thread ends."""
        await self._thread.aclose(self.close_now)

    async def _run(self, work: Callable[[], T]) -> T:
        return await self._thread.run(lambda: _ERRORS.mapped(self._name, work))

    def close_now(self) -> None:
        """Close the connection. For the thread that owns it, and nobody else."""
        _ERRORS.mapped(self._name, self._connection.close)

    def _rows(self, query: str, parameters: Sequence[str | bytes | int]) -> list[tuple[str, bytes]]:
        return self._connection.execute(query, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if _identity(self._path) != self._identity:
            # The connection would go on writing, durably, into a file that nobody can open again.
            raise StoreUnavailable(f"{self._name} was moved, replaced or deleted; bring it back, or restart")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            # Some errors (full, I/O) end the transaction themselves; a COMMIT that was refused leaves it open.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


async def open_sqlite(path: str | Path, *, busy_timeout: float = BUSY_TIMEOUT) -> SqliteBackend:
    """Open the store in this file, or make it there.

    Args:
        path: the file; a relative path is taken from the working directory of now.
        busy_timeout: how long one operation waits for another process's lock, in seconds.

    Raises:
        UsageError: the directory does not exist, or the file may not be read or written.
        StoreIncompatible: the file is not ours, or newer than we are; it was left untouched.
        StoreUnavailable: it is locked, or its disk does not answer.
        CodecError: it is damaged.
    """
    thread = WorkerThread(f"SQLite store {str(path)!r}")
    opened: list[SqliteBackend] = []

    def work() -> None:
        file = Path(path).absolute()
        connection = _ERRORS.mapped(name_of(file), lambda: open_file(file, busy_timeout=busy_timeout))
        opened.append(SqliteBackend(file, connection, thread))

    def undo() -> None:
        for backend in opened:
            backend.close_now()

    try:
        await thread.run(work)
    except Exception:
        thread.close_soon(undo)
        thread.join()  # it has just failed, so there is nothing left for it to do
        raise
    except BaseException:
        # Cancelled: what the thread has opened, or is about to, it closes again.
        thread.close_soon(undo)
        raise
    return opened[0]


def check_url(url: str) -> None:
    """Refuse a URL that names no file.

    Raises:
        UsageError: see `file_of`.
    """
    file_of(url)


async def open_store(url: str) -> Backend:
    """Open the store that a `sqlite:///` URL names; see `open_sqlite`."""
    return await open_sqlite(file_of(url))


def file_of(url: str) -> str:
    """Return the path in a `sqlite:` URL: three slashes and a relative path, or four for an absolute one.

    Example:
        >>> file_of("sqlite:///data/goflow.db"), file_of("sqlite:////srv/goflow.db")
        ('data/goflow.db', '/srv/goflow.db')

    Raises:
        UsageError: there is no path, or more than a path, or `:memory:`.
    """
    path = path_of(url, "a SQLite store has three slashes, or four for an absolute path: sqlite:///goflow.db")
    parts = split_store_url(url)
    if parts.query or parts.fragment:
        refuse(url, "a SQLite store has no options; write ? and # in a file name as %3F and %23")
    path = path.removeprefix("/")
    if path in {"", ":memory:"}:
        refuse(url, "name a file, as in sqlite:///goflow.db; to keep nothing, write memory://")
    if "\0" in path or path.endswith("/"):
        refuse(url, "this is not the name of a file; write sqlite:///goflow.db")
    return path


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # there is none; the next write says what that means


def _map(name: str, error: sqlite3.Error) -> StoreError:
    # Errors that the Python module raises by itself have no code; the low byte is the primary one.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _PASSING:
        return passing(_KINDS.get(code, StoreUnavailable), f"{name}: {error} ({_word(error)})")
    if code == sqlite3.SQLITE_NOTADB:
        return StoreIncompatible(f"{name} is not a SQLite database; name another file")
    if code == sqlite3.SQLITE_CORRUPT:
        return CodecError(f"{name} is damaged: {error}; restore it from a backup")
    return StoreError(f"{name}: {error} ({_word(error)})")


def _word(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)


_ERRORS: Final = DriverErrors((sqlite3.Error,), _map)
