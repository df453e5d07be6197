"""What a scan returns, in which order, and that no character in a key is special. Part of the conformance."""

from __future__ import annotations

from typing import Final

from goflow_trio.stores.base import MAX_KEY_BYTES, Backend


async def everything(backend: Backend, prefix: str = "", page: int = 1000) -> list[tuple[str, bytes]]:
    """Return all pairs with this prefix, by scans of `page` pairs."""
    pairs: list[tuple[str, bytes]] = []
    while True:
        some = await backend.scan(prefix, pairs[-1][0] if pairs else "", page)
        assert len(some) <= page, f"scan returned {len(some)} pairs, its limit was {page}"
        pairs += some
        if len(some) < page:
            return pairs


async def check_pages(backend: Backend, size: int = 10_000) -> None:
    """Scan `size` keys in pages of several sizes: each once, in order, and none of the neighbours."""
    keys = [f"log/0001/{number:012}" for number in range(size)]
    shuffled = keys[::2] + keys[1::2][::-1]  # not written in order
    for start in range(0, len(keys), 500):
        await backend.put({key: key.encode() for key in shuffled[start : start + 500]})
    await backend.put({"log/0000/x": b"", "log/0001": b"", "log/00010": b"", "log/0002/x": b""})
    for page in (size // 13, size // 10, size, 2 * size):
        found = await everything(backend, "log/0001/", page)
        assert [key for key, _ in found] == keys, f"pages of {page} miss, repeat or disorder keys"
        assert all(value == key.encode() for key, value in found)
    assert len(await backend.scan("log/0001/")) == min(size, 1000), "the limit is 1,000 unless told otherwise"


async def check_after(backend: Backend) -> None:
    """Begin scans before, at, between and behind the keys."""
    await backend.put(dict.fromkeys(("a", "b/1", "b/2", "b/3", "c"), b""))
    for prefix, after, limit, expected in (
        ("b/", "", 9, ["b/1", "b/2", "b/3"]),
        ("b/", "b/1", 9, ["b/2", "b/3"]),  # strictly greater
        ("b/", "b/10", 9, ["b/2", "b/3"]),  # not a key itself
        ("b/", "b/3", 9, []),
        ("b/", "a", 9, ["b/1", "b/2", "b/3"]),  # before the prefix
        ("b/", "z", 9, []),  # behind the prefix
        ("b/", "", 2, ["b/1", "b/2"]),
        ("b/", "", 0, []),
        ("b/1", "", 9, ["b/1"]),  # the prefix itself is a key
        ("b/1", "b/1", 9, []),
        ("", "b/2", 9, ["b/3", "c"]),
        ("d", "", 9, []),
    ):
        found = [key for key, _ in await backend.scan(prefix, after, limit)]
        assert found == expected, f"scan({prefix!r}, {after!r}, {limit}): {found}, not {expected}"


# Wildcards, quotes and separators of SQL, globs, Redis, URLs and shells; case; accents as one and as two code points;
# the neighbours of the surrogates, where UTF-16 order differs from the order of code points; the last one.
_MARKS: Final = (
    *"%_*?[]^\\'\"`/:;,.&#=+-~@!(){}<>| \t\n\x01\x7f",
    *("a", "A", "z", "Z", "\u00e4", "a\u0308", "\u00df", "\u0130", "\u6f22", "\ud7ff", "\ue000", "\uffff"),
    *("\U00010000", "\U0001f600", "\U0010ffff", "\U0010ffff\U0010ffff", "a\U0010ffff"),
)


async def check_characters(backend: Backend, every: int = 1) -> None:
    """Put odd characters, or `every` n-th, at every place of a key and into prefixes: each stands for itself."""
    marks = _MARKS[::every]
    keys = {key for mark in marks for key in (mark, f"{mark}x", f"{mark}{mark}x", f"in {mark} side", f"end{mark}")}
    await backend.put({key: key.encode() for key in keys})
    ordered = sorted(keys)  # Python compares text by code point
    assert [key for key, _ in await everything(backend)] == ordered, "keys are not in the order of code points"
    for prefix in (*marks, "in ", "end"):
        found = [key for key, _ in await backend.scan(prefix)]
        expected = [key for key in ordered if key.startswith(prefix)]
        assert found == expected, f"scan({prefix!r}) returned {found}, not {expected}"
    for key in keys:
        assert await backend.get(key) == key.encode(), f"key {key!r} is taken for another one"
    await backend.delete(marks[:3])
    assert [key for key, _ in await everything(backend)] == [key for key in ordered if key not in marks[:3]]


async def check_long_keys(backend: Backend, every: int = 1) -> None:
    """Put keys of many lengths, or `every` n-th of them, that begin alike: a store may have to shorten them."""
    stems = ("a", "/", "\u6f22", "A%")
    sizes = (MAX_KEY_BYTES, 1, 50, 100, 150, 199, 200, 201, 250, 400, 700, 799, 800, 801)[::every]
    keys = {
        key
        for stem in stems
        for size in sizes
        for tail in ("", "0", "z", "~", "\u00e4")
        if len((key := stem * (size // len(stem.encode())) + tail).encode()) <= MAX_KEY_BYTES
    }
    keys.discard("")
    await backend.put({key: key[-9:].encode() for key in keys})
    ordered = sorted(keys)
    assert [key for key, _ in await everything(backend)] == ordered, "long keys are not in order"
    assert [key for key, _ in await everything(backend, page=len(keys) // 5)] == ordered, (
        "long keys are not in order, by pages"
    )
    for prefix in sorted(keys)[::7]:
        found = [key for key, _ in await backend.scan(prefix)]
        assert found == [key for key in ordered if key.startswith(prefix)], f"scan({prefix[:9]!r}…) of long keys"
    assert await backend.get_many(ordered) == {key: key[-9:].encode() for key in keys}, "long keys are mixed up"
    longest = max(keys, key=len)
    assert not await backend.put_if_absent(longest, b""), "a long key was claimed twice"
    await backend.delete([longest])
    assert await backend.get(longest) is None
    assert await backend.put_if_absent(longest, b"")
