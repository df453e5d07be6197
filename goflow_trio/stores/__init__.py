"""From a store's name to an open backend. It decides which module serves a URL; it knows no store itself.

A store of ours is a module with `check_url(url) -> None`, which raises `UsageError` and opens nothing, and
`async open_store(url) -> Backend`. A module is imported only when its scheme is asked for, so that no driver is needed
that is not used. Other packages add a scheme with an entry point in the group `goflow_trio.stores`, whose name is
the scheme and which is an `async (url: str) -> Backend`.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, Protocol, cast

from goflow_trio.errors import UsageError
from goflow_trio.stores.base import Backend, Durability
from goflow_trio.stores.urls import hide_password, split_store_url

__all__ = ["Backend", "Durability", "check_store_url", "hide_password", "open_backend"]

ENTRY_POINTS: Final = "goflow_trio.stores"

MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "memory": "goflow_trio.stores.memory",
        "sqlite": "goflow_trio.stores.sqlite",
        "file": "goflow_trio.stores.folder",
        "postgresql": "goflow_trio.stores.postgres",
        "postgres": "goflow_trio.stores.postgres",
        "redis": "goflow_trio.stores.redis",
        "rediss": "goflow_trio.stores.redis",
        "valkey": "goflow_trio.stores.redis",
        "valkeys": "goflow_trio.stores.redis",
        "s3": "goflow_trio.stores.s3",
        "dynamodb": "goflow_trio.stores.dynamodb",
        **{
            f"kv+{kind}": "goflow_trio.stores.key_value"
            for kind in ("memory", "disk", "redis", "rediss", "postgresql", "mongodb")
        },
    }
)

EXTRAS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "goflow_trio.stores.postgres": "postgres",
        "goflow_trio.stores.redis": "redis",
        "goflow_trio.stores.s3": "s3",
        "goflow_trio.stores.dynamodb": "dynamodb",
        "goflow_trio.stores.key_value": "kv",
    }
)
"""The extra of this package that brings a module's driver."""


class StoreModule(Protocol):
    """What a module named in `MODULES` provides."""

    def check_url(self, url: str) -> None:
        """Raise `UsageError` for a URL that can never be opened; touch nothing."""
        ...

    async def open_store(self, url: str) -> Backend:
        """Open the store."""
        ...


def check_store_url(store: str | Backend) -> None:
    """Refuse a bad store early, before anything is opened or touched.

    Args:
        store: a URL, or an open backend, which is always right.

    Raises:
        UsageError: the URL cannot be read, or nobody knows its scheme.
    """
    if not isinstance(store, str):
        _check_backend(store)
        return
    own = _own_module(store)
    if own is None:
        _entry_point(store)
    else:
        own.check_url(store)


async def open_backend(store: str | Backend) -> Backend:
    """Open the store that a URL names. The caller closes it with `aclose`.

    Args:
        store: a URL such as `sqlite:///goflow.db`, or an open backend, which is returned as it is.

    Raises:
        UsageError: the URL cannot be used.
        StoreIncompatible: what the URL names is not a store of ours; it was left untouched.
        StoreUnavailable: it cannot be reached now.
    """
    if not isinstance(store, str):
        _check_backend(store)
        return store
    own = _own_module(store)
    if own is None:
        return await _load(_entry_point(store), store)(store)
    own.check_url(store)
    return await own.open_store(store)


def _check_backend(store: Backend) -> None:
    # Not typed callers hand over paths and None; the first use would fail far from the cause.
    if not callable(getattr(store, "put_if_absent", None)):
        raise UsageError(
            f"store {store!r}: a store is a URL (text) or a Backend, not {type(store).__name__}; "
            "write sqlite:///goflow.db"
        )


def _own_module(url: str) -> StoreModule | None:
    """Return our module for a URL's scheme; None if it is not one of ours."""
    module = MODULES.get(split_store_url(url).scheme)
    if module is None:
        return None
    try:
        # The cast: a module cannot declare that it satisfies a protocol; each one's tests do.
        return cast("StoreModule", importlib.import_module(module))
    except ImportError as error:
        if module not in EXTRAS:
            raise
        raise UsageError(
            f"store {hide_password(url)!r}: its driver cannot be imported ({error}); "
            f"pip install 'goflow-trio[{EXTRAS[module]}]'"
        ) from error


def _entry_point(url: str) -> EntryPoint:
    """Return what another package adds for a URL's scheme."""
    scheme = split_store_url(url).scheme
    for entry_point in entry_points(group=ENTRY_POINTS, name=scheme):
        return entry_point
    known = sorted({*MODULES, *(entry_point.name for entry_point in entry_points(group=ENTRY_POINTS))})
    raise UsageError(
        f"store {hide_password(url)!r}: no store is called {scheme!r}; known are {', '.join(known)}. "
        "Correct the URL, or install the package that adds it"
    )


def _load(entry_point: EntryPoint, url: str) -> Callable[[str], Awaitable[Backend]]:
    try:
        return cast("Callable[[str], Awaitable[Backend]]", entry_point.load())
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"store {hide_password(url)!r}: {entry_point.value!r}, which serves {entry_point.name!r}, "
            f"cannot be imported: {error}; reinstall the package that provides it"
        ) from error
