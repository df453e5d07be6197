"""A function as an operator, by name. It adds nothing to the function: no call, no wrapper, no thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from goflow_trio.operators.base import prepare


def _check(_instance: object, _attribute: object, fn: Callable[..., Any]) -> None:
    """Refuse what cannot be called, where it is written."""
    prepare(fn)


@frozen
class Function:
    """Call a function: `Function(fn)`. The same as handing over `fn` itself, for those who like to see an operator.

    Args:
        fn: sync (called in a worker thread) or async; takes the context, or nothing.
    """

    fn: Callable[..., Any] = field(validator=_check)

    @property
    def run(self) -> Callable[..., Any]:
        """The function itself, so that whether it is async and what it takes is read from the original."""
        return self.fn
