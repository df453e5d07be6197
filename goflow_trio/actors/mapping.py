"""What a task is mapped over: asks for the items, and takes them as plain data within limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any

from goflow_trio.codec import storable
from goflow_trio.core import limits
from goflow_trio.errors import OperatorError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.jobs.task import Task
from goflow_trio.operators.base import Prepared, prepare


def prepare_items(task: Task) -> Prepared:
    """Return what gives the items of a mapped task: its function, or the result of its upstream."""
    if isinstance(task.over, str):
        return prepare(partial(_upstream_result, task.over), task=task.name)
    return prepare(task.over, task=task.name)


async def _upstream_result(upstream: str, context: TaskContext) -> Any:
    """Return the list; none if the upstream was not successful, and the rule lets the map run all the same."""
    return context.results.get(upstream, ())


def map_items(given: object) -> tuple[Any, ...]:
    """Return the items as the plain data that is stored, so that a restart changes none of them.

    Raises:
        OperatorError: it is no list, is over the limits, or an item cannot be stored.
    """
    if isinstance(given, Mapping) and "$unstored" in given:
        raise OperatorError(f"the list to map over was not kept over the restart: {given.get('reason')}")
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise OperatorError(f"a task is mapped over a list, got {type(given).__name__}; write list(…)")
    items = list(islice(given, limits.MAP_ITEMS + 1))
    if len(items) > limits.MAP_ITEMS:
        raise OperatorError(f"there are more than {limits.MAP_ITEMS} items to map over; let each stand for a batch")
    plain = storable(items, limits.MAP_BYTES)
    if isinstance(plain, dict):
        raise OperatorError(f"the items to map over cannot be stored: {plain['reason']}; map over plain data")
    return tuple(plain)
