"""The store in a table of DynamoDB, through boto3 in threads. `dynamodb_table` has the layout and the calls.

Every `botocore` error is mapped here and none gets out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, WaiterError  # noqa: A004

from goflow_trio.errors import StoreError, StoreUnavailable, UsageError
from goflow_trio.stores.aws import CONNECT_TIMEOUT, CONNECTIONS, OPTIONS, ServiceOptions, service_options
from goflow_trio.stores.base import (
    MAX_KEY_BYTES,
    SCAN_LIMIT,
    Backend,
    Durability,
    check_items,
    check_key,
    check_keys,
    prefix_end,
)
from goflow_trio.stores.driver import DriverErrors
from goflow_trio.stores.dynamodb_table import PART_BYTES, READS, WRITES, Item, Table
from goflow_trio.stores.options import boolean, read_options, refuse
from goflow_trio.stores.threads import StoreThreads
from goflow_trio.stores.urls import split_store_url

T = TypeVar("T")

TIMEOUT: Final = 20.0
"""How long a batch of requests may take unless told otherwise, in seconds."""

_OPTIONS: Final = (*OPTIONS, "create")
_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_DURABILITY: Final = Durability(
    survives_kill=True, survives_power_cut=True, detail="DynamoDB: in three places before it is confirmed"
)
_PASSING: Final = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "ItemCollectionSizeLimitExceededException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ResourceInUseException",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
    }
)


class DynamoBackend:
    """A `Backend` in a table of DynamoDB. Made by `open_dynamodb`.

    Each key is written by itself: of a `put` that fails, some items may be there. Requests are repeated by the driver,
    except conditional ones, whose outcome would then be unknown. A write of a large value that is cut by a crash, or
    races with another one, leaves parts behind that nothing refers to; they cost their space.
    """

    def __init__(self, table: Table, threads: StoreThreads, connections: int) -> None:
        self._name = threads.name
        self._table = table
        self._threads = threads
        self._round = connections * 4

    def __repr__(self) -> str:
        return f"<DynamoBackend {self._name.removeprefix('store ')}{' closed' if self._threads.closed else ''}>"

    @property
    def durability(self) -> Durability:
        """What DynamoDB promises of what it has confirmed."""
        return _DURABILITY

    async def get(self, key: str) -> bytes | None:
        """See `Backend.get`."""
        check_key(key)
        return await self._threads.run(partial(self._table.get, key))

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Backend.get_many`."""
        wanted = check_keys(keys)
        batches = [wanted[start : start + READS] for start in range(0, len(wanted), READS)]
        works = [((), partial(self._table.get_items, batch)) for batch in batches]
        items = await self._threads.run_all(works, at_once=self._round)
        return await self._values([item for some in items for item in some])

    async def put(self, items: Mapping[str, bytes]) -> None:
        """See `Backend.put`."""
        items = dict(items)
        check_items(items)
        small = [(key, value) for key, value in items.items() if len(value) <= PART_BYTES]
        large = [key for key, value in items.items() if len(value) > PART_BYTES]
        if len(small) == 1:
            large, small = [*large, small[0][0]], []
        jobs = [([key], partial(self._table.put, key, items[key])) for key in large]
        for start in range(0, len(small), WRITES):
            some = small[start : start + WRITES]
            jobs.append(([key for key, _ in some], partial(self._table.put_small, some)))
        await self._threads.run_all(jobs, at_once=self._round)

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        """See `Backend.put_if_absent`."""
        check_items({key: value})
        return await self._threads.run(partial(self._table.put_if_absent, key, value), writes=[key])

    async def scan(self, prefix: str, after: str = "", limit: int = SCAN_LIMIT) -> Sequence[tuple[str, bytes]]:
        """See `Backend.scan`."""
        least = _at_most_key(max(prefix, after))
        end = prefix_end(prefix)
        pairs: list[tuple[str, bytes]] = []
        if len(prefix.encode()) > MAX_KEY_BYTES or (end is not None and least > end) or limit <= 0:
            await self._threads.run(lambda: None)
            return pairs
        start: Item | None = None
        while True:
            # One more on either side: both bounds of a query are inclusive, ours are not.
            items, start = await self._threads.run(
                partial(self._table.query, least, end, limit + 2 - len(pairs), start)
            )
            wanted = [item for item in items if item["key"]["S"].startswith(prefix) and item["key"]["S"] > after]
            values = await self._values(wanted)
            pairs += ((key, values[key]) for item in wanted if (key := item["key"]["S"]) in values)
            if start is None or len(pairs) >= limit:
                return pairs[:limit]

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Backend.delete`."""
        wanted = check_keys(keys)
        jobs = []
        for start in range(0, len(wanted), WRITES):
            some = wanted[start : start + WRITES]
            jobs.append((some, partial(self._table.delete, some)))
        await self._threads.run_all(jobs, at_once=self._round)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self._threads.aclose(self.close_now)

    def close_now(self) -> None:
        """Hang up."""
        self._table.close()

    async def prepare(self, *, create: bool) -> None:
        """Make the table unless it is there, and check that it is ours.

        Raises:
            StoreIncompatible: it is not.
            StoreError: it does not exist and is not to be made.
        """
        await self._threads.run(partial(self._table.prepare, create=create))

    async def _values(self, items: Sequence[Item]) -> dict[str, bytes]:
        """Return the values of items; one whose key was deleted meanwhile is left out."""

        def read(item: Item) -> tuple[str, bytes | None]:
            key: str = item["key"]["S"]
            value = self._table.value(item)
            return key, self._table.get(key) if value is None else value

        found = dict(read(item) for item in items if "value" in item)
        works = [((), partial(read, item)) for item in items if "value" not in item]
        found |= await self._threads.run_all(works, at_once=self._round)
        return {key: value for key, value in found.items() if value is not None}


async def open_dynamodb(
    table: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    operation_timeout: float = TIMEOUT,
    connections: int = CONNECTIONS,
    create: bool = True,
) -> DynamoBackend:
    """Open the store in a table. Credentials are found as boto3 finds them.

    Args:
        table: its name.
        endpoint_url: where the service is, if it is not Amazon's.
        region: the table's region, if neither `AWS_REGION` nor boto3's configuration says it.
        operation_timeout: how long a batch of requests may take, in seconds.
        connections: at most so many requests at once.
        create: make the table (paid by request) unless it is there.

    Raises:
        UsageError: an argument cannot be used.
        StoreIncompatible: the table is not ours; it was left untouched.
        StoreUnavailable: the service cannot be reached.
        StoreError: the table does not exist, or may not be used.
    """
    name = f"store 'dynamodb://{table}'"
    threads = StoreThreads(name, _ERRORS, most=connections, timeout=operation_timeout)

    def make() -> tuple[Any, Any]:
        session = boto3.session.Session()

        def client(attempts: int) -> Any:
            config = Config(
                connect_timeout=min(CONNECT_TIMEOUT, operation_timeout),
                read_timeout=operation_timeout / 2,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=connections,
            )
            return session.client("dynamodb", region_name=_region(region), endpoint_url=endpoint_url, config=config)

        try:
            return client(3), client(1)
        except (BotoCoreError, ValueError) as error:
            raise UsageError(f"{name}: {error}") from error

    client, once = await threads.run(make)
    backend = DynamoBackend(Table(name, table, client, once), threads, connections)
    try:
        await backend.prepare(create=create)
    except BaseException:
        backend.close_now()
        raise
    return backend


def check_url(url: str) -> None:
    """Refuse a URL that names no table.

    Raises:
        UsageError: see `open_dynamodb`.
    """
    parts = split_store_url(url)
    if not _TABLE_NAME.fullmatch(parts.netloc) or parts.path not in {"", "/"}:
        refuse(url, "name a table of 3 to 255 letters, digits, _ . and -, and nothing else: dynamodb://goflow")
    _settings(url)


async def open_store(url: str) -> Backend:
    """Open the store that a `dynamodb:` URL names; see `open_dynamodb`."""
    options, create = _settings(url)
    return await open_dynamodb(split_store_url(url).netloc, create=create, **options)


def _settings(url: str) -> tuple[ServiceOptions, bool]:
    options = read_options(url, _OPTIONS)
    return service_options(url, options, TIMEOUT), boolean(url, options, "create", default=True)


def _region(region: str | None) -> str | None:
    # AWS_REGION is what Amazon's own environments and other tools set; boto3 reads AWS_DEFAULT_REGION alone.
    return region or os.environ.get("AWS_REGION") or None


def _at_most_key(text: str) -> str:
    """Return text cut to the length of a key: no key lies between the two, its own extensions excepted."""
    return text.encode()[:MAX_KEY_BYTES].decode(errors="ignore")


def _map(name: str, error: Exception) -> StoreError:
    shown = f"{name}: {' '.join(str(error).split())[:300]}"
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if details.get("Code") == "ResourceNotFoundException":
            return StoreError(f"{shown}; create the table, or leave out create=false")
        passes = details.get("Code") in _PASSING or status >= 500  # noqa: PLR2004
        return StoreUnavailable(shown) if passes else StoreError(shown)
    if isinstance(error, HTTPClientError | ConnectionError | WaiterError):
        return StoreUnavailable(shown)
    return StoreError(shown)


_ERRORS: Final = DriverErrors((BotoCoreError, ClientError), _map)
