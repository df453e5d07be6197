"""`goflow-trio store` as it is typed, on SQLite files; and moves of a store between backends."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio import Job, State, UsageError, open_engine
from goflow_trio.actors.inspection import inspect_store
from goflow_trio.actors.plain_json import from_json, to_json
from goflow_trio.actors.transfer import copy_store, export_store, import_lines
from goflow_trio.errors import StoreIncompatible, StoreInUse, StoreUnavailable
from goflow_trio.stores import Durability
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import FaultyBackend
from tests.patience import SOON
from tests.servers import free_port

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def store(folder, *args):
    return subprocess.run(
        [sys.executable, "-m", "goflow_trio", "store", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * SOON,
    )


def jobs(nap=1_000_000.0):
    job = Job("odd/job", schedule="0 0 1 1 *", params={"what": b"\x00bytes"})

    @job.task
    async def work(context):
        context.log("printed")
        return {"bytes": b"\xff", "when": NOW, 1: float("inf"), "$key": [None, True]}

    long = Job("long")

    @long.task(idempotent=True)
    async def sleep():
        await trio.sleep(nap)

    @job.task
    async def fails():
        raise ValueError("no")

    return [job, long]


async def fill(backend, nap=1_000_000.0):
    async with open_engine(backend, jobs=jobs(nap)) as engine:
        for number in range(3):
            await (await engine.submit("odd/job", idempotency_key=f"key {number}")).wait()
        await engine.submit("long")
        await engine.toggle("odd/job")
        await trio.sleep(0.3)


@pytest.fixture
def folder(tmp_path):
    trio.run(fill, f"sqlite:///{tmp_path}/a.db")
    return tmp_path


def values(path):
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT key, value FROM kv"))
    connection.close()
    return found


def test_info_says_what_is_in_it_and_what_is_damaged(folder):
    done = store(folder, "info", "sqlite:///a.db")
    assert done.returncode == 0, done.stderr
    assert "held by nobody" in done.stdout
    assert "odd/job: 3 failed" in done.stdout
    assert "damaged: nothing" in done.stdout
    with sqlite3.connect(folder / "a.db") as connection:
        connection.execute("UPDATE kv SET value = substr(value, 1, 30) WHERE key LIKE 'executions/%'")
    connection.close()
    done = store(folder, "info", "sqlite:///a.db", "--json")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["damaged"]) == 3


@pytest.mark.parametrize("url", ["sqlite:///misspelt.db", "file:///{folder}/misspelt"])
def test_a_store_that_is_not_there_is_not_made_by_looking_into_it(folder, url):
    url = url.replace("/{folder}", str(folder))
    done = store(folder, "info", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"goflow-trio: store {url!r}: there is nothing at {folder}/misspelt")
    assert not list(folder.glob("misspelt*"))


def test_prune_removes_what_is_over_and_only_that(folder):
    assert store(folder, "prune", "sqlite:///a.db").returncode == 2
    would = store(folder, "prune", "sqlite:///a.db", "--count", "1", "--dry-run")
    assert would.stdout == "would remove 2 executions and 2 idempotency keys\n", would.stderr
    assert "3 failed" in store(folder, "info", "sqlite:///a.db").stdout
    assert "removed 0" in store(folder, "prune", "sqlite:///a.db", "--count", "1", "--job", "other").stdout
    assert "removed 2" in store(folder, "prune", "sqlite:///a.db", "--count", "1", "--job", "odd/job").stdout
    assert "1 failed" in store(folder, "info", "sqlite:///a.db").stdout


def test_export_and_import_give_the_same_store_again(folder):
    done = store(folder, "export", "sqlite:///a.db", "a.jsonl")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines()]
    assert lines[0]["goflow-trio"] == "export"
    assert lines[-1]["end"] == len(lines) - 2
    execution = next(line["execution"] for line in lines if "execution" in line and "tasks" in line["execution"])
    assert {task["name"] for task in execution["tasks"]} <= {"work", "fails", "sleep"}
    done = store(folder, "import", "a.jsonl", "sqlite:///b.db")
    assert done.returncode == 0, done.stderr
    assert values(folder / "a.db") == values(folder / "b.db")
    refused = store(folder, "import", "a.jsonl", "sqlite:///b.db")
    assert (refused.returncode, "not empty" in refused.stderr) == (2, True)


def test_a_copy_goes_on_as_the_original(folder):
    done = store(folder, "copy", "sqlite:///a.db", "sqlite:///b.db")
    assert done.returncode == 0, done.stderr
    assert values(folder / "a.db") == values(folder / "b.db")
    assert store(folder, "copy", "sqlite:///a.db", "sqlite:///b.db").returncode == 2

    async def resume():
        async with open_engine(f"sqlite:///{folder}/b.db", jobs=jobs(0.0)) as engine:
            assert engine.is_active("odd/job")
            (execution,) = engine._executions
            assert (await execution.wait()).state is State.SUCCESSFUL

    trio.run(resume)


def test_a_server_waits_for_its_store_as_long_as_it_is_told_and_hides_the_password(folder):
    (folder / "jobs.py").write_text("from goflow_trio import Job\njob = Job('j')\n")
    url = f"redis://:s3cret@127.0.0.1:{free_port()}/0"
    command = ["serve", "jobs.py", "--store", url, "--port", "0", "--wait-for-store", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "goflow_trio", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * SOON,
    )
    assert done.returncode == 69, done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith("goflow-trio: store 'redis://:***@127.0.0.1")
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", "not json\n"])
def test_what_is_no_export_is_refused(folder, text):
    (folder / "bad.jsonl").write_text(text)
    done = store(folder, "import", "bad.jsonl", "sqlite:///b.db")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


async def everything(backend):
    return dict(await backend.scan("", "", 100_000))


async def test_a_copy_that_is_cut_off_anywhere_goes_on_and_no_engine_opens_half_of_it():
    source = MemoryBackend()
    await fill(FaultyBackend(source))
    for cut in range(2, 100):
        target = MemoryBackend()
        backend = FaultyBackend(target)
        backend.fail(cut)
        try:
            await copy_store(source, backend, NOW)
        except StoreUnavailable:
            if await target.get("copying") is not None:
                with pytest.raises(StoreIncompatible, match="was begun and not finished"):
                    async with open_engine(FaultyBackend(target), jobs=jobs()):
                        pytest.fail("it was opened")
            if await target.get("copying") is not None or not await everything(target):
                await copy_store(source, target, NOW)
            assert await everything(target) == await everything(source)
            continue
        assert cut > 5
        assert await everything(target) == await everything(source)
        return
    pytest.fail("it never came through")


async def test_an_export_that_is_cut_short_or_changed_is_refused_by_line():
    source = MemoryBackend()
    await fill(FaultyBackend(source))
    lines = []
    await export_store(source, NOW, lines.append)
    with pytest.raises(UsageError, match="cut short"):
        await import_lines(iter(lines[:-1]), MemoryBackend())
    for broken in ("{", '{"key": 1}', '{"key": "log/00000001/0000000000000001", "events": [{"type": "nonsense"}]}'):
        changed = [*lines[:3], broken, *lines[4:]]
        with pytest.raises(UsageError, match="line 4 of the export"):
            await import_lines(iter(changed), MemoryBackend())


async def test_a_store_that_an_engine_has_is_left_alone():
    memory = MemoryBackend()
    durability = Durability(survives_kill=True, survives_power_cut=False, detail="")
    async with open_engine(FaultyBackend(memory, durability=durability), jobs=jobs()):
        with pytest.raises(StoreInUse, match="stop it first"):
            await copy_store(memory, MemoryBackend(), datetime.now(UTC))
        with pytest.raises(StoreInUse, match="stop it first"):
            await export_store(memory, datetime.now(UTC), print)
        assert (await inspect_store(memory)).damage.count == 0


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@given(plain)
def test_plain_data_comes_back_from_json(value):
    assert from_json(json.loads(json.dumps(to_json(value)))) == value
