"""What becomes of a task whose attempt failed: retries and their waits, and the end."""

import math
from datetime import timedelta

import pytest

from goflow_trio.core.messages import (
    RunAttempt,
    WaitForRetry,
)
from goflow_trio.jobs.retry import ConstantDelay, ExponentialBackoff
from tests.core.driver import ERROR, Unshowable, started, task


def test_attempts_are_numbered_and_each_keeps_its_own_error():
    driver = started(task("a", retries=2, retry_delay=ConstantDelay(5)))
    driver.fail("a", reason="timeout")
    assert driver.states["a"] == "upforretry"
    assert driver.step.instructions == [WaitForRetry("a", 1, 5)]
    assert driver.record.tasks["a"].retry_at == driver.now + timedelta(seconds=5)
    driver.tick(5)
    assert driver.retry_due("a").instructions == [RunAttempt("a", 2)]
    assert driver.record.tasks["a"].retry_at is None
    driver.fail("a")
    driver.retry_due("a")
    driver.fail("a")
    attempts = driver.record.tasks["a"].attempts
    assert [(one.number, one.state, one.reason) for one in attempts] == [
        (1, "failed", "timeout"),
        (2, "failed", "error"),
        (3, "failed", "error"),
    ]
    assert all(one.error == ERROR for one in attempts)
    assert (driver.state, driver.record.reason) == ("failed", "failed: a")


def test_who_gives_up_is_not_tried_again():
    driver = started(task("a", retries=9))
    driver.fail("a")
    driver.retry_due("a")
    driver.fail("a", reason="gave up")
    record = driver.record.tasks["a"]
    assert (record.state, record.reason, record.attempt, driver.state) == ("failed", "gave up", 2, "failed")


def test_a_success_after_a_failure_leaves_the_task_without_error():
    driver = started(task("a", retries=1))
    driver.fail("a")
    driver.retry_due("a")
    driver.succeed("a")
    assert driver.state == "successful"
    assert driver.record.tasks["a"].error is None
    assert driver.record.tasks["a"].attempts[0].error == ERROR


def test_the_delay_is_asked_with_the_attempt_and_a_key_of_its_own():
    asked = []

    class Recording:
        def seconds(self, attempt, key):
            asked.append((attempt, key))
            return 0

    driver = started(task("a", retries=2, retry_delay=Recording()))
    for _ in range(2):
        driver.fail("a")
        driver.retry_due("a")
    assert asked == [(1, "e1/a/1"), (2, "e1/a/2")]


class Delay:
    """A retry delay of a user that answers, or raises, what it was made with."""

    def __init__(self, answer):
        self.answer = answer

    def seconds(self, attempt, key):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (ZeroDivisionError("oops"), "ZeroDivisionError", "oops"),
        (SystemExit(3), "SystemExit", "3"),
        (Unshowable(), "Unshowable", "its message cannot be shown"),
        (-1, "ValueError", "a retry delay must be a finite number of seconds, 0 or more, got -1"),
        (math.nan, "ValueError", "a retry delay must be a finite number of seconds, 0 or more, got nan"),
        (math.inf, "ValueError", "a retry delay must be a finite number of seconds, 0 or more, got inf"),
        ("soon", "ValueError", "could not convert string to float: 'soon'"),
        (None, "TypeError", "float() argument must be a string or a real number, not 'NoneType'"),
        (1e300, "OverflowError", ""),
        (1e12, "OverflowError", "date value out of range"),
    ],
)
def test_a_delay_that_cannot_be_waited_fails_its_task_and_no_other(answer, error, message):
    driver = started(task("a", retries=3, retry_delay=Delay(answer)), task("b"))
    driver.fail("a")
    record = driver.record.tasks["a"]
    assert (record.state, record.reason, record.error.type) == ("failed", "retry delay failed", error)
    assert message in record.error.message
    driver.succeed("b")
    assert driver.states == {"a": "failed", "b": "successful"}


def test_enormous_retries_and_a_late_attempt_still_give_a_capped_wait():
    driver = started(task("a", retries=10**9, retry_delay=ExponentialBackoff()))
    for attempt in range(1, 31):
        step = driver.fail("a")
        assert step.instructions[0].seconds == min(3600, 2 ** (attempt - 1))
        driver.retry_due("a")


def test_a_retry_does_not_hold_up_its_siblings():
    driver = started(task("a", retries=1), task("b"), max_active_tasks=1)
    driver.fail("a")
    assert list(driver.live) == ["b"]
