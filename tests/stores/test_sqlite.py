"""What SQLite adds to the contract: whose file it touches, what survives, and who may wait for whom."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import trio

from goflow_trio.errors import CodecError, StoreClosed, StoreIncompatible, StoreUnavailable, UsageError
from goflow_trio.stores import open_backend
from goflow_trio.stores.admission import MAX_WAITING
from goflow_trio.stores.sqlite import open_sqlite
from goflow_trio.stores.sqlite_file import APPLICATION_ID, FORMAT
from goflow_trio.testing.store_cancellation import cancel_at_step
from tests.patience import SOON


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
async def backend(path):
    backend = await open_sqlite(path)
    yield backend
    await backend.aclose()


def snapshot(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.is_file()}


def store_threads(path):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"SQLite store '{path}")]


def make_foreign(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


FOREIGN = {
    "another program's": ["PRAGMA application_id = 252006675", "CREATE TABLE places (x)"],
    "no application_id": ["CREATE TABLE kv (key, value)", "INSERT INTO kv VALUES ('a', 'b')"],
    "no tables": ["PRAGMA user_version = 1"],
    "in WAL mode": ["PRAGMA journal_mode = WAL", "CREATE TABLE places (x)"],
}


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
async def test_a_foreign_database_is_left_untouched(path, statements):
    make_foreign(path, *statements)
    before = snapshot(path.parent)
    with pytest.raises(StoreIncompatible, match="another program"):
        await open_sqlite(path)
    assert snapshot(path.parent) == before
    assert store_threads(path) == []


@pytest.mark.parametrize("content", [b"x", b"SQLite format 3\0", b"# notes\n" * 100, bytes(4096)])
async def test_what_is_no_database_is_left_untouched(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreIncompatible, match="not a SQLite database"):
        await open_sqlite(path)
    assert snapshot(path.parent) == {path.name: content}


async def test_a_newer_format_is_left_untouched(path):
    make_foreign(path, f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {FORMAT + 1}")
    before = snapshot(path.parent)
    with pytest.raises(StoreIncompatible, match=f"has format {FORMAT + 1}.*knows {FORMAT}"):
        await open_sqlite(path)
    assert snapshot(path.parent) == before


async def test_a_newer_format_that_is_only_in_the_log_is_seen(path, backend):
    await backend._thread.run(lambda: backend._connection.execute(f"PRAGMA user_version = {FORMAT + 1}"))
    with pytest.raises(StoreIncompatible, match=f"has format {FORMAT + 1}"):
        await open_sqlite(path)


async def test_a_store_without_its_table_is_not_begun_anew(path):
    make_foreign(path, f"PRAGMA application_id = {APPLICATION_ID}", "CREATE TABLE other (x)")
    with pytest.raises(StoreIncompatible, match="lost its table"):
        await open_sqlite(path)


async def test_an_empty_file_becomes_ours(path):
    path.touch()
    backend = await open_sqlite(path)
    await backend.put({"a": b"1"})
    await backend.aclose()
    assert path.read_bytes()[68:72] == APPLICATION_ID.to_bytes(4, "big")
    assert list(snapshot(path.parent)) == [path.name], "closing leaves one file"


@pytest.mark.parametrize("lose", ["unlink", "truncate"])
async def test_a_log_without_its_file_is_not_thrown_away(path, backend, tmp_path, lose):
    await backend.put({"a": b"1"})
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(f"{path}-wal", copy / "store.db-wal")
    if lose == "truncate":
        (copy / "store.db").touch()
    before = snapshot(copy)
    with pytest.raises(StoreIncompatible, match=r"store\.db-wal"):
        await open_sqlite(copy / "store.db")
    assert snapshot(copy) == before


async def test_a_damaged_store_is_reported_and_not_replaced(path):
    backend = await open_sqlite(path)
    await backend.put({f"key/{number}": bytes(1000) for number in range(100)})
    await backend.aclose()
    content = path.read_bytes()
    damaged = content[:4096] + b"\xff" * (len(content) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(CodecError, match="damaged"):
        await open_sqlite(path)
    assert path.read_bytes() == damaged


async def test_a_truncated_store_is_reported(path):
    backend = await open_sqlite(path)
    await backend.put({f"key/{number}": bytes(1000) for number in range(100)})
    await backend.aclose()
    path.write_bytes(path.read_bytes()[:8192])
    with pytest.raises(CodecError, match="damaged"):
        await open_sqlite(path)


async def test_a_directory_is_refused(tmp_path):
    with pytest.raises(StoreIncompatible, match="is a directory"):
        await open_sqlite(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_fifo_is_refused_and_does_not_block(path):
    os.mkfifo(path)
    with trio.fail_after(SOON), pytest.raises(StoreIncompatible, match="not a regular file"):
        await open_sqlite(path)


async def test_a_missing_directory_is_named(tmp_path):
    path = tmp_path / "absent" / "store.db"
    with pytest.raises(UsageError, match=r"no directory .*absent.*create it"):
        await open_backend(f"sqlite:///{path}")
    assert store_threads(path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize("mode", [0o000, 0o444])
async def test_a_file_that_may_not_be_used_is_refused_at_open(path, mode):
    await (await open_sqlite(path)).aclose()
    path.chmod(mode)
    with pytest.raises(UsageError, match=r"this user may not.*store\.db"):
        await open_sqlite(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
async def test_a_directory_that_may_not_be_written_is_refused_at_open(path):
    path.parent.chmod(0o555)
    with pytest.raises(UsageError, match="this user may not write"):
        await open_sqlite(path)
    path.parent.chmod(0o755)


async def test_the_settings_are_what_durability_promises(backend):
    def read(pragma):
        return backend._connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    pragmas = ("journal_mode", "synchronous", "busy_timeout", "application_id", "user_version", "fullfsync")
    found = await backend._thread.run(lambda: [read(pragma) for pragma in pragmas])
    assert found == ["wal", 2, 5000, APPLICATION_ID, FORMAT, 1]
    assert str(backend.durability).startswith("after a kill: kept; after a power cut: kept (SQLite, WAL")


WRITER = """
import sys, trio
from goflow_trio.stores import open_backend
async def main():
    backend = await open_backend(sys.argv[1])
    for number in range(1_000_000):
        await backend.put({f"put/{number:09}": b"x" * 3000, f"twin/{number:09}": b""})
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
trio.run(main)
"""


def kill_after_60_lines(command):
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if int(line) == 60:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return int(line)


async def test_what_was_acknowledged_survives_sigkill(path):
    acknowledged = -1
    for _ in range(2):
        acknowledged = max(acknowledged, kill_after_60_lines([sys.executable, "-c", WRITER, f"sqlite:///{path}"]))
    backend = await open_sqlite(path)
    found = dict(await backend.scan("", limit=10_000))
    await backend.aclose()
    assert acknowledged >= 60
    assert {f"put/{number:09}" for number in range(acknowledged + 1)} <= found.keys()
    assert {key[4:] for key in found if key[0] == "p"} == {key[5:] for key in found if key[0] == "t"}, "half a put"


async def test_a_lock_held_by_another_process_is_waited_for_and_then_unavailable(path):
    backend = await open_sqlite(path, busy_timeout=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with trio.fail_after(SOON):
        for write in (backend.put({"a": b"1"}), backend.put_if_absent("a", b"1"), backend.delete(["a"])):
            with pytest.raises(StoreUnavailable, match="locked"):
                await write
        assert await backend.get("a") is None, "readers do not need the lock"
        with pytest.raises(StoreUnavailable, match="locked"):
            await open_sqlite(path, busy_timeout=0.05)
    other.execute("ROLLBACK")
    other.close()
    await backend.put({"a": b"2"})
    assert await backend.get("a") == b"2"
    await backend.aclose()


async def test_a_full_disk_is_unavailable_and_passes(backend):
    def limit(pages):
        backend._connection.execute(f"PRAGMA max_page_count = {pages}")

    await backend.put({"a": b"1"})
    await backend._thread.run(lambda: limit(20))
    with pytest.raises(StoreUnavailable, match="full"):
        await backend.put({"a": b"2", "large": bytes(1_000_000)})
    assert await backend.get("a") == b"1", "a put is all or nothing"
    await backend.put({"small": b"fits"})
    await backend._thread.run(lambda: limit(1_000_000))
    await backend.put({"a": b"2", "large": bytes(1_000_000)})
    assert await backend.get("a") == b"2"


async def test_a_file_that_was_deleted_takes_no_more_writes(path, backend, tmp_path):
    await backend.put({"a": b"1"})
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreUnavailable, match="moved, replaced or deleted"):
        await backend.put({"a": b"2"})
    (tmp_path / "elsewhere.db").rename(path)
    await backend.put({"a": b"3"})


async def test_the_thread_is_its_own_and_ends_with_the_backend(path):
    backend = await open_sqlite(path)
    assert len(store_threads(path)) == 1
    assert store_threads(path)[0].daemon
    await backend.put({"a": b"1"})
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    await backend.aclose()
    assert store_threads(path) == []


async def test_an_open_that_is_cancelled_leaves_no_thread(path):
    async def open_and_close():
        await (await open_sqlite(path)).aclose()

    for step in range(5):
        with trio.fail_after(SOON):
            await cancel_at_step(open_and_close, step)
        for thread in store_threads(path):
            await trio.to_thread.run_sync(thread.join)
    await (await open_sqlite(path)).aclose()


async def test_a_cancelled_write_that_has_not_begun_never_happens(backend):
    go = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend._thread.run, go.wait)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await backend.put({"a": b"1"})
        go.set()
    assert await backend.get("a") is None


async def test_a_cancelled_write_that_has_begun_happens_before_the_next_one(backend):
    begun, go = threading.Event(), threading.Event()

    def slow():
        begun.set()
        go.wait()
        with backend._transaction():
            backend._connection.execute("INSERT INTO kv VALUES ('a', x'31')")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend._thread.run, slow)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
    go.set()
    assert not await backend.put_if_absent("a", b"2")
    assert await backend.get("a") == b"1"


async def test_closing_finishes_what_was_asked_for_even_when_cancelled(path):
    backend = await open_sqlite(path)
    go = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend._thread.run, go.wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(backend.put, {"a": b"1"})
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await backend.aclose()
        with pytest.raises(StoreClosed):
            await backend.get("a")
        go.set()
    await backend.aclose()
    assert store_threads(path) == []
    backend = await open_sqlite(path)
    assert await backend.get("a") == b"1"
    await backend.aclose()


def test_a_backend_outlives_the_run_that_opened_it(path):
    backend = trio.run(open_sqlite, path)
    trio.run(backend.put, {"a": b"1"})
    assert trio.run(backend.get, "a") == b"1"
    go = threading.Event()

    async def leave_while_it_closes():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend._thread.run, go.wait)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0):
                await backend.aclose()
            nursery.cancel_scope.cancel()

    trio.run(leave_while_it_closes)
    go.set()
    backend._thread.join()
    trio.run(backend.aclose)


async def test_what_waits_for_a_stalled_disk_is_bounded(backend):
    go = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend._thread.run, go.wait)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(MAX_WAITING):
            nursery.start_soon(backend.get, "a")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StoreUnavailable, match="does not keep up"):
            await backend.get("a")
        go.set()
    await backend.put({"a": b"1"})


def in_a_forked_child(backend):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        # The child shares the loop's file descriptors and must not run it: drive the coroutines by hand.
        try:
            backend.get("a").send(None)
        except StoreClosed as error:
            with suppress(StopIteration):
                backend.aclose().send(None)  # returns, and does not wait for the thread
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    message = os.read(read, 1000).decode()
    os.close(read)
    return message


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_may_not_use_it(backend):
    assert "forked" in in_a_forked_child(backend)
    await backend.put({"a": b"1"})


async def test_a_relative_path_is_bound_when_it_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backend = await open_backend("sqlite:///odd%20name%3F.db")
    monkeypatch.chdir("/")
    await backend.put({"a": b"1"})
    await backend.aclose()
    assert (tmp_path / "odd name?.db").exists()
