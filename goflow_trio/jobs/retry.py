"""How long to wait between two attempts of a task. Pure: even jitter is a function of its arguments.

A retry delay is any object with `seconds(attempt, key)`. Add one by writing a class; nothing else changes.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from goflow_trio.errors import DefinitionError

_LARGEST = sys.float_info.max


@runtime_checkable
class RetryDelay(Protocol):
    """What decides the wait before the next attempt. Must be deterministic: a replay asks again."""

    def seconds(self, attempt: int, key: str) -> float:
        """Return the seconds to wait, 0 or more.

        Args:
            attempt: number of the attempt that just failed, from 1.
            key: text unique to this attempt of this task of this execution, to derive jitter from.
        """
        ...


def _number(least: float, most: float = _LARGEST) -> Callable[[Any, Any, Any], None]:
    """Return an attrs validator that takes finite numbers from `least` to `most`."""
    span = f"of {least} or more" if most == _LARGEST else f"from {least} to {most}"

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise DefinitionError(f"{type(instance).__name__}: {attribute.name} must be a number {span}, got {value!r}")

    return check


@frozen
class ConstantDelay:
    """The same wait each time.

    Args:
        period: seconds between attempts, 0 or more.
    """

    period: float = field(validator=_number(0))

    def seconds(self, attempt: int, key: str) -> float:  # noqa: ARG002
        """Return `period`."""
        return self.period


@frozen
class ExponentialBackoff:
    """A wait that grows by `factor` each time: 1, 2, 4, 8 … seconds by default, as Goflow's, but capped.

    Args:
        initial: seconds before the second attempt.
        factor: how much longer each further wait is, 1 or more.
        maximum: no wait is longer than this, in seconds.
        jitter: up to this part of the wait is taken off, evenly spread (0 none, 1 anything from 0 to the full
            wait), so that many tasks that failed together do not come back together.
    """

    initial: float = field(default=1, validator=_number(0))
    factor: float = field(default=2, validator=_number(1))
    maximum: float = field(default=3600, validator=_number(0))
    jitter: float = field(default=0, validator=_number(0, 1))

    def seconds(self, attempt: int, key: str) -> float:
        """Return `min(maximum, initial * factor ** (attempt - 1))`, less the jitter that `key` derives."""
        try:
            # As a float: whole numbers do not overflow, they grow to as many bits as there were attempts.
            wait = min(self.maximum, self.initial * float(self.factor) ** (attempt - 1))
        except OverflowError:
            wait = self.maximum if self.initial else 0
        if self.jitter:
            digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
            wait -= wait * self.jitter * (int.from_bytes(digest) / 2**64)
        return wait
