"""What a folder adds to the contract: whose files it touches, and what survives."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from goflow_trio.errors import StoreIncompatible, StoreUnavailable, UsageError
from goflow_trio.stores import open_backend
from goflow_trio.stores.folder import folder_of, open_folder
from tests.processes import child
from tests.stores.test_sqlite import WRITER, snapshot


async def test_a_folder_of_something_else_is_left_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreIncompatible, match="not empty and not a store"):
        await open_folder(tmp_path)
    assert snapshot(tmp_path) == {"notes.txt": b"mine"}


async def test_another_format_is_left_untouched(tmp_path):
    (tmp_path / "~~goflow-trio").write_text("goflow-trio store in a folder, format 2\n")
    with pytest.raises(StoreIncompatible, match="not of a version"):
        await open_folder(tmp_path)


async def test_a_file_a_key_that_any_tool_can_read(tmp_path):
    backend = await open_backend(f"file://{tmp_path}/store")
    await backend.put({"log/0001/2": b"value", "Job": b""})
    await backend.aclose()
    files = snapshot(tmp_path / "store")
    assert files.pop("~~goflow-trio").startswith(b"goflow-trio store")
    assert files == {"log.2f0001.2f2": b"value", "=4aob": b""}


@pytest.mark.parametrize("name", ["absent/store", "file/store", "file"])
async def test_a_folder_that_cannot_be_made_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=rf"{name}.*name a folder"):
        await open_folder(tmp_path / name)


async def test_what_a_killed_process_was_writing_is_swept_when_it_is_old(tmp_path):
    await (await open_folder(tmp_path)).aclose()
    for name, age in (("~~new-old", 7200), ("~~new-fresh", 0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    backend = await open_folder(tmp_path)
    assert await backend.scan("") == []
    await backend.aclose()
    assert set(snapshot(tmp_path)) == {"~~goflow-trio", "~~new-fresh"}


async def test_a_full_disk_is_unavailable_leaves_nothing_and_passes(tmp_path, monkeypatch):
    backend = await open_folder(tmp_path)
    await backend.put({"a": b"1"})
    before = snapshot(tmp_path)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        for write in (backend.put({"a": b"2"}), backend.put_if_absent("b", b"2")):
            with pytest.raises(StoreUnavailable, match=r"No space left.*free some space"):
                await write
    assert snapshot(tmp_path) == before
    await backend.put({"a": b"3"})
    assert await backend.get("a") == b"3"
    await backend.aclose()


async def test_what_was_acknowledged_survives_sigkill(tmp_path):
    url = f"file://{tmp_path}/store"
    with child([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if int(line) == 30:
                process.send_signal(signal.SIGKILL)
    acknowledged = int(line)
    backend = await open_backend(url)
    found = dict(await backend.scan("put/", limit=10_000))
    await backend.aclose()
    assert {f"put/{number:09}" for number in range(acknowledged + 1)} <= found.keys()
    assert all(value == b"x" * 3000 for value in found.values())


def test_the_path_in_a_file_url():
    assert folder_of("file:///srv/go%20flow") == "/srv/go flow"
