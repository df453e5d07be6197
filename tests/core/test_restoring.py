"""What a restart makes of an unfinished execution: cut attempts, kept waits, and definitions that changed meanwhile."""

from copy import deepcopy
from datetime import timedelta

import pytest

from goflow_trio.core import limits
from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.messages import RunAttempt, WaitForRetry
from goflow_trio.core.plan import plan_shape
from goflow_trio.jobs.retry import ConstantDelay
from goflow_trio.jobs.trigger_rules import Verdict
from tests.core.driver import Driver, job_with, started, task


def test_a_cut_attempt_without_retries_left_fails_as_interrupted_and_clean_up_runs():
    a, b, clean = task("a"), task("b"), task("clean", trigger_rule="allDone")
    a >> b >> clean
    driver = started(a, b, clean)
    driver.crash()
    record = driver.record.tasks["a"]
    assert (record.state, record.reason, record.error.type) == ("failed", "interrupted", "Interrupted")
    assert driver.states["b"] == "skipped"
    driver.succeed("clean")
    assert (driver.state, driver.record.reason) == ("failed", "failed: a")


def test_a_cut_attempt_uses_up_a_retry_and_waits_as_any():
    driver = started(task("a", retries=1, retry_delay=ConstantDelay(30)))
    step = driver.crash()
    assert step.instructions == [WaitForRetry("a", 1, 30)]
    assert driver.record.tasks["a"].reason == "interrupted"
    driver.retry_due("a")
    driver.fail("a")
    assert (driver.states["a"], driver.record.tasks["a"].attempt) == ("failed", 2)


def test_a_cut_attempt_of_an_idempotent_task_is_spared_and_runs_again_at_once():
    driver = started(task("a", idempotent=True, retries=1, retry_delay=ConstantDelay(30)))
    step = driver.crash()
    assert step.instructions == [WaitForRetry("a", 1, 0)]
    assert driver.record.tasks["a"].spared == 1
    driver.retry_due("a")
    driver.fail("a")
    driver.retry_due("a")
    driver.succeed("a")
    assert (driver.state, driver.record.tasks["a"].attempt) == ("successful", 3)


@pytest.mark.parametrize("options", [{"idempotent": True}, {"retries": 100}])
def test_a_task_that_is_cut_again_and_again_is_held_to_be_the_cause(options):
    driver = started(task("a", **options), task("b"))
    driver.succeed("b")
    for _ in range(limits.CRASH_LIMIT):
        driver.crash()
        assert driver.states["a"] == "upforretry"
        driver.retry_due("a")
    driver.crash()
    record = driver.record.tasks["a"]
    assert (record.state, record.reason, record.attempt) == ("failed", "crash-loop", limits.CRASH_LIMIT + 1)
    assert record.error.message == f"the engine ended {limits.CRASH_LIMIT + 1} times while this task was running"
    assert driver.state == "failed"


def test_crashes_between_attempts_do_not_count_towards_the_crash_limit():
    driver = started(task("a", retries=1))
    driver.fail("a")
    for _ in range(10):
        driver.crash()
    driver.retry_due("a")
    driver.succeed("a")
    assert driver.state == "successful"


def test_the_remaining_wait_of_a_retry_is_kept():
    driver = started(task("a", retries=1, retry_delay=ConstantDelay(60)))
    driver.fail("a")
    driver.tick(19)
    step = driver.crash()
    assert (step.events, step.instructions) == ([], [WaitForRetry("a", 1, 40)])


def test_a_retry_that_came_due_while_nobody_ran_is_due_at_once():
    driver = started(task("a", retries=1, retry_delay=ConstantDelay(60)))
    driver.fail("a")
    driver.tick(3600)
    assert driver.crash().instructions == [WaitForRetry("a", 1, 0)]


def test_a_clock_that_went_back_keeps_the_wait_finite():
    driver = started(task("a", retries=1, retry_delay=ConstantDelay(60)))
    driver.fail("a")
    driver.tick(-100)
    assert driver.crash().instructions == [WaitForRetry("a", 1, 159)]


def test_finished_tasks_stay_and_never_run_again():
    a, b = task("a"), task("b")
    a >> b
    driver = started(a, b)
    driver.succeed("a", result=41)
    driver.crash()
    assert driver.states == {"a": "successful", "b": "failed"}
    assert driver.record.results == {"a": 41}


def test_a_report_from_before_the_crash_is_out_of_date():
    driver = started(task("a", idempotent=True))
    stale = dict(driver.live)
    driver.crash()
    driver.live = stale
    assert driver.machine.receive_all([], driver.now).events == []
    driver.live = {}
    driver.retry_due("a")
    assert driver.live == {"a": 2}


def test_what_was_ready_but_had_no_slot_starts_after_the_restart():
    driver = started(task("a"), task("b"), max_active_tasks=1)
    step = driver.crash()
    assert step.instructions == [RunAttempt("b", 1)]


def test_an_execution_that_had_not_started_still_has_to_be_started():
    driver = Driver(job_with(task("a")))
    step = driver.crash()
    assert (step.events, step.instructions, driver.state) == ([], [], "notstarted")
    driver.start()
    driver.succeed("a")
    assert driver.state == "successful"


def test_restoring_the_same_record_twice_gives_the_same_step():
    a, b = task("a", retries=1), task("b", idempotent=True)
    driver = started(a, b, task("c", retries=2))
    driver.fail("c")
    now = driver.tick()
    steps = [ExecutionMachine.restore(driver.plan, deepcopy(driver.record), now)[1] for _ in range(2)]
    assert steps[0].events == steps[1].events != []
    assert steps[0].instructions == steps[1].instructions


def test_restoring_does_not_touch_the_record():
    driver = started(task("a"), task("b", retries=1))
    before = deepcopy(driver.record)
    ExecutionMachine.restore(driver.plan, driver.record, driver.tick())
    assert driver.record == before


def test_a_crash_right_after_a_restore_changes_nothing_more():
    driver = started(task("a", retries=3), task("b"))
    driver.crash()
    step = driver.crash()
    assert step.events == []
    assert step.instructions == [WaitForRetry("a", 1, 0)]


def test_a_running_clean_up_is_taken_up_again_after_a_crash_during_a_cancel():
    a, clean = task("a"), task("clean", trigger_rule="allDone", retries=1)
    a >> clean
    driver = started(a, clean)
    driver.cancel("by hand")
    driver.acknowledge_cancel("a")
    driver.crash()
    assert driver.states == {"a": "cancelled", "clean": "upforretry"}
    driver.retry_due("clean")
    driver.succeed("clean")
    assert (driver.state, driver.record.reason) == ("cancelled", "by hand")


def test_what_was_told_to_end_when_the_engine_did_is_cancelled_and_not_retried():
    driver = started(task("a", retries=5, idempotent=True))
    driver.cancel("by hand")
    driver.crash()
    assert (driver.states["a"], driver.state) == ("cancelled", "cancelled")


@pytest.mark.parametrize("lost", range(1, 4))
def test_a_cancel_that_was_written_in_part_is_completed(lost):
    """A long step may be written in several segments; the decision to end is the first event of its step."""
    a, b, c = task("a", retries=1), task("b"), task("c")
    a >> [b, c]
    driver = started(a, b, c)
    driver.fail("a")
    driver.cancel()
    assert driver.story[-5:] == [
        "execution.cancelling",
        "task.cancelled a 1",
        "task.cancelled b",
        "task.cancelled c",
        "execution.finished",
    ]
    driver.crash(lost=lost + 1)
    assert set(driver.states.values()) == {"cancelled"}
    assert driver.state == "cancelled"


def test_a_cancel_before_the_start_that_was_written_in_part_is_completed():
    a, clean = task("a"), task("clean", trigger_rule="allDone")
    a >> clean
    driver = Driver(job_with(a, clean))
    driver.cancel()
    driver.crash(lost=3)
    assert (set(driver.states.values()), driver.state) == ({"cancelled"}, "cancelled")


def test_an_end_that_was_not_written_is_written_after_the_restart():
    driver = started(task("a"))
    driver.succeed("a")
    step = driver.crash(lost=1)
    assert [event.type for event in step.events] == ["execution.finished"]
    assert driver.state == "successful"


# The definition changed while the engine was down


def test_a_removed_task_fails_as_definition_gone_and_its_clean_up_runs():
    def job(*, with_b):
        a, b, clean = task("a"), task("b", retries=9), task("clean", trigger_rule="allDone")
        if with_b:
            a >> b >> clean
            return job_with(a, b, clean)
        a >> clean
        return job_with(a, clean)

    driver = Driver(job(with_b=True))
    driver.start()
    driver.succeed("a")
    driver.crash(job=job(with_b=False))
    record = driver.record.tasks["b"]
    assert (record.state, record.reason) == ("failed", "interrupted")
    assert record.error.message.endswith("; job 'job' no longer has this task, so that it cannot run again")
    driver.succeed("clean")
    assert driver.state == "failed"


def test_a_removed_task_that_had_not_started_fails_as_it_would_start():
    a, b, c = task("a", idempotent=True), task("b"), task("c", trigger_rule="allDone")
    a >> b >> c
    driver = started(a, b, c)
    driver.crash(job=job_with(task("a", idempotent=True), task("c", trigger_rule="allDone")))
    driver.retry_due("a")
    assert driver.states["b"] == "notstarted"
    driver.succeed("a")
    record = driver.record.tasks["b"]
    assert (record.state, record.reason, record.attempt) == ("failed", "definition gone", 1)
    assert record.error.message == "job 'job' no longer has this task"
    driver.succeed("c")
    assert (driver.state, driver.record.reason) == ("failed", "failed: b")


def test_a_removed_job_ends_its_executions_as_failed():
    a, b = task("a", retries=9), task("b", trigger_rule="allDone")
    a >> b
    driver = started(a, b)
    driver.plan = plan_shape("job", driver.plan.shape(), None)
    driver.crash()
    assert driver.states == {"a": "failed", "b": "failed"}
    assert driver.record.tasks["b"].reason == "definition gone"
    assert driver.state == "failed"


def test_an_added_task_or_edge_is_no_part_of_an_execution_that_began_before():
    driver = started(task("a", idempotent=True), task("b"))
    driver.succeed("b")
    a, b, new = task("a", idempotent=True), task("b"), task("new")
    b >> a >> new
    driver.crash(job=job_with(a, b, new))
    driver.retry_due("a")
    driver.succeed("a")
    assert (driver.states, driver.state) == ({"a": "successful", "b": "successful"}, "successful")


def mine(tally):
    return Verdict.RUN if tally.all_done else Verdict.WAIT


@pytest.mark.parametrize("changed_to", ["allSuccessful", "allFailed"])
def test_a_named_rule_that_changed_still_decides_as_it_was_stored(changed_to):
    a, b = task("a", idempotent=True), task("b", trigger_rule="allSuccessful")
    a >> b
    driver = started(a, b)
    driver.crash(job=job_with(task("a", idempotent=True), task("b", trigger_rule=changed_to)))
    driver.retry_due("a")
    driver.succeed("a")
    driver.succeed("b")
    assert driver.state == "successful"


def test_a_rule_of_the_user_that_is_still_defined_goes_on_deciding():
    a, b = task("a", idempotent=True), task("b", trigger_rule=mine)
    a >> b
    driver = started(a, b)
    driver.crash(job=driver.job)
    driver.retry_due("a")
    driver.succeed("a")
    assert list(driver.live) == ["b"]


def test_a_rule_of_the_user_that_is_gone_fails_its_task_and_says_so():
    a, b = task("a", idempotent=True), task("b", trigger_rule=mine)
    a >> b
    driver = started(a, b)
    driver.crash(job=job_with(task("a", idempotent=True), task("b", trigger_rule="allDone")))
    driver.retry_due("a")
    driver.succeed("a")
    record = driver.record.tasks["b"]
    assert (record.state, record.reason) == ("failed", "trigger rule failed")
    assert record.error.message == "its trigger rule is no longer defined"
    assert driver.state == "failed"


def test_retries_and_bounds_are_those_of_the_job_as_it_is_now():
    driver = started(task("a"), task("b"))
    driver.crash(job=job_with(task("a", retries=1), task("b", retries=1), max_active_tasks=1))
    assert driver.states == {"a": "upforretry", "b": "upforretry"}
    driver.retry_due("a")
    driver.retry_due("b")
    assert driver.live == {"a": 2}


def test_a_restored_plan_has_the_digest_it_was_stored_under():
    a, b = task("a"), task("b", trigger_rule=mine)
    a >> b
    plan = Driver(job_with(a, b)).plan
    assert plan_shape("job", plan.shape(), None).digest == plan.digest
    assert plan_shape("job", plan.shape(), None).shape() == plan.shape()


def test_time_is_that_of_the_restart():
    driver = started(task("a"))
    driver.tick(3600)
    driver.crash()
    assert driver.record.tasks["a"].finished - driver.record.tasks["a"].started == timedelta(seconds=3601)
