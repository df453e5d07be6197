"""Cancelling a backend's operation at each of its steps, and what has to be true afterwards. Part of the conformance.

trio's own cancellation cannot be aimed, so an instrument counts the steps of the task and cancels before the n-th one,
for n = 1, 2, 3 ... until the operation gets through: the way SQLite tests its own I/O errors
(https://www.sqlite.org/testing.html#i_o_error_testing).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio
from attrs import define

from goflow_trio.stores.base import Backend

_MAX_STEPS = 1000
_PATIENCE = 30.0


@define(eq=False)
class _CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` when `task` has given way for the `step`-th time, and so waits for something."""

    task: trio.lowlevel.Task
    scope: trio.CancelScope
    step: int

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.step -= 1
            if self.step == 0:
                self.scope.cancel()


async def cancel_at_step(operation: Callable[[], Awaitable[object]], step: int) -> bool:
    """Run `operation` and cancel it the `step`-th time that it waits.

    Args:
        operation: called once.
        step: 0 cancels before it begins.

    Returns:
        Whether it was cancelled; False when it got through with fewer steps.
    """
    with trio.CancelScope() as scope:
        if step == 0:
            scope.cancel()
        instrument = _CancelAtStep(trio.lowlevel.current_task(), scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def check_cancellation(backend: Backend) -> None:
    """Cancel each kind of operation at each of its steps.

    Afterwards the backend must be usable, and each key of a write must be old or new.

    Raises:
        AssertionError: it is not.
    """
    size = 50_000
    operations: dict[str, Callable[[bytes], Awaitable[object]]] = {
        "get": lambda _: backend.get("a"),
        "get_many": lambda _: backend.get_many(["a", "b", "c"]),
        "scan": lambda _: backend.scan(""),
        "put": lambda value: backend.put({"a": value, "b": value}),
        "put_if_absent": lambda value: backend.put_if_absent("c", value),
        "delete": lambda _: backend.delete(["a", "b"]),
    }
    for name, operation in operations.items():
        for step in range(_MAX_STEPS):
            old = b"o" * size
            new = b"%d" % (step % 10) * size
            await backend.put({"a": old, "b": old})
            await backend.delete(["c"])
            cancelled = await cancel_at_step(partial(operation, new), step)
            with trio.fail_after(_PATIENCE):
                found = await backend.get_many(["a", "b", "c"])
            where = f"{name} cancelled at step {step}"
            _check_old_or_new(where, name, found, old, new)
            with trio.fail_after(_PATIENCE):
                await backend.put({"probe": new})
            assert await backend.get("probe") == new, f"after {where} the backend does not work any more"
            if not cancelled:
                break
        else:
            raise AssertionError(f"{name} did not end within {_MAX_STEPS} steps")
        assert step > 0, f"{name} is not a checkpoint: it did not notice that it was cancelled before it began"


async def check_order(backend: Backend) -> None:
    """Cancel writes under way and write again at once: what was cancelled must not come out on top later.

    Raises:
        AssertionError: it does.
    """
    for turn in range(12):
        with trio.move_on_after(0.001 * turn):
            await backend.put({"a": b"cancelled" * 5000, "b": b"cancelled" * 5000})
        await backend.put({"a": b"last"})
        await backend.delete(["b"])
        assert await backend.get("a") == b"last", "a cancelled put overtook a later one"
    await trio.sleep(0.05)
    assert await backend.get("a") == b"last", "a cancelled put came out on top of a later one"
    assert await backend.get("b") is None, "a cancelled put brought back what was deleted later"


def _check_old_or_new(where: str, name: str, found: dict[str, bytes], old: bytes, new: bytes) -> None:
    allowed: dict[str, tuple[bytes | None, ...]] = {
        "put": (old, new),
        "delete": (old, None),
    }
    for key in ("a", "b"):
        assert found.get(key) in allowed.get(name, (old,)), f"after {where} the value of {key!r} is neither old nor new"
    assert found.get("c") in ((None, new) if name == "put_if_absent" else (None,)), f"after {where} 'c' is wrong"
