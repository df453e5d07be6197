"""Maps through the engine: a thousand items with failures inside, restarts in the middle, what the work sees."""

from __future__ import annotations

import pytest
import trio

from goflow_trio import ConstantDelay, Job, Noop, State, Task, TaskContext, open_engine
from goflow_trio.core import limits
from goflow_trio.core.record import fold
from tests.actors.test_engine import KeptMemory, world


async def run(job, **params):
    async with open_engine(jobs=[job], environment=world()) as engine:
        return await (await engine.submit(job.name, params)).wait()


def squares(over, **options):
    job = Job("squares")
    first = job.add(Task("numbers", lambda: list(range(4))))

    async def square(context):
        return context.item**2

    each = job.map("square", square, over=first if over is None else over, **options)
    each >> job.add(Task("sum", lambda context: sum(context.results["square"])))
    return job


async def later_numbers(context):
    await trio.sleep(1)
    return (number for number in range(4))


@pytest.mark.parametrize("over", [None, "numbers", [0, 1, 2, 3], range(4), lambda: (0, 1, 2, 3), later_numbers])
async def test_a_map_over_an_upstream_or_a_function(over, autojump_clock):
    record = await run(squares(over))
    assert record.results == {"numbers": [0, 1, 2, 3], "square": [0, 1, 4, 9], "sum": 14}
    assert [task.item for task in record.tasks.values() if task.mapped_from == "square"] == [0, 1, 2, 3]
    assert record.tasks["square"].items == 4


async def test_a_map_by_decorator(autojump_clock):
    job = Job("decorated")

    @job.task
    async def numbers():
        return [1, 2, 3]

    @job.task(over=numbers, max_active=1)
    async def double(context):
        return context.item * 2

    assert job["double"].over == "numbers"
    record = await run(job)
    assert record.results["double"] == [2, 4, 6]
    assert await double(TaskContext("job", "id", "double", item=4)) == 8


async def test_items_retry_time_out_and_skip_by_themselves(autojump_clock):
    job = Job("mixed")

    async def work(context):
        if context.item == "slow":
            await trio.sleep(100)
        if context.item == "flaky" and context.attempt == 1:
            raise ValueError("first time")
        return (context.task, context.index, context.item)

    async def wanted(context):  # a thread would not hold up the virtual clock, and time out
        return context.item != "unwanted"

    async def items():
        return ["good", "slow", "flaky", "unwanted"]

    each = job.map(
        "each",
        work,
        over=items,
        retries=1,
        retry_delay=ConstantDelay(5),
        timeout=10,
        when=wanted,
    )
    each >> job.add(Task("join", lambda context: context.results["each"], trigger_rule="allDone"))
    record = await run(job)
    assert [str(record.tasks[f"each[{index}]"].state) for index in range(4)] == [
        "successful",
        "failed",
        "successful",
        "skipped",
    ]
    assert record.tasks["each[1]"].reason == "timeout"
    assert record.results["join"] == [["each[0]", 0, "good"], None, ["each[2]", 2, "flaky"], None]
    assert record.reason == "failed: each[1]"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": 1}, "a task is mapped over a list, got dict"),
        ("text", "a task is mapped over a list, got str"),
        (7, "a task is mapped over a list, got int"),
        (range(limits.MAP_ITEMS + 1), "there are more than 10000 items"),
        ([object()], "the items to map over cannot be stored: TypeError"),
        (["x" * limits.MAP_BYTES], "over the limit"),
    ],
)
async def test_what_cannot_be_mapped_over_fails_the_map_and_says_why(given, message, autojump_clock):
    job = Job("wrong")
    job.map("each", Noop(), over=lambda: given)
    record = await run(job)
    assert message in record.tasks["each"].error.message
    assert len(record.tasks) == 1


async def test_a_map_after_a_map_sees_all_results(autojump_clock):
    job = Job("two")
    first = job.map("first", lambda context: context.item + 1, over=lambda: [1, 2, 3])
    job.map("second", lambda context: (context.item, sum(context.results["first"])), over=first)
    record = await run(job)
    assert record.results["second"] == [[2, 9], [3, 9], [4, 9]]


def thousand(calls, fails):
    """Return a job that is async throughout: a virtual clock does not wait for threads."""
    job = Job("thousand", max_active_tasks=100)

    async def items():
        return range(1000)

    async def count(context):
        return len(context.results["each"])

    async def count_failed(context):
        return context.results["each"].count(None)

    async def work(context):
        calls.append(context.item)
        await trio.sleep(1)
        if fails(context.item):
            raise ValueError(f"no luck with {context.item}")
        return context.item

    each = job.map("each", work, over=items, idempotent=True, max_active=50)
    each >> job.add(Task("join", count, trigger_rule="noneFailed"))
    each >> job.add(Task("report", count_failed, trigger_rule="allDone"))
    return job


async def good(context):
    return context.item


async def test_a_thousand_items_with_failures_inside_skip_the_join_that_wants_none(autojump_clock):
    calls = []
    job = thousand(calls, lambda item: item % 100 == 7)
    async with open_engine(jobs=[job], environment=world()) as engine:
        record = await (await engine.submit("thousand")).wait()
        assert (record.finished - record.started).total_seconds() == pytest.approx(20, abs=1)
        assert record.tasks["join"].state is State.SKIPPED
        assert "of 1000 upstreams 990 successful, 10 failed" in record.tasks["join"].reason
        assert record.tasks["report"].result == 10
        assert record.reason == "failed: each[7], each[107], each[207], each[307], each[407] and 5 more"
        job["each"].operator = good
        engine._executions.world.operators.clear()
        again = await (await engine.retry(record.id)).wait()
        assert (again.state, again.tasks["join"].result) == (State.SUCCESSFUL, 1000)
        assert len(calls) == 1000, "what was good did not run again"
        assert again.tasks["each"].result == list(range(1000))


async def test_a_restart_in_the_middle_of_a_thousand_items_repeats_only_what_it_cut(autojump_clock):
    calls = []
    store = KeptMemory()
    job = thousand(calls, lambda item: False)
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        execution_id = (await engine.submit("thousand")).id
        await trio.sleep(10.5)
    done = set(calls[:500])
    del calls[:]
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        record = await engine.execution(execution_id).wait()
        assert record.state is State.SUCCESSFUL
        assert not done & set(calls)
        assert sorted([*done, *calls]) == list(range(1000))
        assert fold(await engine.store.read_log(0, 10_000))[execution_id] == record
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        assert await engine.find(execution_id) == record
