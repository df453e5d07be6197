"""Branches, conditions and durable waits through the engine, across restarts, on a virtual clock."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
import trio

from goflow_trio import (
    Approve,
    Branch,
    DefinitionError,
    GiveUp,
    Job,
    Noop,
    Skip,
    Sleep,
    State,
    Task,
    UsageError,
    WaitFor,
    WrongState,
    open_engine,
)
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.errors import StoreUnavailable, UnknownTask
from goflow_trio.testing.faulty import FaultyBackend
from tests.actors.test_engine import START, KeptMemory, world


async def run(job, **params):
    async with open_engine(jobs=[job], environment=world()) as engine:
        return await (await engine.submit(job.name, params)).wait()


def states(record):
    return {name: str(task.state) for name, task in record.tasks.items()}


def branching(choose):
    job = Job("branching")
    branch = job.add(Task("which", Branch(choose)))
    arms = [job.add(Task(name, Noop())) for name in ("small", "large")]
    branch >> arms >> job.add(Task("join", Noop(), trigger_rule="noneFailedMinOneSuccessful"))
    return job


@pytest.mark.parametrize(
    ("choice", "small", "large", "join"),
    [
        ("small", "successful", "skipped", "successful"),
        (["large"], "skipped", "successful", "successful"),
        (("small", "large"), "successful", "successful", "successful"),
        (None, "skipped", "skipped", "skipped"),
        ([], "skipped", "skipped", "skipped"),
    ],
)
async def test_a_branch_runs_what_it_names_and_skips_the_rest_by_choice(choice, small, large, join, autojump_clock):
    record = await run(branching(lambda: choice))
    assert states(record) == {"which": "successful", "small": small, "large": large, "join": join}
    assert record.state is State.SUCCESSFUL
    assert record.tasks["which"].result == ([choice] if isinstance(choice, str) else list(choice or []))
    if small == "skipped":
        assert record.tasks["small"].reason == "by choice of 'which'"


async def test_a_branch_that_names_what_is_not_after_it_fails_and_says_what_is(autojump_clock):
    record = await run(branching(lambda: ["small", "medium"]))
    assert (
        record.tasks["which"].error.message
        == "the branch chose 'medium'; the tasks directly after it are: small, large"
    )
    assert states(record) == {"which": "failed", "small": "skipped", "large": "skipped", "join": "skipped"}


async def test_a_branch_that_returns_no_names_fails(autojump_clock):
    record = await run(branching(lambda: 42))
    assert "a branch returns the name of a task after it" in record.tasks["which"].error.message


async def test_a_choice_is_remembered_when_the_engine_ends_right_after_it(autojump_clock):
    async def small():  # a thread would not hold up the virtual clock
        return "small"

    async def large():
        return "large"

    store = KeptMemory()
    job = branching(small)
    job["small"].operator = trio.sleep_forever
    job["small"].idempotent = True
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        execution = await engine.submit("branching")
        await trio.sleep(1)
    async with open_engine(store, jobs=[branching(large)], environment=world()) as engine:
        assert (await engine.find(execution.id)).tasks["which"].chosen == ("small",)
        await trio.sleep(1)
        record = await engine.find(execution.id)
    assert states(record)["large"] == "skipped"


async def test_work_that_gives_up_fails_at_once(autojump_clock):
    """An error that no retry mends: a page that is not there, an account that is closed."""
    job = Job("customers")

    @job.task(retries=5)
    def look_up():
        try:
            raise KeyError("ada")
        except KeyError as error:
            raise GiveUp("there is no such customer") from error

    async with open_engine(jobs=[job], environment=world()) as engine:
        record = (await (await engine.submit("customers")).wait())["look_up"]
    assert (record.state, record.reason, record.attempt) == ("failed", "gave up", 1)
    assert (record.error.type, record.error.message) == ("GiveUp", "there is no such customer")
    assert "KeyError: 'ada'" in record.error.traceback


@pytest.mark.parametrize("holds", [True, False])
async def test_a_task_whose_condition_does_not_hold_is_skipped(holds, autojump_clock):
    job = Job("conditional", params={"go": holds})
    first = job.add(Task("first", lambda: 7))

    async def seven_and_go(context):
        return context.params["go"] and context.results["first"] == 7

    second = job.add(Task("second", Noop(), when=seven_and_go))
    first >> second >> job.add(Task("third", Noop()))
    record = await run(job)
    expected = "successful" if holds else "skipped"
    assert states(record) == {"first": "successful", "second": expected, "third": expected}
    assert record.state is State.SUCCESSFUL
    if not holds:
        assert record.tasks["second"].reason == "its condition does not hold"


async def test_a_condition_that_raises_fails_the_attempt_and_is_retried(autojump_clock):
    job = Job("conditional")
    job.add(Task("a", Noop(), when=lambda context: context.attempt == 2 or 1 / 0, retries=1))
    record = await run(job)
    assert [str(attempt.state) for attempt in record.tasks["a"].attempts] == ["failed", "successful"]


async def test_work_may_say_itself_that_there_is_nothing_to_do(autojump_clock):
    job = Job("skips")

    @job.task
    def fetch():
        raise Skip("no new files")

    record = await run(job)
    assert (record.state, record.tasks["fetch"].state) == (State.SUCCESSFUL, State.SKIPPED)
    assert record.tasks["fetch"].reason == "no new files"


async def test_waits_hold_no_slot(autojump_clock):
    job = Job("waits", max_active_tasks=1)
    for number in range(50):
        job.add(Task(f"sleep-{number}", Sleep(100)))
    job.add(Task("work", Noop()))
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("waits")
        await trio.sleep(1)
        assert execution.record.tasks["work"].state is State.SUCCESSFUL
        assert (execution.record.tasks["sleep-0"].state, execution.record.tasks["sleep-0"].waiting) == (
            State.RUNNING,
            "sleep",
        )
        record = await execution.wait()
        assert record.state is State.SUCCESSFUL
        assert record.finished - record.started == timedelta(seconds=100)


def later(seconds):
    return virtual_environment(START + timedelta(seconds=seconds))


async def test_a_sleep_goes_on_over_restarts_and_ends_when_it_would_have(autojump_clock):
    store = KeptMemory()

    def job():
        job = Job("nap")
        job.add(Task("nap", Sleep(3600))) >> job.add(Task("after", Noop()))
        return job

    async with open_engine(store, jobs=[job], environment=world()) as engine:
        execution = await engine.submit("nap")
        await trio.sleep(600)
    async with open_engine(store, jobs=[job], environment=later(1200)):
        await trio.sleep(600)
    async with open_engine(store, jobs=[job], environment=later(3000)) as engine:
        begun = trio.current_time()
        record = await engine.execution(execution.id).wait()
        assert trio.current_time() - begun == pytest.approx(600, abs=1)
    assert record.state is State.SUCCESSFUL
    assert record.tasks["nap"].attempt == 1, "it is the same attempt"
    assert record.tasks["nap"].finished - record.tasks["nap"].started == timedelta(seconds=3600)


async def test_a_sleep_that_came_to_its_end_while_nobody_ran_ends_at_once(autojump_clock):
    store = KeptMemory()
    job = Job("nap")
    job.add(Task("nap", Sleep(60)))
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        execution = await engine.submit("nap")
    async with open_engine(store, jobs=[job], environment=later(7200)) as engine:
        with trio.fail_after(1):
            await engine.execution(execution.id).wait()


async def test_a_condition_is_asked_until_it_holds_and_its_answer_is_the_result(autojump_clock):
    asked = []

    async def ready(context):
        asked.append(trio.current_time())
        return "here" if len(asked) == 4 else None

    job = Job("sensor", max_active_tasks=1)
    job.add(Task("wait", WaitFor(ready, every=30)))
    job.add(Task("work", Noop()))
    record = await run(job)
    assert record.tasks["wait"].result == "here"
    assert [later - sooner for sooner, later in pairwise(asked)] == pytest.approx([30, 30, 30])
    assert record.tasks["wait"].reason == ""


async def test_a_condition_that_never_holds_times_out_counting_from_its_start_over_restarts(autojump_clock):
    store = KeptMemory()
    job = Job("sensor")
    job.add(Task("wait", WaitFor(Noop().run, every=10, timeout=100)))
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        execution = await engine.submit("sensor")
        await trio.sleep(50)
        assert "waiting for run, asked every 10 s" in execution.record.tasks["wait"].reason
    async with open_engine(store, jobs=[job], environment=later(80)) as engine:
        begun = trio.current_time()
        record = await engine.execution(execution.id).wait()
        assert trio.current_time() - begun == pytest.approx(20, abs=1)
    assert record.tasks["wait"].error.message == "its condition did not hold within 100 s"
    assert record.state is State.FAILED


async def test_a_condition_that_came_to_hold_while_nobody_asked_is_asked_once_more(autojump_clock):
    store = KeptMemory()
    there = []

    async def is_there():
        return there

    job = Job("sensor")
    job.add(Task("wait", WaitFor(is_there, every=10, timeout=100)))
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        execution = await engine.submit("sensor")
        await trio.sleep(50)
    there.append("it")
    async with open_engine(store, jobs=[job], environment=later(7200)) as engine:
        record = await engine.execution(execution.id).wait()
    assert record.results == {"wait": ["it"]}


async def test_a_time_out_of_the_task_counts_from_the_start_too(autojump_clock):
    store = KeptMemory()
    job = Job("nap")
    job.add(Task("nap", Sleep(3600), timeout=100))
    async with open_engine(store, jobs=[job], environment=world()) as engine:
        execution = await engine.submit("nap")
    async with open_engine(store, jobs=[job], environment=later(90)) as engine:
        begun = trio.current_time()
        record = await engine.execution(execution.id).wait()
        assert trio.current_time() - begun == pytest.approx(10, abs=1)
    assert record.tasks["nap"].reason == "timeout"


async def who_approved(context):
    return context.results["ask"]["by"]


def asking(**options):
    job = Job("release")
    ask = job.add(Task("ask", Approve("Deploy to production?", **options), retries=3))
    ask >> job.add(Task("deploy", who_approved))
    return job


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("approved", [True, False])
async def test_an_approval_is_waited_for_and_its_answer_kept(approved, restart, autojump_clock):
    store = KeptMemory()
    async with open_engine(store, jobs=[asking], environment=world()) as engine:
        execution_id = (await engine.submit("release")).id
        await trio.sleep(10)
        if not restart:
            record = await decide(engine, execution_id, approved)
    if restart:
        async with open_engine(store, jobs=[asking], environment=later(86_400)) as engine:
            record = await decide(engine, execution_id, approved)
    task = record.tasks["ask"]
    assert task.attempt == 1
    if approved:
        assert record.results == {"ask": {"approved": True, "by": "ada", "comment": "go"}, "deploy": "ada"}
    else:
        assert (task.state, task.reason, task.error.message) == (State.FAILED, "rejected", "rejected by ada: go")
        assert states(record)["deploy"] == "skipped"
    async with open_engine(store, jobs=[asking], environment=later(90_000)) as engine:
        assert await engine.find(execution_id) == record


async def decide(engine, execution_id, approved):
    task = (await engine.find(execution_id)).tasks["ask"]
    assert (task.state, task.waiting) == (State.RUNNING, "approval")
    assert task.reason == "waiting for approval: Deploy to production?"
    execution = engine.execution(execution_id)
    await engine.approve(execution_id, "ask", approved=approved, by="ada", comment="go")
    assert (await engine.find(execution_id)).tasks["ask"].waiting == "", "it is durable on return"
    with pytest.raises(WrongState, match="does not wait for an approval"):
        await engine.approve(execution_id, "ask", by="bob")
    return await execution.wait()


async def test_of_two_answers_at_once_the_first_counts_and_the_second_is_told(autojump_clock):
    async with open_engine(jobs=[asking], environment=world()) as engine:
        execution = await engine.submit("release")
        await trio.sleep(1)
        outcomes = {}

        async def answer(by, *, approved=True):
            try:
                await engine.approve(execution.id, "ask", approved=approved, by=by)
                outcomes[by] = True
            except WrongState:
                outcomes[by] = False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, "ada")
            nursery.start_soon(partial(answer, "bob", approved=False))
            nursery.start_soon(answer, "eve")
        assert sorted(outcomes.values()) == [False, False, True]
        (winner,) = [by for by, counted in outcomes.items() if counted]
        record = await execution.wait()
        assert (record.state is State.SUCCESSFUL) == (winner != "bob")
        assert record.results.get("deploy", "bob") == winner
        with pytest.raises(UnknownTask):
            await engine.approve(execution.id, "nothing")
        with pytest.raises(WrongState):
            await engine.approve(execution.id, "deploy")


async def test_an_approval_that_nobody_gives_times_out_and_may_be_asked_again(autojump_clock):
    job = asking(timeout=60)
    job["ask"].retries = 1
    async with open_engine(jobs=[job], environment=world()) as engine:
        execution = await engine.submit("release")
        await trio.sleep(90)
        assert execution.record.tasks["ask"].attempts[0].error.message == "nobody approved within 60 s"
        await engine.approve(execution.id, "ask", by="ada")
        assert (await execution.wait()).state is State.SUCCESSFUL


async def test_a_cancel_ends_waits_also_right_after_a_restart(autojump_clock):
    store = KeptMemory()
    async with open_engine(store, jobs=[asking], environment=world()) as engine:
        execution = await engine.submit("release")
        await trio.sleep(1)
    async with open_engine(store, jobs=[asking], environment=later(60)) as engine:
        assert (await engine.cancel(execution.id)).tasks == 2
        assert (await engine.find(execution.id)).state is State.CANCELLED


async def test_the_end_of_the_engine_does_not_wait_for_waits(autojump_clock):
    async with open_engine(jobs=[asking], environment=world(), grace=1000) as engine:
        await engine.submit("release")
        await trio.sleep(1)
        begun = trio.current_time()
    assert trio.current_time() - begun < 1


def test_wrong_definitions_are_refused_with_the_mend():
    for make in (
        lambda: Branch(42),
        lambda: WaitFor("x"),
        lambda: Sleep(-1),
        lambda: Sleep(None),
        lambda: WaitFor(len, 0),
    ):
        with pytest.raises(DefinitionError, match=r"^(Branch|WaitFor|Sleep): "):
            make()
    with pytest.raises(DefinitionError, match="task 'a': when must be a function of the context"):
        Task("a", Noop(), when=True)
    assert issubclass(WrongState, UsageError)


async def test_an_answer_that_the_store_does_not_take_is_refused_in_time_and_may_count_later(autojump_clock):
    backend = FaultyBackend(KeptMemory())
    async with open_engine(backend, jobs=[asking], environment=world()) as engine:
        execution = await engine.submit("release")
        await trio.sleep(1)
        with backend.failing():
            begun = trio.current_time()
            with pytest.raises(StoreUnavailable):
                await engine.approve(execution.id, "ask", by="ada")
            assert trio.current_time() - begun < 15
        record = await execution.wait()
        assert (record.state, record.results["deploy"]) == (State.SUCCESSFUL, "ada")
