"""What an engine takes on and lets go: what is taken back before it was written leaves nothing behind, and says why."""

from __future__ import annotations

import logging

import pytest
import trio

from goflow_trio import Job, open_engine
from goflow_trio.core import limits
from goflow_trio.core.states import State
from goflow_trio.errors import StoreUnavailable
from goflow_trio.testing.faulty import WRITES, FaultyBackend
from tests.actors.test_engine import KeptMemory, world


def flaky() -> Job:
    job = Job("load", params={"fails": False})

    @job.task
    async def work(context):
        if context.params["fails"]:
            raise ValueError("no luck")

    return job


@pytest.fixture
def impatient(monkeypatch):
    """The store counts as well while an operation takes 0.9 s; nobody waits that long."""
    monkeypatch.setattr(limits, "SUBMIT_SECONDS", 0.5)
    monkeypatch.setattr(limits, "REFUSAL_SECONDS", 0.5)


async def refused(ask, *args, **options) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await ask(*args, **options)
    return str(caught.value)


async def test_a_submit_that_is_withdrawn_is_told_of_by_cause_and_by_what_the_caller_got(
    autojump_clock, caplog, impatient
):
    backend = FaultyBackend(KeptMemory())
    async with open_engine(backend, jobs=[flaky], environment=world()) as engine:
        with backend.failing("slow", operations=WRITES, seconds=0.9):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(refused, engine.submit, "load")  # is being written
                await trio.sleep(0.1)
                message = await refused(engine.submit, "load")  # waits behind it
        assert message == "the store has too much to do: no answer for 0.5 s; nothing was begun, try again later"
        await trio.sleep(5)
        assert [record.state for record in await engine.newest()] == [State.SUCCESSFUL], "the one that was written"
        assert list(engine._executions) == []
    [told] = [record for record in caplog.records if "withdrawn" in record.getMessage()]
    assert (told.levelno, told.name, told.exc_info) == (logging.WARNING, "goflow_trio.engine", None)
    assert "of job load was withdrawn before it was written: the store has too much to do" in told.getMessage()
    assert told.getMessage().endswith("whoever asked for it was told that nothing was begun")
    assert "internal error" not in caplog.text


async def test_a_retry_that_is_withdrawn_leaves_the_execution_as_it_was(autojump_clock, caplog, impatient):
    backend = FaultyBackend(KeptMemory())
    async with open_engine(backend, jobs=[flaky], environment=world()) as engine:
        failed = await (await engine.submit("load", {"fails": True})).wait()
        await trio.sleep(5)
        with backend.failing("slow", operations=WRITES, seconds=0.9):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(refused, engine.submit, "load")
                await trio.sleep(0.1)
                assert "nothing was begun" in await refused(engine.retry, failed.id)
        await trio.sleep(5)
        assert await engine.find(failed.id) == failed
        assert not engine.store.ledger.held
        again = await (await engine.retry(failed.id)).wait()
        assert [one.attempt for one in again.tasks.values()] == [2]
    assert "internal error" not in caplog.text
    assert caplog.text.count("withdrawn") == 1
