"""Turns of the machine while nothing breaks: the submit, the start, reports alone and together, stale ones, the end."""

from datetime import UTC, datetime, timedelta

import pytest

from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptSucceeded,
    CancelRequested,
    DeadlineReached,
    ExecutionSubmitted,
    RetryDue,
    RunAttempt,
    TaskFailed,
    TaskRetryScheduled,
    TaskSkipped,
    TaskStarted,
)
from goflow_trio.core.plan import plan_job
from goflow_trio.core.states import State
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ConstantDelay, ExponentialBackoff
from tests.core.driver import EPOCH, ERROR, Driver, job_with, started, task


def complex_analytics():
    """Goflow's example of this name: task for task, edge for edge."""
    job = Job("example-complex-analytics", schedule="* * * * * *")
    for made in (
        task("sleep-one"),
        task("add-one-one"),
        task("sleep-two"),
        task("add-two-four"),
        task("add-three-four"),
        task("whoops-with-constant-delay", retries=5, retry_delay=ConstantDelay(1)),
        task("whoops-with-exponential-backoff", retries=1, retry_delay=ExponentialBackoff()),
        task("totally-skippable", trigger_rule="allSuccessful"),
        task("clean-up", trigger_rule="allDone"),
    ):
        job.add(made)
    whoops = [job["whoops-with-constant-delay"], job["whoops-with-exponential-backoff"]]
    job["sleep-one"] >> [job["add-one-one"], *whoops]
    job["add-one-one"] >> [job["sleep-two"], job["add-three-four"]]
    job["sleep-two"] >> job["add-two-four"]
    whoops >> job["totally-skippable"] >> job["clean-up"]
    return job


def test_goflows_complex_example_ends_as_in_goflow():
    """Failed although the clean-up succeeds, its joined task skipped; siblings go on while others wait to retry."""
    driver = Driver(complex_analytics())
    driver.start()
    assert list(driver.live) == ["sleep-one"]
    driver.succeed("sleep-one")
    assert list(driver.live) == ["add-one-one", "whoops-with-constant-delay", "whoops-with-exponential-backoff"]
    waits = {"whoops-with-constant-delay": [], "whoops-with-exponential-backoff": []}
    for name, seconds in waits.items():
        while name in driver.live:
            step = driver.fail(name)
            if name in driver.waiting:
                seconds.append(step.instructions[0].seconds)
                driver.retry_due(name)
    assert waits == {"whoops-with-constant-delay": [1, 1, 1, 1, 1], "whoops-with-exponential-backoff": [1]}
    assert driver.states["totally-skippable"] == "skipped"
    driver.succeed("clean-up")
    for name in ("add-one-one", "sleep-two", "add-two-four", "add-three-four"):
        assert driver.state == "running"
        driver.succeed(name)
    assert driver.states == {
        "sleep-one": "successful",
        "add-one-one": "successful",
        "sleep-two": "successful",
        "add-two-four": "successful",
        "add-three-four": "successful",
        "whoops-with-constant-delay": "failed",
        "whoops-with-exponential-backoff": "failed",
        "totally-skippable": "skipped",
        "clean-up": "successful",
    }
    assert driver.state == "failed"
    assert driver.record.reason == "failed: whoops-with-constant-delay, whoops-with-exponential-backoff"
    assert driver.record.tasks["whoops-with-constant-delay"].attempt == 6
    assert driver.record.tasks["whoops-with-exponential-backoff"].attempt == 2
    skipped = driver.record.tasks["totally-skippable"].reason
    assert skipped == "allSuccessful: of 2 upstreams 0 successful, 2 failed, 0 skipped, 0 cancelled"


def test_the_submit_says_what_the_execution_is_and_runs_nothing():
    job = job_with(task("a"), task("b"))
    plan = plan_job(job)
    instant = datetime(2026, 5, 1, tzinfo=UTC)
    machine = ExecutionMachine(plan, "e9")
    step = machine.submit(EPOCH, params={"x": 1}, scheduled_for=instant, trigger="schedule")
    assert step.instructions == []
    assert step.events == [
        ExecutionSubmitted(
            EPOCH,
            "job",
            execution="e9",
            version=1,
            tasks=("a", "b"),
            params={"x": 1},
            scheduled_for=instant,
            definition=plan.digest,
            trigger="schedule",
        )
    ]
    assert machine.state is State.NOTSTARTED


def test_an_empty_job_is_successful_as_soon_as_it_starts():
    driver = Driver(Job("job"))
    assert driver.state == "notstarted"
    driver.start()
    assert driver.story == ["execution.submitted", "execution.started", "execution.finished"]
    assert driver.state == "successful"


def test_one_task_runs_and_its_result_is_kept():
    driver = started(task("a"))
    driver.succeed("a", result={"rows": 3})
    assert driver.story[2:] == ["task.started a 1", "task.succeeded a 1", "execution.finished"]
    assert driver.record.results == {"a": {"rows": 3}}
    assert (driver.record.started, driver.record.finished) == (EPOCH + timedelta(seconds=1), driver.now)


def test_first_tasks_start_in_the_order_of_declaration():
    driver = started(task("b"), task("c"), task("a"))
    assert driver.step.instructions == [RunAttempt("b", 1), RunAttempt("c", 1), RunAttempt("a", 1)]


@pytest.mark.parametrize(
    "report",
    [
        AttemptSucceeded("a", 1),
        AttemptSucceeded("a", 3),
        AttemptFailed("a", 1, ERROR),
        AttemptCancelled("a", 1),
        RetryDue("a", 1),
        RetryDue("a", 2),
        AttemptSucceeded("done", 1),
        AttemptFailed("done", 1, ERROR),
        AttemptCancelled("done", 1),
        RetryDue("done", 1),
        AttemptSucceeded("later", 0),
        AttemptSucceeded("later", 1),
        RetryDue("later", 0),
    ],
)
def test_a_report_out_of_date_changes_nothing(report):
    a, later = task("a", retries=5), task("later")
    a >> later
    driver = started(a, task("done"), later)
    driver.succeed("done")
    driver.fail("a")
    driver.retry_due("a")
    before = driver.machine.version
    step = driver.report(report)
    assert (step.events, step.instructions, driver.machine.version) == ([], [], before)


def test_a_delay_that_is_over_twice_takes_one_place_in_the_queue():
    """A second place would let the attempt after the next one overtake what has waited longer."""
    tasks = [task("high", priority=1, retries=1), task("a", retries=2), task("c", retries=1), task("b")]
    driver = started(*tasks, max_active_tasks=1)
    for name in ("high", "a", "c"):
        driver.fail(name)
    driver.retry_due("a")
    driver.retry_due("a")
    driver.succeed("b")
    assert driver.live == {"a": 2}
    driver.retry_due("high")
    driver.fail("a")
    driver.retry_due("c")
    driver.retry_due("a")
    driver.succeed("high")
    assert driver.live == {"c": 2}


@pytest.mark.parametrize(
    "report",
    [
        AttemptSucceeded("a", 1),
        AttemptFailed("a", 1, ERROR),
        RetryDue("a", 1),
        CancelRequested("late"),
        DeadlineReached(),
    ],
)
def test_after_the_end_nothing_changes(report):
    driver = started(task("a"))
    driver.succeed("a")
    step = driver.report(report)
    assert (step.events, step.instructions, driver.state) == ([], [], "successful")


def test_reports_before_the_start_change_nothing():
    driver = Driver(job_with(task("a")))
    for report in (AttemptSucceeded("a", 0), AttemptFailed("a", 1, ERROR), RetryDue("a", 0), AttemptCancelled("a", 0)):
        assert driver.report(report).events == []
    driver.start()
    assert driver.live == {"a": 1}


def test_reports_taken_together_give_the_events_of_reports_taken_one_by_one():
    def driver():
        a, b, c = task("a"), task("b", retries=1), task("c", trigger_rule="allDone")
        [a, b] >> c
        return started(a, b, c)

    reports = [AttemptSucceeded("a", 1, 7), AttemptFailed("b", 1, ERROR), RetryDue("b", 1), AttemptSucceeded("b", 2)]
    one_by_one, together = driver(), driver()
    now = one_by_one.tick()
    singly = [one_by_one.machine.receive(report, now) for report in reports]
    at_once = together.machine.receive_all(reports, now)
    assert at_once.events == [event for step in singly for event in step.events]
    assert at_once.instructions == [order for step in singly for order in step.instructions]


def test_a_success_after_the_end_within_one_turn_is_ignored():
    driver = started(task("a"))
    step = driver.machine.receive_all([AttemptSucceeded("a", 1), AttemptSucceeded("a", 1), CancelRequested("x")], EPOCH)
    assert [event.type for event in step.events] == ["task.succeeded", "execution.finished"]


def test_a_failed_execution_names_its_first_failures_and_counts_the_rest():
    driver = started(*(task(str(number)) for number in range(7)))
    for name in reversed(list(driver.live)):
        driver.fail(name)
    assert driver.record.reason == "failed: 6, 5, 4, 3, 2 and 2 more"


def test_the_same_reports_give_the_same_events():
    def events():
        driver = Driver(complex_analytics())
        driver.start()
        while driver.live or driver.waiting:
            if driver.waiting:
                driver.retry_due(min(driver.waiting))
            else:
                name = max(driver.live)
                (driver.fail if name.startswith("whoops") else driver.succeed)(name)
        assert driver.state == "failed"
        return driver.events

    assert events() == events()


def test_events_name_their_task_and_attempt():
    a, b = task("a", retries=1), task("b")
    a >> b
    driver = started(a, b)
    driver.fail("a")
    driver.retry_due("a")
    driver.fail("a")
    by_type = [(type(event), event.task, event.attempt) for event in driver.events[2:-1]]
    assert by_type == [
        (TaskStarted, "a", 1),
        (TaskRetryScheduled, "a", 1),
        (TaskStarted, "a", 2),
        (TaskFailed, "a", 2),
        (TaskSkipped, "b", 0),
    ]
