"""Jobs that run jobs: results, failures, cancels and retries reach the child; a crash starts none twice."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio

from goflow_trio import Command, DefinitionError, Job, Noop, RunJob, State, Task, TaskContext, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core.ids import child_id
from goflow_trio.errors import OperatorError
from goflow_trio.testing.faulty import FaultyBackend
from tests.actors.test_engine import START, KeptMemory, world
from tests.patience import SOON


async def monday():
    return "monday"


async def on_that_day(context):
    return {"day": context.results["before"]}


async def one_more(context):
    return context.results["run"]["second"] + 1


class Family:
    """A parent that runs `child` with a parameter and reports its result; `child` naps, then does what `act` says."""

    def __init__(self, act=lambda: 7):
        self.act = act
        self.calls = []

    def jobs(self, **options):
        child = Job("child", params={"day": "today"})

        @child.task
        async def first(context):
            self.calls.append("first")
            return context.params["day"]

        @child.task(upstream=first, idempotent=True)
        async def second(context):
            self.calls.append("second")
            await trio.sleep(10)
            return self.act()

        @child.task(upstream=second, trigger_rule="allDone", idempotent=True)
        async def clean():
            self.calls.append("clean")
            await trio.sleep(1)

        parent = Job("parent")
        # All of it async: a virtual clock does not wait for threads.
        before = parent.add(Task("before", monday))
        run = parent.add(Task("run", RunJob("child", on_that_day), **options))
        before >> run >> parent.add(Task("after", one_more))
        return [parent, child]


async def child_of(engine, parent):
    record = await engine.find(parent)
    return await engine.find(record.tasks["run"].attempts[-1].child)


async def test_a_child_gets_parameters_gives_results_and_both_name_each_other(autojump_clock):
    async with open_engine(jobs=Family().jobs(), environment=world()) as engine:
        execution = await engine.submit("parent")
        await trio.sleep(5)
        task = execution.record.tasks["run"]
        assert (task.state, task.waiting, task.reason) == (State.RUNNING, "job", "waiting for job 'child'")
        record = await execution.wait()
        assert record.results == {
            "before": "monday",
            "run": {"first": "monday", "second": 7, "clean": None},
            "after": 8,
        }
        child = await child_of(engine, record.id)
        assert (child.trigger, child.parent, child.parent_task) == ("job", record.id, "run")
        assert child.id == child_id(record.id, "run", 1, record.tasks["run"].started)
        assert [one.id for one in await engine.newest()] == [child.id, record.id], "ids sort by time"


async def test_a_child_that_fails_fails_its_task_and_a_retry_runs_a_new_one(autojump_clock):
    outcomes = iter([1 / 3, None])

    def act():
        return next(outcomes) or 1 / 0

    async with open_engine(jobs=Family(act).jobs(retries=1), environment=world()) as engine:
        first = await (await engine.submit("parent")).wait()
        assert first.state is State.SUCCESSFUL
        record = await (await engine.submit("parent")).wait()
        assert record.tasks["run"].attempt == 2
        assert record.tasks["run"].error.type == "JobFailed"
        child = await child_of(engine, record.id)
        assert record.tasks["run"].error.message == f"job 'child' is failed (execution {child.id}): failed: second"
        assert len({attempt.child for attempt in record.tasks["run"].attempts}) == 2


@pytest.mark.parametrize("force", [False, True])
async def test_a_cancel_reaches_the_child_and_returns_when_nothing_of_it_is_left(force, autojump_clock):
    family = Family()
    async with open_engine(jobs=family.jobs(), environment=world()) as engine:
        execution = await engine.submit("parent")
        await trio.sleep(5)
        begun = trio.current_time()
        await execution.cancel("enough", force=force)
        child = await child_of(engine, execution.id)
        assert child.state is State.CANCELLED
        assert child.tasks["clean"].state is (State.CANCELLED if force else State.SUCCESSFUL)
        assert trio.current_time() - begun == pytest.approx(0 if force else 1, abs=0.1)
        assert execution.record.tasks["run"].state is State.CANCELLED


async def test_force_reaches_a_child_that_is_cleaning_up(autojump_clock):
    async with open_engine(jobs=Family().jobs(), environment=world()) as engine:
        execution = await engine.submit("parent")
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execution.cancel)
            await trio.sleep(0.5)
            begun = trio.current_time()
            await execution.cancel(force=True)
        assert trio.current_time() - begun < 0.1
        assert (await child_of(engine, execution.id)).tasks["clean"].state is State.CANCELLED


async def test_a_time_out_of_the_task_ends_the_child(autojump_clock):
    async with open_engine(jobs=Family().jobs(timeout=4), environment=world()) as engine:
        record = await (await engine.submit("parent")).wait()
        assert record.tasks["run"].reason == "timeout"
        assert (await child_of(engine, record.id)).state is State.CANCELLED


async def test_a_child_that_someone_cancels_fails_its_task(autojump_clock):
    async with open_engine(jobs=Family().jobs(), environment=world()) as engine:
        execution = await engine.submit("parent")
        await trio.sleep(5)
        await engine.cancel((await child_of(engine, execution.id)).id, "not wanted")
        record = await execution.wait()
        assert "is cancelled" in record.tasks["run"].error.message
        assert record.state is State.FAILED


async def test_a_retry_from_what_failed_reaches_the_child_and_one_from_the_start_begins_a_new_one(autojump_clock):
    family = Family(lambda: 1 / 0)
    async with open_engine(jobs=family.jobs(), environment=world()) as engine:
        failed = await (await engine.submit("parent")).wait()
        family.act = lambda: 7
        record = await (await engine.retry(failed.id, by="ada")).wait()
        assert record.state is State.SUCCESSFUL
        assert family.calls == ["first", "second", "clean", "second", "clean"], "what was good in the child stays"
        first, second = record.tasks["run"].attempts
        assert first.child == second.child
        child = await engine.find(second.child)
        assert (child.reopenings[0].by, child.reopenings[0].reason) == (f"{record.id}/run/2", "its parent runs again")
        again = await (await engine.retry(failed.id, start="start")).wait()
        assert again.tasks["run"].attempts[-1].child != first.child


@pytest.mark.parametrize("cut_at", [0.5, 5, 10.5])
async def test_a_restart_finds_the_child_again(cut_at, autojump_clock):
    store = KeptMemory()
    family = Family()
    async with open_engine(store, jobs=family.jobs(), environment=world()) as engine:
        execution_id = (await engine.submit("parent")).id
        await trio.sleep(cut_at)
    async with open_engine(store, jobs=family.jobs(), environment=later()) as engine:
        record = await engine.execution(execution_id).wait()
        assert (record.state, record.tasks["run"].attempt) == (State.SUCCESSFUL, 1)
        assert len(await engine.newest(job="child")) == 1
        assert family.calls.count("first") == 1


def later():
    return virtual_environment(START.replace(minute=1))


@pytest.mark.parametrize("what", ["run", "cancel", "retry"])
@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
async def test_a_death_at_every_operation_of_the_store_starts_no_child_twice(after, what, autojump_clock):
    """Rule: one child an attempt, or one for both when it is taken up again; none is left when the parent has ended."""
    for dies_at in range(1, 200):
        family = Family(lambda: 1 / 0)
        memory = KeptMemory()
        execution_id = ""
        if what == "retry":
            async with open_engine(memory, jobs=family.jobs(), environment=world()) as engine:
                execution_id = (await (await engine.submit("parent")).wait()).id
        family.act = lambda: 7
        backend = FaultyBackend(memory)
        backend.fail(dies_at, "die after" if after else "die")
        async with trio.open_nursery() as nursery:

            async def watch(backend=backend, nursery=nursery):
                await backend.died.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            async with open_engine(backend, jobs=family.jobs(), environment=later()) as engine:
                execution = await (engine.retry(execution_id) if execution_id else engine.submit("parent"))
                if what == "cancel":
                    await trio.sleep(5)
                    await execution.cancel()
                await execution.wait()
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
        async with open_engine(memory, jobs=family.jobs(), environment=later()) as engine:
            for execution in engine._executions:
                await execution.wait()
            children = await engine.newest(job="child")
            for parent in await engine.newest(job="parent"):
                known = {attempt.child for attempt in parent.tasks["run"].attempts}
                assert {child.id for child in children if child.parent == parent.id} <= known
                assert len(known) <= 1
                for child in children:
                    assert child.state.is_final
                    if parent.ending is not None:
                        assert child.state in {State.CANCELLED, State.SUCCESSFUL}
            assert family.calls.count("first") <= 1 + (dies_at > 5), (
                "only a cut attempt runs again, and it is not idempotent"
            )
        if not backend.died.is_set():
            assert dies_at > 8
            return
    pytest.fail("the workload never came to its end")


async def test_a_map_of_jobs(autojump_clock):
    child = Job("child", params={"number": 0})
    child.add(Task("double", lambda context: context.params["number"] * 2))
    parent = Job("parent")
    parent.map("each", RunJob(child, lambda context: {"number": context.item}), over=lambda: [1, 2, 3])
    async with open_engine(jobs=[parent], environment=world()) as engine:
        assert list(engine.jobs) == ["parent", "child"], "a job that is given is registered with its parent"
        record = await (await engine.submit("parent")).wait()
        assert record.results["each"] == [{"double": 2}, {"double": 4}, {"double": 6}]


async def test_wrong_parameters_fail_the_attempt(autojump_clock):
    for params in ({"dya": 1}, lambda: 7):
        jobs = Family().jobs()
        jobs[0]["run"].operator = RunJob("child", params)
        async with open_engine(jobs=jobs, environment=world()) as engine:
            record = await (await engine.submit("parent")).wait()
            assert record.tasks["run"].error.type in {"UsageError", "ParamsError"}


async def test_definitions_that_cannot_work_are_refused(autojump_clock):
    lonely = Job("lonely")
    lonely.add(Task("run", RunJob("nobody")))
    with pytest.raises(DefinitionError, match="task 'run' runs job 'nobody', which is not registered; add it"):
        async with open_engine(jobs=[lonely]):
            pass
    a, b = Job("a"), Job("b")
    a.add(Task("run", RunJob("b")))
    b.add(Task("run", RunJob(a)))
    with pytest.raises(DefinitionError, match="would run itself without end: a -> b -> a"):
        async with open_engine(jobs=[a, b]):
            pass
    for wrong in (7, ""):
        with pytest.raises(DefinitionError, match="job must be a Job or the name of one"):
            RunJob(wrong)
    with pytest.raises(DefinitionError, match="params must be a mapping"):
        RunJob("a", 7)
    with pytest.raises(OperatorError, match="can only be run inside an engine"):
        await RunJob("a").run(TaskContext("job", "id", "task"))


def test_the_id_of_a_child_follows_from_its_attempt_and_sorts_by_time():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    first = child_id("parent", "run", 1, at)
    assert first == child_id("parent", "run", 1, at)
    assert first[14] == "7"
    assert len({first, *(child_id("parent", task, attempt, at) for task in ("run", "x") for attempt in (1, 2))}) == 4
    assert child_id("parent", "run", 1, at.replace(year=2027)) > first
    assert Noop() == Noop()


async def test_the_receipt_of_a_cancel_counts_what_was_ended_in_the_child():
    child = Job("child")
    child.add(Task("sleep", Command("echo begun; exec sleep 600", shell=True)))
    parent = Job("parent")
    parent.add(Task("run", RunJob(child)))
    async with open_engine(jobs=[parent]) as engine, engine.subscribe(types=["task.output"]) as events:
        execution = await engine.submit("parent")
        with trio.fail_after(SOON):
            await events.receive_batch()  # it runs
            receipt = await execution.cancel()
    assert (receipt.tasks, receipt.processes) == (1, 1)
