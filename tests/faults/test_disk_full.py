"""A disk that is full, really: nothing acknowledged is lost, the file stays whole, and it goes on once there is room.

Where no small disk can be mounted (that takes root), this is skipped.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import suppress
from functools import partial

import pytest
import trio

from goflow_trio import Job, State, open_engine
from goflow_trio.errors import StoreUnavailable
from tests.patience import SOON, in_the_end


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path):
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def until(condition):
    with trio.fail_after(SOON):
        while not await condition():  # noqa: ASYNC110  # what it waits for is a disk
            await trio.sleep(0.05)


async def test_a_full_disk_refuses_work_says_so_and_goes_on_when_there_is_room(small_disk):
    job = Job("job")
    ended = []

    @job.task
    async def work(context):
        await trio.sleep(0.3)
        ended.append(context.execution_id)
        return "x" * 1000

    database, filler = small_disk / "goflow.db", small_disk / "filler"
    acknowledged = []
    async with open_engine(f"sqlite:///{database}", jobs=[job]) as engine:
        submit = partial(engine.submit, "job", params={"text": "y" * 3000})
        for _ in range(3):
            running = [await in_the_end(submit, StoreUnavailable) for _ in range(5)]
            fill(filler)
            await until(lambda: is_refused(engine, running))  # noqa: B023
            acknowledged.extend(execution.id for execution in running)
            await until(lambda: have_ended(running, ended))  # noqa: B023
            health = engine.health()
            assert (health.state, health.causes[0].name, health.ready) == ("degraded", "store full", False)
            assert {record.id for record in await engine.newest()} >= set(acknowledged), "reads are served"
            os.truncate(filler, 0)
            with trio.fail_after(SOON):
                for execution in running:
                    assert (await execution.wait()).state is State.SUCCESSFUL
                await until(lambda: is_ready(engine))
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    async with open_engine(f"sqlite:///{database}", jobs=[job]) as engine:
        # One that was refused while it was being written may have come to be, and be unfinished.
        states = {record.id: record.state for record in await engine.newest()}
        assert {states.get(execution) for execution in acknowledged} == {State.SUCCESSFUL}


async def is_ready(engine):
    await trio.lowlevel.checkpoint()
    return engine.health().ready


async def have_ended(running, ended):
    await trio.lowlevel.checkpoint()
    return set(ended) >= {execution.id for execution in running}


async def is_refused(engine, running):
    try:
        running.append(await engine.submit("job", params={"text": "y" * 3000}))
    except StoreUnavailable:
        return engine.health().causes
    return False
