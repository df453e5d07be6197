"""What comes after a task that ended: trigger rules, shipped ones and the user's, asked until nothing moves."""

import pytest

from goflow_trio.jobs.trigger_rules import TriggerRule, Verdict
from tests.core.driver import Driver, Unshowable, started, task
from tests.strategies import TaskSpec, job_of, spec_of


@pytest.mark.parametrize("rule", list(TriggerRule))
@pytest.mark.parametrize("succeeds", [True, False])
def test_every_rule_decides_over_one_upstream(rule, succeeds):
    a, b = task("a"), task("b", trigger_rule=rule)
    a >> b
    driver = started(a, b)
    if rule == "always":
        assert set(driver.live) == {"a", "b"}
        return
    (driver.succeed if succeeds else driver.fail)("a")
    runs_after = {
        True: {"allSuccessful", "oneSuccessful", "noneFailed", "noneFailedMinOneSuccessful"},
        False: {"allFailed", "oneFailed"},
    }
    whatever = {"allDone", "oneDone", "noneSkipped"}
    assert ("b" in driver.live) == (rule in runs_after[succeeds] | whatever)
    assert (driver.states["b"] == "skipped") == ("b" not in driver.live)


def test_an_early_rule_fires_once_and_the_late_upstream_changes_nothing():
    a, b, c = task("a"), task("b"), task("c", trigger_rule="oneSuccessful")
    [a, b] >> c
    driver = started(a, b, c)
    driver.succeed("a")
    assert set(driver.live) == {"b", "c"}
    driver.succeed("c")
    driver.fail("b")
    assert driver.states == {"a": "successful", "b": "failed", "c": "successful"}


def test_a_skip_settles_what_comes_after_it_in_the_same_turn():
    a, b, c, d = task("a"), task("b"), task("c"), task("d", trigger_rule="allDone")
    a >> b >> c >> d
    driver = started(a, b, c, d)
    driver.fail("a")
    assert driver.story[3:] == ["task.failed a 1", "task.skipped b", "task.skipped c", "task.started d 1"]


def test_a_diamond_starts_its_join_once_and_last():
    spec = spec_of(
        TaskSpec("a"),
        TaskSpec("b", upstream=("a",)),
        TaskSpec("c", upstream=("a",)),
        TaskSpec("d", upstream=("b", "c")),
    )
    driver = Driver(job_of(spec))
    driver.start()
    for name in ("a", "c", "b"):
        assert "d" not in driver.live
        driver.succeed(name)
    driver.succeed("d")
    assert driver.state == "successful"


def test_a_rule_of_the_user_is_asked_until_it_decides():
    asked = []

    def majority(tally):
        asked.append((tally.successful, tally.failed))
        if tally.successful > tally.total // 2:
            return Verdict.RUN
        return Verdict.SKIP if tally.failed > tally.total // 2 else Verdict.WAIT

    a, b, c, d = task("a"), task("b"), task("c"), task("d", trigger_rule=majority)
    [a, b, c] >> d
    driver = started(a, b, c, d)
    driver.succeed("a")
    driver.fail("b")
    driver.succeed("c")
    assert asked == [(0, 0), (1, 0), (1, 1), (2, 1)]
    assert list(driver.live) == ["d"]


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (ZeroDivisionError("oops"), "ZeroDivisionError", "oops"),
        (SystemExit(3), "SystemExit", "3"),
        (Unshowable(), "Unshowable", "its message cannot be shown"),
    ],
)
def test_a_rule_that_raises_fails_its_task_without_retries_and_the_rest_goes_on(broken, error, message):
    def rule(tally):
        if tally.done:
            raise broken
        return Verdict.WAIT

    a, b, c = task("a"), task("b", trigger_rule=rule, retries=5), task("c", trigger_rule="allDone")
    a >> b >> c
    driver = started(a, b, c)
    driver.succeed("a")
    record = driver.record.tasks["b"]
    assert (record.state, record.reason, record.attempt) == ("failed", "trigger rule failed", 1)
    assert (record.error.type, record.error.message) == (error, message)
    driver.succeed("c")
    assert (driver.state, driver.record.reason) == ("failed", "failed: b")


@pytest.mark.parametrize("answer", [None, True, "run", Verdict.WAIT])
def test_a_rule_that_never_decides_fails_its_task_once_all_upstreams_ended(answer):
    a, b = task("a"), task("b", trigger_rule=lambda tally: answer)
    a >> b
    driver = started(a, b)
    assert driver.states["b"] == "notstarted"
    driver.succeed("a")
    record = driver.record.tasks["b"]
    assert (record.state, record.reason) == ("failed", "trigger rule failed")
    assert record.error.message == f"its rule answered {answer!r} though all upstreams ended"
    assert driver.state == "failed"
