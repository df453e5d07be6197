"""The store in a bucket of S3 or of something that speaks S3: an object a key, through obstore in threads.

What it needs of the service, besides reads that see what was written: a create that fails when the object exists
(`If-None-Match: *`). That is tried when the store is opened. Every `obstore` error is mapped here and none gets out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import unquote

import obstore
import trio
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from goflow_trio.errors import StoreError, StoreIncompatible, StoreUnavailable, UsageError
from goflow_trio.stores.aws import CONNECT_TIMEOUT, CONNECTIONS, OPTIONS, service_options
from goflow_trio.stores.base import SCAN_LIMIT, Backend, Durability, check_items, check_keys, prefix_end
from goflow_trio.stores.driver import DriverErrors
from goflow_trio.stores.names import Names, decode, encode, unwrap, wrap
from goflow_trio.stores.options import read_options, refuse
from goflow_trio.stores.threads import StoreThreads
from goflow_trio.stores.urls import split_store_url

if TYPE_CHECKING:  # they exist in obstore's stubs only
    from obstore.store import ClientConfig, S3Config

S = TypeVar("S")
T = TypeVar("T")

TIMEOUT: Final = 30.0
"""How long a batch of requests may take unless told otherwise, in seconds."""

# S3 allows 1,024 bytes, the folder in the bucket included.
_NAMES: Final = Names(800)
_LONGEST_FOLDER: Final = 200
# No name of a key begins like this.
_PROBE: Final = "~~goflow-trio"
_PER_CALL: Final = 20
_RETRIES: Final = 3
_DURABILITY: Final = Durability(
    survives_kill=True, survives_power_cut=True, detail="S3: an object is kept once the service has confirmed it"
)


class _Page(NamedTuple):
    """Some of the objects' names, in order, with sizes; whole groups."""

    names: list[tuple[str, int]]
    is_last: bool


class S3Backend:
    """A `Backend` in a bucket of S3. Made by `open_s3`.

    An object a key, so each key is written by itself: of a `put` that fails, some items may be there. Values are read
    one by one, `connections` at a time, and empty ones not at all. Requests are repeated by the driver, except the
    one of `put_if_absent`, whose outcome would then be unknown.
    """

    def __init__(self, name: str, store: S3Store, once: S3Store, threads: StoreThreads, connections: int) -> None:
        self._name = name
        self._store = store
        self._once = once
        self._threads = threads
        self._round = connections * _PER_CALL

    def __repr__(self) -> str:
        return f"<S3Backend {self._name.removeprefix('store ')}{' closed' if self._threads.closed else ''}>"

    @property
    def durability(self) -> Durability:
        """What S3 promises of an object that it has confirmed."""
        return _DURABILITY

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        names = {_NAMES.of(key): key for key in check_keys(keys)}
        found = await self._read(list(names))
        return {names[name]: _unwrapped(name, data)[1] for name, data in found.items()}

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`."""
        items = dict(items)
        check_items(items)

        def write(some: Sequence[tuple[str, bytes]]) -> Callable[[], None]:
            def work() -> None:
                for key, value in some:
                    name = _NAMES.of(key)
                    obstore.put(self._store, name, _wrapped(name, key, value), use_multipart=False)

            return work

        await self._in_rounds(list(items.items()), lambda some: ([key for key, _ in some], write(some)))

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`."""
        check_items({key: value})
        name = _NAMES.of(key)
        return await self._threads.run(lambda: self._create(name, _wrapped(name, key, value)), writes=[key])

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        offset = _before(prefix, after)
        end = prefix_end(prefix)
        until = None if end is None else _NAMES.group(encode(end))
        pairs: list[tuple[str, bytes]] = []
        while True:
            wanted = limit - len(pairs)
            page = await self._threads.run(partial(self._list, offset, until, wanted))
            found = {name: b"" for name, size in page.names if not size}
            found |= await self._read([name for name, size in page.names if size])
            in_order = sorted(_unwrapped(name, data) for name, data in found.items())
            pairs += ((key, value) for key, value in in_order if key.startswith(prefix) and key > after)
            # An object that was deleted between the list and the reading makes a page short.
            if page.is_last or len(pairs) >= limit:
                return pairs[: max(limit, 0)]
            offset = page.names[-1][0]

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`."""
        names = {_NAMES.of(key): key for key in check_keys(keys)}
        some = list(names)
        for start in range(0, len(some), 1000):
            batch = some[start : start + 1000]
            await self._threads.run(partial(obstore.delete, self._store, batch), writes=[names[name] for name in batch])
        if not some:
            await self._threads.run(lambda: None)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self._threads.aclose(lambda: None)

    async def prepare(self) -> None:
        """Check that the bucket is there and that a create fails when the object exists.

        Raises:
            StoreIncompatible: it does not.
        """

        def work() -> None:
            if self._create(_PROBE, b"1") and self._create(_PROBE, b"2"):
                raise StoreIncompatible(
                    f"{self._name}: this service does not know conditional writes (If-None-Match), "
                    "so that two servers could not be told apart; take another one"
                )

        await self._threads.run(work)

    def _create(self, name: str, data: bytes) -> bool:
        try:
            obstore.put(self._once, name, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def _list(self, offset: str | None, until: str | None, wanted: int) -> _Page:
        names: list[tuple[str, int]] = []
        if wanted <= 0:
            return _Page(names, is_last=True)
        for metas in obstore.list(self._store, offset=offset, chunk_size=1000):
            for meta in metas:
                name = meta["path"]
                group = _NAMES.group(name)
                if until is not None and group > until:
                    return _Page(names, is_last=True)
                if len(names) >= wanted and group != _NAMES.group(names[-1][0]):
                    return _Page(names, is_last=False)
                if _NAMES.is_cut(name) or decode(name) is not None:  # else it is not ours
                    names.append((name, meta["size"]))
        return _Page(names, is_last=True)

    async def _read(self, names: Sequence[str]) -> dict[str, bytes]:
        def read(some: Sequence[str]) -> Callable[[], dict[str, bytes]]:
            def work() -> dict[str, bytes]:
                found = {}
                for name in some:
                    try:
                        found[name] = bytes(obstore.get(self._store, name).bytes())
                    except (NotFoundError, FileNotFoundError):
                        continue
                return found

            return work

        parts = await self._in_rounds(names, lambda some: ((), read(some)))
        return {name: data for part in parts for name, data in part.items()}

    async def _in_rounds(
        self, things: Sequence[S], job: Callable[[Sequence[S]], tuple[Collection[str], Callable[[], T]]]
    ) -> list[T]:
        """Do a job on all things, a few in each thread; a round of all threads after the other."""
        if not things:
            await self._threads.run(lambda: None)
        results: list[T] = []
        for start in range(0, len(things), self._round):
            some = things[start : start + self._round]
            # The things of a small round are spread over all threads.
            size = -(-len(some) * _PER_CALL // self._round)
            jobs = [job(some[first : first + size]) for first in range(0, len(some), size)]
            results += await self._threads.run_all(jobs)
        return results


async def open_s3(
    bucket: str,
    folder: str = "",
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    operation_timeout: float = TIMEOUT,
    connections: int = CONNECTIONS,
) -> S3Backend:
    """Open the store in a bucket. Credentials come from the environment, or from the machine's role.

    Args:
        bucket: its name; it must exist.
        folder: what the names of all objects begin with, without slashes at its ends.
        endpoint_url: where the service is, if it is not Amazon's.
        region: the bucket's region, if `AWS_REGION` does not say it.
        operation_timeout: how long a batch of requests may take, in seconds.
        connections: at most so many requests at once.

    Raises:
        UsageError: an argument cannot be used.
        StoreIncompatible: the service cannot do what is needed.
        StoreUnavailable: it cannot be reached.
        StoreError: the bucket does not exist, or may not be used.
    """
    place = "/".join(part for part in (bucket, folder) if part)
    name = f"store 's3://{place}'"
    if len(folder.encode()) > _LONGEST_FOLDER:
        raise UsageError(f"{name}: its folder has more than {_LONGEST_FOLDER} bytes; take a shorter one")
    config: S3Config = {"virtual_hosted_style_request": endpoint_url is None}
    if endpoint_url is not None:
        config["endpoint"] = endpoint_url
    if region is not None:
        config["region"] = region
    options: ClientConfig = {
        "allow_http": endpoint_url is not None and endpoint_url.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(CONNECT_TIMEOUT, operation_timeout)),
        "timeout": timedelta(seconds=operation_timeout),
    }

    def make(retries: int) -> S3Store:
        try:
            return S3Store(
                bucket,
                prefix=folder or None,
                config=config,
                client_options=options,
                retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=operation_timeout)},
            )
        except (BaseError, ValueError) as error:
            raise UsageError(f"{name}: {_words(error)}") from error

    # The threads are given a little more: the driver's own message says more.
    threads = StoreThreads(name, _ERRORS, most=connections, timeout=operation_timeout * 1.2)
    backend = S3Backend(name, make(_RETRIES), make(0), threads, connections)
    try:
        await backend.prepare()
    except BaseException:
        with trio.CancelScope(shield=True):
            await backend.aclose()
        raise
    return backend


def check_url(url: str) -> None:
    """Refuse a URL that names no bucket.

    Raises:
        UsageError: see `open_s3`.
    """
    parts = split_store_url(url)
    if not parts.netloc or "@" in parts.netloc or ":" in parts.netloc:
        refuse(
            url,
            "name a bucket, and nothing else, before the folder: s3://bucket/folder; credentials come from "
            "the environment",
        )
    service_options(url, read_options(url, OPTIONS), TIMEOUT)


async def open_store(url: str) -> Backend:
    """Open the store that an `s3:` URL names; see `open_s3`."""
    parts = split_store_url(url)
    options = service_options(url, read_options(url, OPTIONS), TIMEOUT)
    return await open_s3(parts.netloc, unquote(parts.path).strip("/"), **options)


def _before(prefix: str, after: str) -> str | None:
    """Return a name that is less than those of all wanted keys, and not much less."""
    if after >= prefix and after:
        name = encode(after)
        if not _NAMES.is_cut(name):
            return name
        bound = _NAMES.group(name)
    elif prefix:
        bound = _NAMES.group(encode(prefix))
    else:
        return None
    # Listing begins after a name, and the bound itself may be one: step just before it.
    return f"{bound[:-1]}{chr(ord(bound[-1]) - 1)}~~~"


def _wrapped(name: str, key: str, value: bytes) -> bytes:
    return wrap(key, value) if _NAMES.is_cut(name) else value


def _unwrapped(name: str, data: bytes) -> tuple[str, bytes]:
    if _NAMES.is_cut(name):
        return unwrap(data)
    key = decode(name)
    assert key is not None, name
    return key, data


def _words(error: Exception) -> str:
    """Return what the driver says, in one line and without its internals."""
    return " ".join(str(error).partition("Debug source:")[0].split())[:300]


def _map(name: str, error: Exception) -> StoreError:
    shown = f"{name}: {_words(error)}"
    if _NOBODY_TOLD in shown:
        return StoreUnavailable(
            f"{shown}; there are no credentials in the environment, and this machine gives none: set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, NotFoundError | FileNotFoundError):
        return StoreError(f"{shown}; create the bucket, or correct its name")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
        return StoreError(f"{shown}; check the credentials and what they may do")
    return StoreUnavailable(shown)


_NOBODY_TOLD: Final = "http://169.254.169.254"
"""Where a machine of Amazon's is asked for its role, when nothing else tells who we are."""
_ERRORS: Final = DriverErrors((BaseError, OSError), _map)
