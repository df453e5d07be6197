"""What an attempt makes of an error: data that begins where the work does."""

from __future__ import annotations

import pytest
import trio

from goflow_trio import Command, Job, Task, open_engine
from tests.actors.test_engine import world
from tests.patience import SOON


def helper():
    raise ValueError("no luck")


def in_a_thread():
    helper()


async def in_the_loop():
    helper()


@pytest.mark.parametrize("work", [in_a_thread, in_the_loop])
async def test_a_traceback_begins_at_the_work(work, autojump_clock):
    job = Job("job")
    job.add(Task("task", work))
    async with open_engine(jobs=[job], environment=world()) as engine:
        record = await (await engine.submit("job")).wait()
    lines = record.tasks["task"].error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(f"in {work.__name__}")
    assert lines[-1] == "ValueError: no luck"
    assert not any("goflow_trio/" in line for line in lines)


async def test_a_traceback_that_is_all_ours_is_kept_whole():
    job = Job("job")
    job.add(Task("task", Command("false")))
    async with open_engine(jobs=[job]) as engine:
        with trio.fail_after(SOON):
            record = await (await engine.submit("job")).wait()
    assert "in call_operator" in record.tasks["task"].error.traceback
