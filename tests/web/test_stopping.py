"""A server that was told to stop: what it answers until its tasks have ended, and what does not end it."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from goflow_trio import Goflow, Job
from goflow_trio.client import Unavailable, open_client

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no such signals here")


async def test_it_answers_until_its_tasks_have_ended_and_takes_on_nothing():
    """Who waits for a task that ends within the grace is told how; who submits is refused at once, not kept waiting.

    That nobody reads what it prints, or that its terminal is gone, does not end it.
    """
    told: list[str] = []
    go = {"first": trio.Event(), "second": trio.Event()}
    job = Job("naps", params={"which": "first"})

    @job.task
    async def nap(context):
        await go[context.params["which"]].wait()

    def announce(text):
        told.append(text)
        raise OSError(28, "No space left on device")

    gf = Goflow()
    gf.add_job(job)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gf._run, "127.0.0.1:0", 50.0, False, announce)  # noqa: FBT003
            while not told:  # noqa: ASYNC110  # it tells by a callback
                await trio.sleep(0.01)
            async with open_client(told[0].split()[-1]) as client:
                first, second = [await client.submit("naps", {"which": which}) for which in go]
                async with client.events(types=["execution.finished"]) as events:
                    os.kill(os.getpid(), signal.SIGHUP)
                    assert (await client.ready()).ready
                    os.kill(os.getpid(), signal.SIGTERM)
                    while (await client.health()).health == "OK":  # noqa: ASYNC110  # the signal is on its way
                        await trio.sleep(0.01)
                    assert "2 executions with 2 running tasks left" in (await client.health()).cause
                    assert not (await client.ready()).ready
                    with pytest.raises(Unavailable, match="shutting down and takes no more work"):
                        await client.submit("naps")
                    go["first"].set()
                    async for event in events:
                        assert (event.execution, event.details["state"]) == (first.id, "successful")
                        break
                    assert (await client.execution(first.id)).state == "successful"
                    assert (await client.execution(second.id)).state == "running"
                    go["second"].set()
