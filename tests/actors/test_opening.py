"""How an engine begins and ends: refused before anything is opened, gone when its block is left, resumed after it."""

from __future__ import annotations

import pytest
import trio

from goflow_trio import Job, Noop, State, Task, open_engine
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
