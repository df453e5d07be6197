"""How large a store is: what its files have, asked for cheaply, and never in the way of who asks."""

import os

import pytest
import trio

from goflow_trio.errors import StoreUnavailable
from goflow_trio.stores import open_backend, size
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.stores.size import SECONDS, FolderSize, size_of


def bytes_in(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder) if not entry.name.endswith("-shm"))


@pytest.mark.parametrize("url", ["sqlite:///{}/store.db", "file://{}/store"])
async def test_it_is_that_of_the_files(url, tmp_path):
    backend = await open_backend(url.format(tmp_path))
    folder = tmp_path / "store" if url.startswith("file") else tmp_path
    await backend.put({"a": b"x" * 100_000, "b/c": b""})
    assert await size_of(backend) == bytes_in(folder) > 100_000
    await backend.aclose()


async def test_a_store_that_is_nowhere_on_this_machine_has_none():
    assert await size_of(MemoryBackend()) is None


class Answering(MemoryBackend):
    def __init__(self, answer):
        super().__init__()
        self.size = answer


async def test_one_that_fails_or_hangs_holds_nobody_up(autojump_clock):
    async def fails():
        raise StoreUnavailable("the disk does not answer")

    assert await size_of(Answering(fails)) is None
    assert await size_of(Answering(trio.sleep_forever)) is None
    assert trio.current_time() == pytest.approx(SECONDS)


def test_a_folder_is_counted_seldom_and_the_more_so_the_longer_it_takes(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(size.time, "monotonic", lambda: now)
    found = FolderSize(tmp_path)
    (tmp_path / "a").write_bytes(b"123")

    def count(seconds):
        nonlocal now

        def slow(folder):
            nonlocal now
            assert not found.is_due, "nobody counts what is being counted"
            now += seconds
            return list(os.scandir(folder))

        with monkeypatch.context() as patch:
            patch.setattr(size, "_entries", slow)
            found.count()

    for seconds, rest in ((0.001, 10), (3, 300)):
        assert found.is_due
        count(seconds)
        assert found.bytes == 3
        now += rest - 1
        assert not found.is_due
        now += 1


def test_a_folder_that_cannot_be_read_is_tried_again(tmp_path):
    found = FolderSize(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        found.count()
    assert found.bytes is None
    assert not found.is_due


def test_a_file_that_goes_while_it_is_counted_is_none(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).write_bytes(b"123")
    entries = list(os.scandir(tmp_path))
    (tmp_path / "a").unlink()
    monkeypatch.setattr(size, "_entries", lambda _: entries)
    found = FolderSize(tmp_path)
    found.count()
    assert found.bytes == 3
