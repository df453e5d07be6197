"""What is submitted: once for a key, and refused by name where it cannot be run."""

from __future__ import annotations

import pytest
import trio

from goflow_trio import Job, State, UsageError, open_engine
from goflow_trio.errors import UnknownJob
from tests.actors.test_engine import diamond, world


async def test_equal_idempotency_keys_are_one_execution(autojump_clock):
    async with open_engine(jobs=[diamond()], environment=world()) as engine:
        found = []

        async def submit():
            found.append(await engine.submit("diamond", idempotency_key="k"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(submit)
        await found[0].wait()
        again = await engine.submit("diamond", idempotency_key="k")
        other = await engine.submit("diamond", idempotency_key="l")
        assert {execution.id for execution in [*found, again]} == {found[0].id}
        assert (await again.wait()).state is State.SUCCESSFUL
        assert other.id != again.id
        await other.wait()


async def test_bad_requests_are_refused_by_name(autojump_clock):
    job = Job("typed", params={"day": "today"})
    async with open_engine(jobs=[job], environment=world()) as engine:
        with pytest.raises(UnknownJob, match="'nope'"):
            await engine.submit("nope")
        with pytest.raises(UsageError, match="no parameter 'dya'; its parameters are: day"):
            await engine.submit("typed", params={"dya": 1})
        with pytest.raises(UsageError, match="cannot be stored"):
            await engine.submit("typed", params={"day": object()})
        with pytest.raises(UsageError, match="no schedule"):
            await engine.toggle("typed")
