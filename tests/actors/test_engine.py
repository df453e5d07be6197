"""The engine as a program uses it: under a virtual clock, so that seconds cost nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from goflow_trio import ConstantDelay, Job, Noop, State, Task, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core.record import fold
from goflow_trio.errors import UnknownExecution
from goflow_trio.stores.memory import MemoryBackend

START = datetime(2026, 1, 1, tzinfo=UTC)


class KeptMemory(MemoryBackend):
    """Memory that survives its engine, as a disk would."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def world():
    return virtual_environment(START)


def diamond(calls=None) -> Job:
    job = Job("diamond")
    calls = [] if calls is None else calls

    def work(name):
        async def run(context):
            calls.append((name, context.attempt))
            return name

        return run

    a, b, c, d = (job.add(Task(name, work(name))) for name in "abcd")
    a >> [b, c] >> d
    return job


async def test_results_reach_downstream_tasks_and_the_record(autojump_clock):
    job = Job("sum")

    @job.task
    async def two():
        return 2

    @job.task(upstream=two)
    async def three(context):
        return context.results["two"] + context.params["more"]

    job.params = {"more": 0}
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("sum", params={"more": 1})
        record = await execution.wait()
    assert record.state == "successful"
    assert record.tasks["three"].result == 3
    assert record.params == {"more": 1}


async def test_a_waiting_retry_delays_no_sibling(autojump_clock):
    job = Job("siblings")

    @job.task(retries=1, retry_delay=ConstantDelay(5))
    async def flaky(context):
        if context.attempt == 1:
            raise ValueError("no")

    ends = {}

    @job.task
    async def sibling():
        ends["first"] = trio.current_time()

    @job.task(upstream=sibling)
    async def after():
        ends["second"] = trio.current_time()

    async with open_engine(jobs=[job], environment=world()) as engine:
        begun = trio.current_time()
        record = await (await engine.submit("siblings")).wait()
        assert ends["second"] - begun < 0.05
        assert 5 <= trio.current_time() - begun < 5.5
    assert record.state is State.SUCCESSFUL
    assert record.tasks["flaky"].attempt == 2


@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError, Exception]
)
async def test_whatever_an_operator_raises_fails_its_task_and_nothing_else(error, autojump_clock):
    job = Job("raises")

    @job.task
    async def bad():
        raise error("boom")

    @job.task
    def bad_in_a_thread():
        raise error("boom")

    @job.task
    async def good():
        await trio.sleep(1)

    async with open_engine(jobs=[job, diamond()], environment=world()) as engine:
        record = await (await engine.submit("raises")).wait()
        assert (await (await engine.submit("diamond")).wait()).state is State.SUCCESSFUL
    assert {name: task.state for name, task in record.tasks.items()} == {
        "bad": State.FAILED,
        "bad_in_a_thread": State.FAILED,
        "good": State.SUCCESSFUL,
    }
    assert record.tasks["bad"].error.type == error.__name__
    assert "boom" in record.tasks["bad"].error.traceback
    assert record.reason in {"failed: bad, bad_in_a_thread", "failed: bad_in_a_thread, bad"}


async def test_a_group_raised_by_the_operators_own_nursery_is_its_failure(autojump_clock):
    job = Job("group")

    @job.task
    async def bad():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ValueError("inside")

    async with open_engine(jobs=[job], environment=world()) as engine:
        record = await (await engine.submit("group")).wait()
    assert record.tasks["bad"].error.type == "ExceptionGroup"


async def test_an_attempt_that_takes_too_long_is_cut_off_and_retried(autojump_clock):
    job = Job("slow")

    @job.task(timeout=2, retries=1)
    async def slow(context):
        if context.attempt == 1:
            await trio.sleep_forever()

    async with open_engine(jobs=[job], environment=world()) as engine:
        record = await (await engine.submit("slow")).wait()
    first, second = record.tasks["slow"].attempts
    assert (first.reason, first.error.type, second.state) == ("timeout", "TimeoutError", State.SUCCESSFUL)
    assert (first.finished - first.started).total_seconds() == pytest.approx(2, abs=0.1)


async def test_a_job_over_its_time_fails_and_cleans_up(autojump_clock):
    cleaned = []
    job = Job("deadline", timeout=3)
    hang = job.add(Task("hang", trio.sleep_forever))
    never = job.add(Task("never", Noop()))
    clean = job.add(Task("clean", lambda: cleaned.append(True), trigger_rule="allDone"))
    hang >> never >> clean
    async with open_engine(jobs=[job], environment=world()) as engine:
        record = await (await engine.submit("deadline")).wait()
    assert record.state is State.FAILED
    assert "timed out after 3 s" in record.reason
    assert cleaned == [True]
    assert record.tasks["hang"].state is State.CANCELLED


async def test_cancel_returns_when_nothing_is_left_and_says_what_it_ended(autojump_clock):
    job = Job("long")
    gone = []

    async def hang():
        try:
            await trio.sleep_forever()
        finally:
            gone.append(1)

    first, second = job.add(Task("first", hang)), job.add(Task("second", Noop()))
    first >> second
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("long")
        await trio.sleep(1)
        receipt = await execution.cancel("enough")
        assert (receipt.tasks, gone) == (2, [1])
        assert execution.record.state is State.CANCELLED
        assert execution.record.reason == "enough"
        assert (await engine.cancel(execution.id)).tasks == 0
        with pytest.raises(UnknownExecution):
            await engine.cancel("nothing")


async def test_executions_over_the_jobs_bound_wait_their_turn_and_can_be_cancelled_there(autojump_clock):
    job = Job("one", max_active_executions=1)
    running = []

    @job.task
    async def work(context):
        running.append(context.execution_id)
        await trio.sleep(1)

    async with open_engine(jobs=[job], environment=world()) as engine:
        first, second, third = [await engine.submit("one") for _ in range(3)]
        await trio.sleep(0.5)
        assert running == [first.id]
        assert second.record.state is State.NOTSTARTED
        await second.cancel()
        await third.wait()
        assert second.record.state is State.CANCELLED
        assert running == [first.id, third.id]


async def test_events_folded_from_zero_are_the_record(autojump_clock):
    async with open_engine(jobs=[diamond()], environment=world()) as engine:
        for _ in range(3):
            await (await engine.submit("diamond")).wait()
        last = engine.seq
        events = []
        async with engine.subscribe(after=0) as subscription:
            async for event in subscription:
                events.append(event)
                if event.seq == last:
                    break
        assert [event.seq for event in events] == list(range(1, last + 1))
        assert fold(events) == {record.id: record for record in await engine.newest()}


async def test_hooks_are_called_at_the_end_and_cannot_do_harm(autojump_clock):
    seen = []

    async def hook(context):
        seen.append((context.task, context.results))
        raise SystemExit

    job = Job("hooked", on_success=[hook])
    job.add(Task("a", lambda: 1))
    failing = Job("failing", on_failure=hook, on_success=lambda: seen.append("wrong"))
    failing.add(Task("a", lambda: 1 / 0))
    async with open_engine(jobs=[job, failing], environment=world()) as engine:
        await (await engine.submit("hooked")).wait()
        await (await engine.submit("failing")).wait()
    assert seen == [("on_success", {"a": 1}), ("on_failure", {})]


async def test_a_hook_is_told_how_the_execution_ended(autojump_clock, caplog):
    """An alert names the task that failed and its error; what it logs goes to the server's log, for it has no other."""
    told = []

    async def alert(context):
        told.append((context.record.state, context.record["a"].error.message))
        context.log("ada is told")

    job = Job("failing", on_failure=alert)
    job.add(Task("a", lambda: 1 / 0))
    with caplog.at_level("INFO", "goflow_trio"):
        async with open_engine(jobs=[job], environment=world()) as engine:
            record = await (await engine.submit("failing")).wait()
    assert told == [(State.FAILED, "division by zero")]
    assert f"execution {record.id} of job failing, on_failure: ada is told" in caplog.messages
    assert record["a"] is record.tasks["a"]
    with pytest.raises(KeyError):
        record["b"]


async def test_output_and_progress_of_threads_and_tasks_are_live_events():
    job = Job("talks")

    @job.task
    def in_a_thread(context):
        context.log("from a thread")
        context.progress(1, 2)

    @job.task(upstream=in_a_thread)
    async def here(context):
        context.log("from here")

    async with open_engine(jobs=[job]) as engine, engine.subscribe() as subscription:
        await engine.submit("talks")
        told = []
        async for event in subscription:
            if event.live_only:
                told.append((event.task, event.payload()))
            if event.type == "execution.finished":
                break
    said = {"stream": "log", "offset": 0}
    assert sorted(told[:2], key=str) == [
        ("in_a_thread", {"done": 1, "total": 2}),
        ("in_a_thread", {"text": "from a thread\n", "size": 14, **said}),
    ]
    assert told[2:] == [("here", {"text": "from here\n", "size": 10, **said})]


async def test_a_result_that_cannot_be_stored_is_handed_on_and_told(autojump_clock):
    job = Job("odd")

    @job.task
    async def make():
        return {1, 2}

    @job.task(upstream=make)
    async def use(context):
        return sorted(context.results["make"])

    async with open_engine(jobs=[job], environment=world()) as engine:
        record = await (await engine.submit("odd")).wait()
    assert record.results["use"] == [1, 2]
    assert record.results["make"]["$unstored"] == "set"


async def test_the_same_seed_gives_the_same_events_to_the_byte():
    async def history():
        job = Job("chain")
        job.add(Task("a", Noop())) >> job.add(Task("b", Noop())) >> job.add(Task("c", Noop()))
        async with open_engine(jobs=[job], environment=virtual_environment(START, seed=7)) as engine:
            await (await engine.submit("chain")).wait()
            return await engine.store.backend.scan("log/")

    def once():
        return trio.run(history, clock=MockClock(autojump_threshold=0))

    results = [await trio.to_thread.run_sync(once) for _ in range(2)]
    assert results[0] == results[1]
    assert results[0]
