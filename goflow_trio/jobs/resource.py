"""What tasks of one execution share while it is open, as a job declares it. Opening it is not this file's business."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from attrs import frozen

from goflow_trio.errors import DefinitionError


@frozen
class Resource:
    """Something that tasks of one execution share while it is open. Made by `Job.resource`.

    Args:
        name: what tasks find it under, in `context.resources`.
        factory: makes the async context manager.
        users: names of the tasks that use it; None if all do.
    """

    name: str
    factory: Callable[..., Any]
    users: frozenset[str] | None

    def is_used_by(self, task: str) -> bool:
        """Whether a task uses it."""
        return self.users is None or task in self.users


def check_factory(what: str, factory: Callable[..., Any]) -> None:
    """Refuse what does not make an async context manager.

    Raises:
        DefinitionError: it is an async function or generator, or nothing to call.
    """
    if inspect.isasyncgenfunction(factory):
        raise DefinitionError(f"{what}: decorate its factory with contextlib.asynccontextmanager")
    if inspect.iscoroutinefunction(factory) or not callable(cast("object", factory)):
        raise DefinitionError(f"{what}: its factory must be a function that returns an async context manager")
