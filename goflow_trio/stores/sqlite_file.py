"""Whether a file is a SQLite store of ours, and opening it with the settings we promise.

It decides what may be opened. A file of somebody else, or of a newer version, is refused before SQLite itself sees it:
even a read-only connection to a WAL database may create a `-wal` and a `-shm` beside it and change them. So the first
100 bytes are read as a plain file; their layout is fixed (https://www.sqlite.org/fileformat2.html#the_database_header).

All of this blocks and belongs on the store's thread. `sqlite3` errors pass through; the caller maps them.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote

from goflow_trio.errors import StoreIncompatible, StoreUnavailable, UsageError
from goflow_trio.stores.files import name_of

APPLICATION_ID: Final = 0x47_46_6C_77
"""`GFlw`: marks a SQLite file as ours (https://www.sqlite.org/pragma.html#pragma_application_id)."""

FORMAT: Final = 1
"""The version of the table's layout, kept in `user_version`. What the values mean is not this file's business."""

# With a rowid the values lie in a tree of their own. WITHOUT ROWID puts them between the keys, which is better only
# for tiny values: for 100 bytes reads took 13 us instead of 17, but for 2 kB 32 instead of 12 and the file had 35 MB
# instead of 15; for 1 MB 2,380 us instead of 503 (SQLite 3.40).
_TABLE: Final = "CREATE TABLE kv (key TEXT NOT NULL PRIMARY KEY COLLATE BINARY, value BLOB NOT NULL)"

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_SYNCHRONOUS_FULL: Final = 2


def open_file(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open the store in this file, or make it there.

    Args:
        path: an absolute path.
        busy_timeout: how long to wait for a lock that another process holds, in seconds.

    Raises:
        UsageError: the directory does not exist, or the file may not be read or written.
        StoreIncompatible: the file is not ours, or newer than we are; nothing was changed.
        StoreUnavailable: the settings that durability rests on cannot be had here.
    """
    exists = _examine(path)
    connection = sqlite3.connect(
        # Not "rwc" for a file that exists: if it goes away now, an empty one must not take its place.
        f"file:{quote(str(path))}?mode={'rw' if exists else 'rwc'}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,  # transactions are begun and ended by us alone
    )
    try:
        _set_up(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def log_of(path: Path) -> Path:
    """Return the path of the log (WAL) that SQLite has beside a file."""
    return path.with_name(path.name + "-wal")


def _examine(path: Path) -> bool:
    """Look at the file without SQLite, and return whether it exists."""
    if not path.parent.is_dir():
        raise UsageError(
            f"{name_of(path)}: there is no directory {str(path.parent)!r}; create it, or name another path"
        )
    log = log_of(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise StoreIncompatible(f"{name_of(path)} is {kind}; name a file in it, or another path")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        header = None
    except PermissionError as error:
        raise UsageError(f"{name_of(path)}: this user may not read it; change its owner or mode") from error
    except OSError as error:
        raise StoreUnavailable(f"{name_of(path)} cannot be read: {error.strerror}") from error
    if header:
        _check_header(path, header)
    elif log.exists() and log.stat().st_size:
        # SQLite would delete the log and begin an empty database.
        state = "missing" if header is None else "empty"
        raise StoreIncompatible(
            f"{name_of(path)} is {state}, but its log {str(log)!r} is there: bring the file back, or remove the log"
        )
    # SQLite would open a file that it may not write, and in WAL mode even begin to write; only the first submit fails.
    for needed in (path, path.parent) if header is not None else (path.parent,):
        if not os.access(needed, os.W_OK):
            raise UsageError(f"{name_of(path)}: this user may not write {str(needed)!r}; change its owner or mode")
    return header is not None


def _check_header(path: Path, header: bytes) -> None:
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreIncompatible(f"{name_of(path)} is not a SQLite database; it was left untouched: name another file")
    application_id = int.from_bytes(header[68:72], "big")
    if application_id != APPLICATION_ID:
        raise StoreIncompatible(
            f"{name_of(path)} is a database of another program (application_id {application_id:#x}, "
            f"ours is {APPLICATION_ID:#x}); it was left untouched: name another file"
        )
    _check_format(path, int.from_bytes(header[60:64], "big"))


def _check_format(path: Path, version: int) -> None:
    if version > FORMAT:
        raise StoreIncompatible(
            f"{name_of(path)} has format {version}, and this version of goflow-trio knows {FORMAT}; "
            "it was left untouched: use the newer goflow-trio"
        )


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    # On macOS fsync leaves data in the drive's cache; elsewhere these two do nothing.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    # Two processes that make the same store take turns.
    connection.execute("BEGIN IMMEDIATE")
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        if not tables and not application_id:
            # Before WAL is switched on, so that the mark is in the file itself whatever happens next.
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute(_TABLE)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    # The header may be older than the log, and another process may have been here since we looked.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    _check_format(path, version)
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'kv' AND type = 'table'").fetchone():
        raise StoreIncompatible(f"{name_of(path)} has lost its table; restore it from a backup, or name another file")
    # A tree whose root is damaged is reported now, not when its first key is asked for.
    connection.execute("SELECT key, length(value) FROM kv ORDER BY key LIMIT 1").fetchone()
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if journal != "wal" or synchronous != _SYNCHRONOUS_FULL:
        raise StoreUnavailable(
            f"{name_of(path)}: SQLite refuses WAL with synchronous=FULL here (it has {journal}, {synchronous}); "
            "put the file on a local disk"
        )
    # After a burst the log keeps its size for reuse; this is how much of it stays.
    connection.execute("PRAGMA journal_size_limit = 67108864")
