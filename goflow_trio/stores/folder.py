"""The store in a folder: a file a key. It needs no driver, and any tool can look at it, copy it or put it on a share.

A value is written to a file of its own, synced, and moved to its name, so that it appears as a whole; then the folder
is synced. `put_if_absent` makes a hard link, which fails when the name is taken. Listing reads the whole folder: this
store is for thousands of keys. Every `OSError` is mapped here and none gets out.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from goflow_trio.errors import (
    CodecError,
    StoreError,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    UsageError,
)
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability, check_items, check_key, check_keys
from goflow_trio.stores.driver import DriverErrors
from goflow_trio.stores.files import name_of, passing, path_of
from goflow_trio.stores.names import Names, decode, unwrap, wrap
from goflow_trio.stores.options import read_options, refuse
from goflow_trio.stores.size import FolderSize
from goflow_trio.stores.threads import StoreThreads

T = TypeVar("T")

THREADS: Final = 4
TIMEOUT: Final = 60.0
"""How long an operation on a part of the items may take, in seconds: a disk or share that hangs is given up."""

# File systems allow 255 bytes; the prefix of a file that is being written has its place, too.
_NAMES: Final = Names(200)
# No name of a key begins like these.
_MARK: Final = "~~goflow-trio"
_FORMAT: Final = b"goflow-trio store in a folder, format 1\n"
_UNFINISHED: Final = "~~new-"
_ABANDONED_SECONDS: Final = 3600.0
_PER_CALL: Final = 100
_DURABILITY: Final = Durability(
    survives_kill=True, survives_power_cut=True, detail="a file a key, synced, on a disk that honours fsync"
)


class FolderBackend:
    """A `Backend` in a folder. Made by `open_folder`. Several processes may use one, on one machine.

    Each key is written by itself: of a `put` that fails, some items may be there.
    """

    def __init__(self, folder: Path, threads: StoreThreads) -> None:
        self._folder = folder
        self._threads = threads
        self._size = FolderSize(folder)
        # Backends of one folder may be in one process, or on machines whose process ids are the same.
        self._unfinished = f"{_UNFINISHED}{uuid.uuid4().hex}-"
        self._numbers = count()

    def __repr__(self) -> str:
        return f"<FolderBackend {str(self._folder)!r}{' closed' if self._threads.closed else ''}>"

    @property
    def durability(self) -> Durability:
        """Kept, whatever is killed or cut: all is synced."""
        return _DURABILITY

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        check_key(key)
        found = await self._threads.run(partial(self._read, [_NAMES.of(key)]))
        return found[0][1] if found else None

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        names = [_NAMES.of(key) for key in check_keys(keys)]
        return dict(await self._threads.run(partial(self._read, names)))

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`."""
        items = dict(items)
        check_items(items)
        pairs = list(items.items())
        if not pairs:
            await self._threads.run(lambda: None)
        for start in range(0, len(pairs), _PER_CALL * THREADS):
            some = pairs[start : start + _PER_CALL * THREADS]
            # Side by side, because most of it is waiting for the disk.
            parts = [part for first in range(THREADS) if (part := some[first::THREADS])]
            await self._threads.run_all([([key for key, _ in part], partial(self._write, part)) for part in parts])

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`."""
        check_items({key: value})
        return await self._threads.run(partial(self._create, key, value), writes=[key])

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        return await self._threads.run(partial(self._scan, prefix, after, limit))

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`."""
        keys = check_keys(keys)
        await self._threads.run(partial(self._remove, [_NAMES.of(key) for key in keys]), writes=keys)

    async def size(self) -> int | None:
        """See `Sized`: all files."""
        if self._size.is_due:
            await self._threads.run(self._size.count)
        return self._size.bytes

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self._threads.aclose(lambda: None)

    async def prepare(self) -> None:
        """Make the folder unless it is there, and check that it is ours."""
        await self._threads.run(self._prepare)

    # What runs in threads ---------------------------------------------------------------------------

    def _prepare(self) -> None:
        mark = self._folder / _MARK
        with suppress(FileExistsError):
            self._folder.mkdir()
        if mark.exists():
            if mark.read_bytes() != _FORMAT:
                raise StoreIncompatible(
                    f"{self._threads.name}: its mark {_MARK!r} is not of a version that this one reads"
                )
        elif any(not name.startswith(_UNFINISHED) for name in os.listdir(self._folder)):  # noqa: PTH208  # names suffice
            raise StoreIncompatible(
                f"{self._threads.name}: the folder is not empty and not a store of goflow-trio; name another one"
            )
        else:
            with self._new_file(_FORMAT) as path:
                path.replace(mark)
            self._sync()
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            # A killed process leaves the file that it was writing; a living one is not that slow.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    path.unlink()

    def _write(self, items: Sequence[tuple[str, bytes]]) -> None:
        for key, value in items:
            with self._new_file(_content(key, value)) as path:
                path.replace(self._folder / _NAMES.of(key))
        self._sync()

    def _create(self, key: str, value: bytes) -> bool:
        with self._new_file(_content(key, value)) as path:
            try:
                (self._folder / _NAMES.of(key)).hardlink_to(path)
            except FileExistsError:
                return False
            finally:
                path.unlink()
        self._sync()
        return True

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
        self._sync()

    def _read(self, names: Iterable[str]) -> list[tuple[str, bytes]]:
        pairs = []
        for name in names:
            try:
                data = (self._folder / name).read_bytes()
            except FileNotFoundError:
                continue
            pairs.append(self._pair(name, data))
        return pairs

    def _scan(self, prefix: str, after: str, limit: int) -> list[tuple[str, bytes]]:
        # A name that was cut does not tell its key, so those are read first.
        keys: list[tuple[str, str]] = []
        for name in os.listdir(self._folder):  # noqa: PTH208  # a hundred thousand paths are slow
            if _NAMES.is_cut(name):
                keys += ((key, name) for key, _ in self._read([name]))
            elif (key := decode(name)) is not None:
                keys.append((key, name))
        wanted = sorted((key, name) for key, name in keys if key.startswith(prefix) and key > after)
        pairs: list[tuple[str, bytes]] = []
        for _, name in wanted:
            if len(pairs) >= limit:
                break
            pairs += self._read([name])
        return pairs

    def _pair(self, name: str, data: bytes) -> tuple[str, bytes]:
        if _NAMES.is_cut(name):
            return unwrap(data)
        key = decode(name)
        if key is None:
            raise CodecError(f"{self._threads.name}: {name!r} is not the name of a key; it was renamed")
        return key, data

    @contextmanager
    def _new_file(self, data: bytes) -> Iterator[Path]:
        """Write a synced file of a passing name; whoever asked gives it its own."""
        path = self._folder / f"{self._unfinished}{next(self._numbers)}"
        try:
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def open_folder(folder: str | Path) -> FolderBackend:
    """Open the store in a folder, or make it there.

    Args:
        folder: the one that is the store; what it is in must exist.

    Raises:
        UsageError: it cannot be made, or this user may not use it.
        StoreIncompatible: it holds something else; it was left untouched.
        StoreUnavailable: its disk does not answer.
    """
    path = Path(folder).absolute()  # noqa: ASYNC240  # it asks for the working directory alone
    name = name_of(path)
    backend = FolderBackend(path, StoreThreads(name, _ERRORS, most=THREADS, timeout=TIMEOUT))
    try:
        await backend.prepare()
    except StoreError as error:
        cause = error.__cause__
        if isinstance(cause, PermissionError | FileNotFoundError | NotADirectoryError):
            raise UsageError(f"{name}: {cause.strerror}; name a folder that this user may make or write") from cause
        raise
    return backend


def check_url(url: str) -> None:
    """Refuse a URL that names no folder.

    Raises:
        UsageError: see `folder_of`.
    """
    folder_of(url)


async def open_store(url: str) -> Backend:
    """Open the store that a `file:` URL names; see `open_folder`."""
    return await open_folder(folder_of(url))


def folder_of(url: str) -> str:
    """Return the path in a `file:` URL, which is absolute (RFC 8089).

    Example:
        >>> folder_of("file:///srv/goflow")
        '/srv/goflow'

    Raises:
        UsageError: there is none, or more than a path.
    """
    rule = "a folder has three slashes and its absolute path: file:///srv/goflow"
    path = path_of(url, rule)
    if path.strip("/") == "" or "\0" in path:
        refuse(url, rule)
    read_options(url, ())
    return path


def _content(key: str, value: bytes) -> bytes:
    return wrap(key, value) if _NAMES.is_cut(_NAMES.of(key)) else value


def _map(name: str, error: OSError) -> StoreError:
    shown = f"{name}: {error.strerror or error}"
    if error.errno in {errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR, errno.EPERM, errno.EOPNOTSUPP}:
        return StoreError(shown)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return passing(StoreFull, shown)
    if error.errno in {errno.EROFS, errno.EACCES}:
        return passing(StoreReadOnly, shown)
    return passing(StoreUnavailable, shown)


_ERRORS: Final = DriverErrors((OSError,), _map)
