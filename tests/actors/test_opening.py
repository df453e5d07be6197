"""How an engine begins and ends: refused before anything is opened, gone when its block is left, resumed after it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from goflow_trio import Job, Noop, Retention, State, Task, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.errors import CycleError, DefinitionError, EngineClosed
from tests.actors.test_engine import KeptMemory, diamond, world


async def test_a_wrong_job_is_refused_before_the_store_is_opened(tmp_path):
    job = Job("cycle")
    a, b = job.add(Task("a", Noop())), job.add(Task("b", Noop()))
    a >> b >> a
    path = tmp_path / "never.db"
    with pytest.raises(CycleError, match="a -> b -> a"):
        async with open_engine(f"sqlite:///{path}", jobs=[job]):
            pytest.fail("it was opened")
    with pytest.raises(DefinitionError, match="two jobs are named 'x'"):
        async with open_engine(f"sqlite:///{path}", jobs=[Job("x"), Job("x")]):
            pytest.fail("it was opened")
    assert not path.exists()


async def test_what_the_body_raises_comes_out_bare(autojump_clock):
    with pytest.raises(ZeroDivisionError):
        async with open_engine(jobs=[diamond()], environment=world()) as engine:
            await engine.submit("diamond")
            raise ZeroDivisionError


async def test_a_host_that_is_cancelled_gets_its_cancel_back_and_nothing_stays(autojump_clock):
    job = Job("long")
    job.add(Task("hang", trio.sleep_forever))
    with trio.move_on_after(3) as scope:
        async with open_engine(jobs=[job], environment=world()) as engine:
            await engine.submit("long")
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_leaving_lets_tasks_finish_within_the_grace_and_resumes_the_rest(autojump_clock):
    backend = KeptMemory()
    calls = []
    job = Job("two")

    @job.task
    async def first():
        calls.append("first")
        await trio.sleep(2)

    @job.task(upstream=first)
    async def second():
        calls.append("second")

    async with open_engine(backend, jobs=[job], environment=world(), grace=5) as engine:
        execution = await engine.submit("two")
        await trio.sleep(1)
    assert calls == ["first"]
    assert execution.record.tasks["first"].state is State.SUCCESSFUL
    with pytest.raises(EngineClosed):
        await execution.wait()
    async with open_engine(backend, jobs=[job], environment=world()) as engine:
        record = await engine.execution(execution.id).wait()
    assert record.state is State.SUCCESSFUL
    assert calls == ["first", "second"]


async def test_an_engine_that_only_runs_what_is_submitted_leaves_all_else_to_the_next_one(autojump_clock):
    """A script that borrows a server's store fails none of its executions, fires no schedule and removes nothing.

    What it does not know is not gone: the server's own engine goes on with it.
    """
    backend = KeptMemory()
    ran = []
    old, slow = Job("old", retention=Retention()), Job("slow")
    old.add(Task("t", Noop()))
    slow.add(Task("nap", trio.sleep_forever, retries=3))
    async with open_engine(backend, jobs=[old, slow], environment=world()) as engine:
        kept = await (await engine.submit("old")).wait()
        unfinished = await engine.submit("slow")
        await trio.sleep(1)

    often = Job("often", schedule="* * * * * *", active=True)
    often.add(Task("t", lambda: ran.append("often")))
    follower = Job("follower", after=["often"])
    follower.add(Task("t", lambda: ran.append("follower")))
    much_later = virtual_environment(start=kept.submitted + timedelta(days=400))
    jobs = [often, follower]
    async with open_engine(backend, jobs=jobs, environment=much_later, only_submitted=True) as engine:
        assert str((await (await engine.submit("often")).wait()).state) == "successful"
        later = await engine.submit("often", at=much_later.now() + timedelta(seconds=60))
        await engine.pause("often")
        await engine.resume("often")
        await later.wait()
        assert ran == ["often", "often"]
        assert await engine.find(kept.id) == kept
        assert (await engine.find(unfinished.id)).tasks["nap"].state is State.RUNNING

    async with open_engine(backend, jobs=[old, slow], environment=world()) as engine:
        await trio.sleep(0.5)
        task = engine.execution(unfinished.id).record["nap"]
        assert (task.state, task.attempts[0].reason) == (State.UPFORRETRY, "interrupted")
