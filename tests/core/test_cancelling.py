"""How an execution is told to end: by a cancel, a forced cancel, or its deadline; clean-up runs, but not if forced."""

import pytest

from goflow_trio.core.messages import CancelAttempt, ExecutionCancelling, RunAttempt
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ConstantDelay
from goflow_trio.jobs.task import Task
from tests.core.driver import Driver
from tests.strategies import work


def extract_load_clean(*, retries=0, timeout=None, started=True):
    """Return the driver of `extract >> load >> clean`, where clean is clean-up."""
    job = Job("job", timeout=timeout)
    extract = job.add(Task("extract", work, retries=retries, retry_delay=ConstantDelay(10)))
    load = job.add(Task("load", work))
    clean = job.add(Task("clean", work, trigger_rule="allDone", retries=1))
    extract >> load >> clean
    driver = Driver(job)
    if started:
        driver.start()
    return driver


def test_a_cancel_ends_what_runs_cancels_what_waits_and_runs_the_clean_up():
    driver = extract_load_clean()
    step = driver.cancel("by hand")
    assert step.instructions == [CancelAttempt("extract", 1), RunAttempt("clean", 1)]
    assert driver.states == {"extract": "running", "load": "cancelled", "clean": "running"}
    driver.acknowledge_cancel("extract")
    assert driver.state == "running"
    driver.succeed("clean")
    assert driver.states == {"extract": "cancelled", "load": "cancelled", "clean": "successful"}
    assert (driver.state, driver.record.reason) == ("cancelled", "by hand")
    assert driver.record.tasks["extract"].reason == "by hand"


def test_the_clean_up_waits_for_what_is_directly_before_it_to_be_gone():
    job = Job("job")
    a = job.add(Task("a", work))
    a >> job.add(Task("clean", work, trigger_rule="allDone"))
    driver = Driver(job)
    driver.start()
    driver.cancel()
    assert list(driver.live) == ["a"]
    driver.acknowledge_cancel("a")
    assert list(driver.live) == ["clean"]


@pytest.mark.parametrize(("end", "state"), [("succeed", "successful"), ("fail", "failed")])
def test_an_attempt_that_ends_by_itself_while_being_cancelled_is_recorded_as_it_ended(end, state):
    driver = extract_load_clean(retries=5)
    driver.cancel()
    getattr(driver, end)("extract")
    driver.succeed("clean")
    assert driver.states == {"extract": state, "load": "cancelled", "clean": "successful"}
    assert driver.state == "cancelled"


def test_a_task_up_for_retry_is_cancelled_at_once_and_its_timer_comes_too_late():
    driver = extract_load_clean(retries=5)
    driver.fail("extract")
    late = dict(driver.waiting)
    driver.cancel()
    assert driver.states["extract"] == "cancelled"
    driver.waiting = late
    assert driver.retry_due("extract").events == []
    attempt = driver.record.tasks["extract"].attempts[0]
    assert (attempt.state, attempt.reason) == ("failed", "error")


def test_the_clean_up_may_be_retried_while_the_execution_ends():
    driver = extract_load_clean()
    driver.cancel()
    driver.acknowledge_cancel("extract")
    driver.fail("clean")
    assert driver.states["clean"] == "upforretry"
    driver.retry_due("clean")
    driver.fail("clean")
    assert (driver.states["clean"], driver.state) == ("failed", "cancelled")


def test_what_comes_after_the_clean_up_is_cancelled_unless_it_is_clean_up_too():
    job = Job("job")
    first, clean, notify, sweep = (
        job.add(Task(name, work, trigger_rule=rule))
        for name, rule in [("a", "always"), ("clean", "allDone"), ("notify", "allSuccessful"), ("sweep", "allDone")]
    )
    first >> clean >> [notify, sweep]
    driver = Driver(job)
    driver.start()
    driver.cancel()
    driver.acknowledge_cancel("a")
    driver.succeed("clean")
    driver.succeed("sweep")
    assert driver.states == {"a": "cancelled", "clean": "successful", "notify": "cancelled", "sweep": "successful"}


def test_a_cancel_before_the_start_cancels_everything_clean_up_too():
    driver = extract_load_clean(started=False)
    driver.cancel("never mind")
    assert set(driver.states.values()) == {"cancelled"}
    assert (driver.state, driver.record.reason) == ("cancelled", "never mind")
    assert driver.record.started is None


def test_a_cancel_before_the_start_of_an_empty_job_cancels_it():
    driver = Driver(Job("job"))
    driver.cancel()
    assert driver.state == "cancelled"


def test_a_second_cancel_changes_nothing():
    driver = extract_load_clean()
    driver.cancel("first")
    step = driver.cancel("second")
    assert (step.events, step.instructions) == ([], [])
    assert driver.record.reason == "first"


def test_a_forced_cancel_skips_the_clean_up():
    driver = extract_load_clean()
    driver.cancel("now", force=True)
    assert driver.states == {"extract": "running", "load": "cancelled", "clean": "cancelled"}
    driver.acknowledge_cancel("extract")
    assert driver.state == "cancelled"


def test_force_after_a_cancel_ends_the_running_clean_up_too():
    driver = extract_load_clean()
    driver.cancel("first")
    driver.acknowledge_cancel("extract")
    step = driver.cancel("at once", force=True)
    assert step.instructions == [CancelAttempt("clean", 1)]
    driver.acknowledge_cancel("clean")
    assert (driver.states["clean"], driver.state, driver.record.reason) == ("cancelled", "cancelled", "first")
    assert [e.forced for e in driver.events if isinstance(e, ExecutionCancelling)] == [False, True]


def test_a_clean_up_that_fails_under_a_forced_cancel_is_not_retried():
    """Being killed may look like a failure to the work; it must not come back for that."""
    driver = extract_load_clean()
    driver.cancel()
    driver.acknowledge_cancel("extract")
    driver.cancel(force=True)
    driver.fail("clean")
    assert (driver.states["clean"], driver.state) == ("failed", "cancelled")


def test_force_reaches_a_clean_up_that_waits_for_its_retry():
    driver = extract_load_clean()
    driver.cancel()
    driver.acknowledge_cancel("extract")
    driver.fail("clean")
    driver.cancel(force=True)
    assert (driver.states["clean"], driver.state) == ("cancelled", "cancelled")


def test_ready_tasks_without_a_slot_are_cancelled_and_never_start():
    job = Job("job", max_active_tasks=1)
    for name in "abc":
        job.add(Task(name, work))
    driver = Driver(job)
    driver.start()
    driver.cancel()
    driver.acknowledge_cancel("a")
    assert driver.states == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}
    assert [line for line in driver.story if line.startswith("task.started")] == ["task.started a 1"]


def test_at_its_deadline_an_execution_ends_as_failed_and_cleans_up():
    driver = extract_load_clean(timeout=90)
    step = driver.deadline()
    assert step.instructions == [CancelAttempt("extract", 1), RunAttempt("clean", 1)]
    driver.acknowledge_cancel("extract")
    driver.succeed("clean")
    assert (driver.state, driver.record.reason) == ("failed", "timed out after 90 s")
    assert driver.record.tasks["load"].reason == "timed out after 90 s"


def test_a_deadline_while_cancelling_and_a_cancel_after_the_deadline_change_nothing():
    cancelled = extract_load_clean(timeout=90)
    cancelled.cancel()
    assert cancelled.deadline().events == []
    timed_out = extract_load_clean(timeout=90)
    timed_out.deadline()
    assert timed_out.cancel().events == []
    timed_out.acknowledge_cancel("extract")
    timed_out.succeed("clean")
    assert timed_out.state == "failed"


def test_a_deadline_before_the_start_fails_the_execution():
    driver = extract_load_clean(timeout=90, started=False)
    driver.deadline()
    assert (driver.state, set(driver.states.values())) == ("failed", {"cancelled"})


def test_a_held_execution_can_still_be_cancelled():
    driver = extract_load_clean()
    driver.machine.hold()
    driver.cancel(force=True)
    driver.acknowledge_cancel("extract")
    assert driver.state == "cancelled"
