"""The contract of `goflow_trio.stores.base.Backend` as checks that any backend can run.

It decides what "a backend works" means, and is used for ours as for yours. It needs no test framework; with pytest
and pytest-trio a backend's whole test is

    @pytest.mark.parametrize("check", store_conformance.checks(), ids=str)
    async def test_conformance(check, tmp_path):
        await check.run(lambda: open_my_backend(tmp_path))

A check raises `AssertionError`, with a message that says which rule was broken.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import trio
import trio.testing
from attrs import frozen

from goflow_trio.errors import StoreClosed, StoreError, StoreUnavailable, UsageError
from goflow_trio.stores.base import MAX_KEY_BYTES, MAX_VALUE_BYTES, Backend
from goflow_trio.testing.store_cancellation import cancel_at_step, check_cancellation, check_order
from goflow_trio.testing.store_scans import check_after, check_characters, check_long_keys, check_pages, everything

FULL_SIZE: Final = 10_000
"""How many keys the contract is checked with."""

_PATIENCE: Final = 30.0

Opener: TypeAlias = Callable[[], Awaitable[Backend]]
"""Opens the store of this check: empty at first, and the same one (if it is persistent) each time."""


@frozen
class Check:
    """One rule of the contract.

    Args:
        name: says the rule in a few words.
        rule: raises `AssertionError` when the backend breaks it.
        needs_persistence: it is about what is there after the store was closed and opened again; not for a store that
            lives in memory.
        needs_sharing: it opens the store twice at once, too; not for one that is documented to serve a single process.
    """

    name: str
    rule: Callable[[Opener], Awaitable[None]]
    needs_persistence: bool = False
    needs_sharing: bool = False

    def __str__(self) -> str:
        return self.name

    async def run(self, open_backend: Opener) -> None:
        """Run it against the store that `open_backend` opens; it closes what it opens."""
        await self.rule(open_backend)


def _on_one(rule: Callable[[Backend], Awaitable[None]]) -> Callable[[Opener], Awaitable[None]]:
    async def run(open_backend: Opener) -> None:
        async with _opened(open_backend) as backend:
            await rule(backend)

    return run


@asynccontextmanager
async def _opened(open_backend: Opener) -> AsyncIterator[Backend]:
    async with aclosing(await open_backend()) as backend:
        yield backend


async def _values_come_back(backend: Backend) -> None:
    assert await backend.get("a") is None, "a key that was never written has a value"
    await backend.put({"a": b"1", "b": bytes(range(256)), "empty": b""})
    assert await backend.get("a") == b"1"
    assert await backend.get("b") == bytes(range(256)), "bytes are not what was written"
    assert await backend.get("empty") == b"", "an empty value must differ from none"
    await backend.put({"a": b"2", "c": b"3"})
    assert await backend.get("a") == b"2", "put did not overwrite"
    await backend.put({})
    await backend.delete(["a", "never written", "empty"])
    await backend.delete([])
    await backend.delete(["a"])
    assert await backend.get("a") is None, "a deleted key has a value"
    assert await everything(backend) == [("b", bytes(range(256))), ("c", b"3")]
    await backend.put({"a": b"again"})
    assert await everything(backend) == [("a", b"again"), ("b", bytes(range(256))), ("c", b"3")]


async def _get_many(backend: Backend, size: int) -> None:
    items = {f"key/{number:05}": b"%d" % number for number in range(size)}
    most = size * 4 // 5
    await backend.put(items)
    assert await backend.get_many([]) == {}
    assert await backend.get_many(["key/00001", "missing", "key/00001"]) == {"key/00001": b"1"}
    assert await backend.get_many([*reversed(items), "missing"]) == items, f"get_many of {size + 1} keys"
    await backend.delete(list(items)[:most])
    assert await backend.get_many(list(items)) == dict(list(items.items())[most:]), f"delete of {most} keys"


async def _one_of_many_claims_wins(backend: Backend) -> None:
    for key in ("claim/1", "claim/2", "claim/3"):
        winners: list[bytes] = []

        async def race(value: bytes, key: str = key, winners: list[bytes] = winners) -> None:
            if await backend.put_if_absent(key, value):
                winners.append(value)

        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(race, b"racer %d" % number)
        assert len(winners) == 1, f"{len(winners)} of 16 racing put_if_absent won"
        assert await backend.get(key) == winners[0], "the value is not the winner's"
        assert not await backend.put_if_absent(key, winners[0]), "a claim was won twice"
    await backend.put({"claim/1": b"put"})
    assert not await backend.put_if_absent("claim/1", b"late")
    await backend.delete(["claim/1"])
    assert await backend.put_if_absent("claim/1", b""), "a deleted key cannot be claimed"
    assert not await backend.put_if_absent("claim/1", b"x"), "an empty value counts as absent"


async def _limits(backend: Backend) -> None:
    longest = "\u6f22" * (MAX_KEY_BYTES // 3) + "x" * (MAX_KEY_BYTES % 3)
    await backend.put({longest: b"long"})
    assert await backend.get(longest) == b"long"
    assert [key for key, _ in await backend.scan(longest)] == [longest]
    for bad in ("", longest + "x", "a\0b", "\ud800"):
        for operation in (
            lambda bad=bad: backend.put({"good": b"", bad: b""}),
            lambda bad=bad: backend.put_if_absent(bad, b""),
            lambda bad=bad: backend.get(bad),
            lambda bad=bad: backend.get_many([bad]),
            lambda bad=bad: backend.delete([bad]),
        ):
            assert await _raises(UsageError, operation), f"key {bad[:9]!r} was not refused"
    too_large = bytes(MAX_VALUE_BYTES + 1)
    assert await _raises(UsageError, lambda: backend.put({"good": b"", "large": too_large})), "value too large"
    assert await _raises(UsageError, lambda: backend.put_if_absent("large", too_large)), "value too large"
    assert await backend.get("good") is None, "a refused put wrote a part"


async def _large_values(backend: Backend) -> None:
    values = {f"large/{number}": bytes([number]) * (10 * 1024 * 1024) for number in range(2)}
    await backend.put(values)
    for key, value in values.items():
        assert await backend.get(key) == value, "10 MiB came back changed"
    assert dict(await backend.scan("large/")) == values
    await backend.put({"largest": bytes(MAX_VALUE_BYTES)})
    assert len(await backend.get("largest") or b"") == MAX_VALUE_BYTES


async def _each_key_is_atomic(backend: Backend) -> None:
    size = 200_000
    await backend.put({"shared": b"0" * size})

    async def write(letter: bytes) -> None:
        for _ in range(5):
            await backend.put({"shared": letter * size, f"own/{letter.decode()}": letter})

    async def read() -> None:
        for _ in range(10):
            value = await backend.get("shared") or b""
            assert value == value[:1] * size, "a reader saw a part of a value"

    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b", b"c"):
            nursery.start_soon(write, letter)
            nursery.start_soon(read)


async def _twenty_tasks(backend: Backend, turns: int) -> None:
    async def work(name: str) -> None:
        for turn in range(turns):
            await backend.put({f"{name}/{turn}": b"old", f"{name}/last": b"%d" % turn})
            await backend.put({f"{name}/{turn}": b"new"})
            assert await backend.get(f"{name}/{turn}") == b"new", "a task did not see its own write"
            assert len(await backend.scan(f"{name}/")) == turn + 2
        await backend.delete([f"{name}/{turn}" for turn in range(1, turns)])

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(work, f"task{number:02}")
    assert len(await everything(backend)) == 20 * 2  # the first turn and the last one of each


async def _closed_means_closed(open_backend: Opener) -> None:
    backend = await open_backend()
    try:
        await backend.put({"a": b"1"})
        assert str(backend.durability), "a backend declares its durability"
    finally:
        await backend.aclose()
    await backend.aclose()
    for operation in (
        lambda: backend.get("a"),
        lambda: backend.get_many(["a"]),
        lambda: backend.put({"a": b"2"}),
        lambda: backend.put_if_absent("b", b""),
        lambda: backend.scan(""),
        lambda: backend.delete(["a"]),
    ):
        assert await _raises(StoreClosed, operation), "a closed backend must raise StoreClosed"


async def _raises(error: type[Exception], operation: Callable[[], Awaitable[object]]) -> bool:
    try:
        await operation()
    except error:
        return True
    return False


async def _large_and_small(backend: Backend) -> None:
    # Where a large value is kept in parts, the parts of an older one must not show, and those of a newer one must.
    sizes = (3_000_000, 10, 0, 1_000_000, 5_000_000, 400_000, 380_001)
    for turn, size in enumerate(sizes):
        value = bytes([turn]) * size
        await backend.put({"value": value, "other": b"x"} if turn % 2 else {"value": value})
        assert await backend.get("value") == value, f"a value of {size} bytes came back changed"
        assert (await backend.scan("value"))[0] == ("value", value)
    await backend.delete(["value"])
    assert await backend.put_if_absent("value", b"l" * 1_000_000)
    assert not await backend.put_if_absent("value", b"L" * 1_000_000)
    assert await backend.get("value") == b"l" * 1_000_000, "a claim that was lost changed the value"
    await backend.delete(["value", "other"])
    assert await everything(backend) == []


async def _threads_are_its_own(backend: Backend) -> None:
    limiter = trio.to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    release = threading.Event()

    async def block() -> None:  # as an operator would
        await trio.to_thread.run_sync(release.wait)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(_PATIENCE) as scope:
                await backend.put({"a": b"1"})
                assert await backend.get("a") == b"1"
            release.set()
    finally:
        release.set()
        limiter.total_tokens = before
    assert not scope.cancelled_caught, "operators that block starve the store of threads"


async def _closed_while_it_works(open_backend: Opener) -> None:
    backend = await open_backend()
    errors: list[BaseException] = []

    async def work(number: int) -> None:
        try:
            while True:
                await backend.put({f"key/{number}": b"1"})
                await backend.scan("key/")
        except StoreClosed:
            pass
        except StoreError as error:
            errors.append(error)

    with trio.move_on_after(_PATIENCE) as scope:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(work, number)
            await trio.sleep(0.05)
            await backend.aclose()
    assert not scope.cancelled_caught, "an operation did not notice that the backend was closed"
    # What was under way comes to its end, or is told that it is unknown whether it did.
    assert all(isinstance(error, StoreUnavailable) for error in errors), f"closing it raised {errors!r}"


async def _cancelled_open(open_backend: Opener) -> None:
    async def open_and_close() -> None:
        await (await open_backend()).aclose()

    for step in range(100):
        with trio.fail_after(_PATIENCE):
            if not await cancel_at_step(open_and_close, step):
                break
    async with _opened(open_backend) as backend:
        await backend.put({"a": b"1"})
        assert await backend.get("a") == b"1", "after an open that was cancelled it does not work"


async def _two_claim(open_backend: Opener) -> None:
    async with _opened(open_backend) as first, _opened(open_backend) as second:
        winners: list[int] = []

        async def race(number: int) -> None:
            if await (first, second)[number % 2].put_if_absent("claim", b"%d" % number):
                winners.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(race, number)
        assert len(winners) == 1, f"{len(winners)} of 16 racing put_if_absent of two backends won"
        assert await first.get("claim") == await second.get("claim") == b"%d" % winners[0], "not the winner's value"


async def _kept_after_reopening(open_backend: Opener) -> None:
    expected: dict[str, bytes] = {}
    for turn in range(4):
        async with _opened(open_backend) as backend:
            assert dict(await everything(backend)) == expected, f"after opening it {turn} times"
            await backend.put({f"put/{turn}": b"%d" % turn, "same": b"%d" % turn, "\U0010ffff": bytes(100_000)})
            await backend.delete([f"put/{turn - 2}"])
            assert await backend.put_if_absent("claim", b"first") == (turn == 0), "a claim did not outlive the backend"
            expected |= {f"put/{turn}": b"%d" % turn, "same": b"%d" % turn, "claim": b"first"}
            expected["\U0010ffff"] = bytes(100_000)
            expected.pop(f"put/{turn - 2}", None)


async def _two_at_once(open_backend: Opener) -> None:
    async with _opened(open_backend) as first, _opened(open_backend) as second:
        await first.put({"a": b"1"})
        assert await second.get("a") == b"1", "a second backend does not see what the first one wrote"
        winners: list[Backend] = []

        async def claim(backend: Backend, key: str) -> None:
            if await backend.put_if_absent(key, b""):
                winners.append(backend)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(claim, first, f"claim/{number}")
                nursery.start_soon(claim, second, f"claim/{number}")
        assert len(winners) == 8, "of two backends that claim a key exactly one must win"  # noqa: PLR2004


def checks(keys: int = FULL_SIZE) -> tuple[Check, ...]:
    """Return all checks. A store that lives in memory leaves out those with `needs_persistence`.

    Args:
        keys: how many keys the scans walk over, at least 100. The contract is checked with 10,000; take fewer, and
            with that fewer odd and long keys, only where a stand-in for the real service would need minutes.
    """
    every = 1 if keys >= FULL_SIZE else 6
    return (
        Check("values come back", _on_one(_values_come_back)),
        Check("get_many", _on_one(partial(_get_many, size=keys // 4))),
        Check("one of many claims wins", _on_one(_one_of_many_claims_wins)),
        Check("a claim of two backends", _two_claim, needs_persistence=True, needs_sharing=True),
        Check("scans in pages", _on_one(partial(check_pages, size=keys))),
        Check("a scan begins after", _on_one(check_after)),
        Check("no character is special", _on_one(partial(check_characters, every=every))),
        Check("long keys", _on_one(partial(check_long_keys, every=every))),
        Check("limits", _on_one(_limits)),
        Check("large values", _on_one(_large_values)),
        Check("large and small in turn", _on_one(_large_and_small)),
        Check("each key is atomic", _on_one(_each_key_is_atomic)),
        Check("twenty tasks", _on_one(partial(_twenty_tasks, turns=10 // every + 1))),
        Check("the last write stays", _on_one(check_order)),
        Check("threads are its own", _on_one(_threads_are_its_own)),
        Check("closed means closed", _closed_means_closed),
        Check("closed while it works", _closed_while_it_works),
        Check("cancelled at every step", _on_one(check_cancellation)),
        Check("an open that is cancelled", _cancelled_open),
        Check("kept after reopening", _kept_after_reopening, needs_persistence=True),
        Check("two backends at once", _two_at_once, needs_persistence=True, needs_sharing=True),
    )


CHECKS: Final = checks()
"""All checks at their full size."""
