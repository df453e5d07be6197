"""How a driver's exceptions become ours. Each store maps those of its own driver, with this; none gets out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import frozen

from goflow_trio.errors import StoreError

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


@frozen
class DriverErrors(Generic[E]):
    """What a driver raises, and what becomes of it.

    Args:
        kinds: the exceptions that it raises.
        told: returns ours for one of them; given the name of the store and the exception.
    """

    kinds: tuple[type[E], ...]
    told: Callable[[str, E], StoreError]

    def mapped(self, name: str, work: Callable[[], T]) -> T:
        """Do `work` of a store of this name; raise the driver's exceptions as ours."""
        try:
            return work()
        except self.kinds as error:
            raise self.told(name, error) from error
