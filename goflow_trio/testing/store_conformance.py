"""The contract of `goflow_trio.stores.base.Backend` as checks that any backend can run.

It decides what "a backend works" means, and is used for ours as for yours. It needs no test framework; with pytest
and pytest-trio a backend's whole test is

    @pytest.mark.parametrize("check", store_conformance.CHECKS, ids=str)
    async def test_conformance(check, tmp_path):
        await check.run(lambda: open_my_backend(tmp_path))

A check raises `AssertionError`, with a message that says which rule was broken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final, TypeAlias

import trio
from attrs import frozen

from goflow_trio.errors import StoreClosed, UsageError
from goflow_trio.stores.base import MAX_KEY_BYTES, MAX_VALUE_BYTES, Backend
from goflow_trio.testing.store_cancellation import check_cancellation
from goflow_trio.testing.store_scans import check_after, check_characters, check_pages, everything

Opener: TypeAlias = Callable[[], Awaitable[Backend]]
"""Opens the store of this check: empty at first, and the same one (if it is persistent) each time."""


@frozen
class Check:
    """One rule of the contract.

    Args:
        name: says the rule in a few words.
        rule: raises `AssertionError` when the backend breaks it.
        needs_persistence: it is about what is there after the store was closed and opened again, or opened twice; not
            for a store that lives in memory.
    """

    name: str
    rule: Callable[[Opener], Awaitable[None]]
    needs_persistence: bool = False

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


async def _get_many(backend: Backend) -> None:
    items = {f"key/{number:05}": b"%d" % number for number in range(2500)}
    await backend.put(items)
    assert await backend.get_many([]) == {}
    assert await backend.get_many(["key/00001", "missing", "key/00001"]) == {"key/00001": b"1"}
    assert await backend.get_many([*reversed(items), "missing"]) == items, "get_many of 2,501 keys"
    await backend.delete(list(items)[:2000])
    assert await backend.get_many(list(items)) == dict(list(items.items())[2000:]), "delete of 2,000 keys"


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


async def _twenty_tasks(backend: Backend) -> None:
    async def work(name: str) -> None:
        for turn in range(10):
            await backend.put({f"{name}/{turn}": b"old", f"{name}/last": b"%d" % turn})
            await backend.put({f"{name}/{turn}": b"new"})
            assert await backend.get(f"{name}/{turn}") == b"new", "a task did not see its own write"
            assert len(await backend.scan(f"{name}/")) == turn + 2
        await backend.delete([f"{name}/{turn}" for turn in range(5)])

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(work, f"task{number:02}")
    assert len(await everything(backend)) == 20 * 6  # five turns and the last one of each


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


CHECKS: Final = (
    Check("values come back", _on_one(_values_come_back)),
    Check("get_many", _on_one(_get_many)),
    Check("one of many claims wins", _on_one(_one_of_many_claims_wins)),
    Check("scans in pages", _on_one(check_pages)),
    Check("a scan begins after", _on_one(check_after)),
    Check("no character is special", _on_one(check_characters)),
    Check("limits", _on_one(_limits)),
    Check("large values", _on_one(_large_values)),
    Check("each key is atomic", _on_one(_each_key_is_atomic)),
    Check("twenty tasks", _on_one(_twenty_tasks)),
    Check("closed means closed", _closed_means_closed),
    Check("cancelled at every step", _on_one(check_cancellation)),
    Check("kept after reopening", _kept_after_reopening, needs_persistence=True),
    Check("two backends at once", _two_at_once, needs_persistence=True),
)
"""All checks. A store that lives in memory leaves out those with `needs_persistence`."""
