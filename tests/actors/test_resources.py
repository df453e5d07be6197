"""Resources of an execution: opened before the first user, closed after the last, however the execution ends."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from goflow_trio import ConstantDelay, DefinitionError, Job, Noop, State, Task, open_engine
from goflow_trio.core import limits
from tests.actors.test_engine import KeptMemory, world


class Pool:
    """A resource that notes what happens to it."""

    def __init__(self, events):
        self.events = events

    async def __aenter__(self):
        await trio.sleep(1)
        self.events.append("opened")
        return self

    async def __aexit__(self, *exc):
        await trio.sleep(1)
        self.events.append("closed")


def using(events, *, users=True, **options):
    """Return the job `before >> [a, b] >> after`, where a and b use a pool that is noted in `events`."""
    job = Job("pooled")

    async def note(context):
        events.append(context.task)
        if context.task in {"a", "b"}:
            assert context.resources["pool"].events is events
            await trio.sleep(5)

    before, a, b, after = (job.add(Task(name, note, **options)) for name in ("before", "a", "b", "after"))
    before >> [a, b] >> after
    job.resource("pool", lambda: Pool(events), users=[a, "b"] if users else None)
    return job


async def run(job):
    async with open_engine(jobs=[job], environment=world()) as engine:
        return await (await engine.submit(job.name)).wait()


async def test_opened_once_before_the_first_user_and_closed_after_the_last(autojump_clock):
    events = []
    record = await run(using(events))
    assert record.state is State.SUCCESSFUL
    assert events[:2] == ["before", "opened"]
    assert sorted(events[2:4]) == ["a", "b"]
    assert sorted(events[4:]) == ["after", "closed"], "what does not use it does not wait for it"


async def test_without_users_every_task_uses_it(autojump_clock):
    events = []
    await run(using(events, users=False))
    assert (events[0], events[-1], events.count("opened")) == ("opened", "closed", 1)


async def test_closed_on_a_cancel_before_it_returns(autojump_clock):
    events = []
    async with open_engine(jobs=[using(events)], environment=world()) as engine:
        execution = await engine.submit("pooled")
        await trio.sleep(3)
        await execution.cancel()
        assert events[-1] == "closed"


async def test_each_execution_has_its_own(autojump_clock):
    events = []
    async with open_engine(jobs=[using(events)], environment=world()) as engine:
        executions = [await engine.submit("pooled") for _ in range(3)]
        for execution in executions:
            await execution.wait()
    assert (events.count("opened"), events.count("closed")) == (3, 3)


async def test_what_cannot_be_opened_fails_the_attempt_and_is_tried_again_by_the_next(autojump_clock):
    opened = []

    @asynccontextmanager
    async def connect(context):
        opened.append((context.task, context.attempt))
        if len(opened) == 1:
            raise ConnectionError("no route")
        yield context.params["url"]

    async def use(context):
        return context.resources["db"]

    job = Job("db", params={"url": "here"})
    job.add(Task("use", use, retries=1, retry_delay=ConstantDelay(1)))
    job.resource("db", connect)
    record = await run(job)
    first, second = record.tasks["use"].attempts
    assert first.error.message == "resource 'db' could not be opened: ConnectionError: no route"
    assert (second.state, record.results["use"]) == (State.SUCCESSFUL, "here")
    assert opened == [("use", 1), ("use", 2)]


async def test_a_closing_that_fails_or_hangs_changes_nothing(autojump_clock, caplog):
    @asynccontextmanager
    async def fails():
        yield 1
        raise ValueError("cannot close")

    @asynccontextmanager
    async def hangs():
        yield 2
        await trio.sleep_forever()

    job = Job("bad")
    job.add(Task("use", Noop()))
    job.resource("fails", fails)
    job.resource("hangs", hangs)
    async with open_engine(jobs=[job], environment=world()) as engine:
        begun = trio.current_time()
        record = await (await engine.submit("bad")).wait()
        assert trio.current_time() - begun == pytest.approx(limits.RESOURCE_SECONDS, abs=1)
    assert record.state is State.SUCCESSFUL
    assert "resource 'fails' broke, or its closing did" in caplog.text
    assert "closing resource 'hangs' took over 10 s" in caplog.text


async def test_a_task_that_does_not_use_it_is_told(autojump_clock):
    job = Job("job")

    async def use(context):
        return context.resources["pool"]

    user = job.add(Task("user", Noop()))
    job.add(Task("other", use))
    job.resource("pool", lambda: Pool([]), users=user)
    record = await run(job)
    assert "task 'other' uses no resource 'pool' (it uses: none)" in record.tasks["other"].error.message


async def test_opened_anew_after_a_restart_for_what_is_left(autojump_clock):
    events = []
    store = KeptMemory()
    async with open_engine(store, jobs=[using(events, idempotent=True)], environment=world()) as engine:
        execution = await engine.submit("pooled")
        await trio.sleep(3)
    del events[:]
    async with open_engine(store, jobs=[using(events, idempotent=True)], environment=world()) as engine:
        record = await engine.execution(execution.id).wait()
    assert record.state is State.SUCCESSFUL
    assert events[0] == "opened"
    assert sorted(events[1:]) == ["a", "after", "b", "closed"]


async def test_items_of_a_map_share_one(autojump_clock):
    events = []
    job = Job("mapped")

    async def use(context):
        events.append(context.resources["pool"].events is events)

    async def items():
        return [1, 2, 3]

    job.map("each", use, over=items)
    job.resource("pool", lambda: Pool(events))
    record = await run(job)
    assert record.state is State.SUCCESSFUL
    assert events == ["opened", True, True, True, "closed"]


async def test_a_class_is_a_factory_and_no_manager_is_none(autojump_clock):
    events = []

    class Shared(Pool):
        def __init__(self):
            super().__init__(events)

    job = Job("job")
    job.add(Task("use", Noop()))
    job.resource("shared", Shared)
    job.resource("wrong", lambda: 7)
    record = await run(job)
    assert "its factory must return an async context manager, got int" in record.tasks["use"].error.message
    assert events == ["opened", "closed"]


def test_wrong_declarations_are_refused():
    job = Job("job")
    job.resource("db", Noop)
    with pytest.raises(DefinitionError, match="'db' is declared already"):
        job.resource("db", Noop)
    with pytest.raises(DefinitionError, match="has no task 'nobody'"):
        job.resource("x", Noop, users="nobody")

    async def generator():
        yield 1

    async def coroutine():
        return 1

    with pytest.raises(DefinitionError, match=r"decorate its factory with contextlib\.asynccontextmanager"):
        job.resource("x", generator)
    for wrong in (coroutine, 7):
        with pytest.raises(DefinitionError, match="must be a function that returns an async context manager"):
            job.resource("x", wrong)


def test_groups_are_names_that_nest():
    job = Job("job")
    with job.group("load"):
        job.add(Task("a", Noop()))
        with job.group("slow"):
            job.add(Task("b", Noop()))
            job.map("c", Noop(), over=list)
        job.add(Task("d", Noop(), group="other"))
    job.add(Task("e", Noop()))
    assert job.groups == {"load": ["a"], "load/slow": ["b", "c"], "other": ["d"]}
    with pytest.raises(DefinitionError, match="group name"), job.group(" "):
        pass
