"""What the machine decides while nothing breaks: rules, retries, order, bounds, stale reports, the end."""

import math
import re
from datetime import UTC, datetime, timedelta

import pytest

from goflow_trio.core import limits
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
    WaitForRetry,
)
from goflow_trio.core.plan import plan_job
from goflow_trio.core.states import EXECUTION_LEGAL, FINAL, TASK_LEGAL, State, check_transition
from goflow_trio.errors import DefinitionError, InvalidTransition
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ConstantDelay, ExponentialBackoff
from goflow_trio.jobs.task import Task
from goflow_trio.jobs.trigger_rules import TriggerRule, Verdict
from tests.core.driver import EPOCH, ERROR, Driver
from tests.strategies import TaskSpec, job_of, spec_of, work


def job_with(*tasks, **options):
    job = Job("job", **options)
    for task in tasks:
        job.add(task)
    return job


def started(*tasks, **options):
    """Return the driver of a started execution of a job of these tasks."""
    driver = Driver(job_with(*tasks, **options))
    driver.start()
    return driver


def task(name="a", **options):
    return Task(name, work, **options)


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


class Unshowable(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


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


def test_no_more_tasks_run_than_may_and_the_rest_start_in_order_of_arrival():
    driver = started(*(task(name) for name in "abcd"), max_active_tasks=2)
    assert list(driver.live) == ["a", "b"]
    driver.succeed("b")
    assert list(driver.live) == ["a", "c"]
    driver.succeed("a")
    assert list(driver.live) == ["c", "d"]


def test_a_retry_queues_behind_what_was_ready_before_it():
    driver = started(task("a", retries=1), task("b"), task("c"), max_active_tasks=1)
    driver.fail("a")
    driver.retry_due("a")
    driver.succeed("b")
    assert list(driver.live) == ["c"]
    driver.succeed("c")
    assert list(driver.live) == ["a"]


def test_higher_priority_starts_first_and_equals_in_order_of_arrival():
    driver = started(task("low", priority=-1), task("one"), task("high", priority=5), task("two"), max_active_tasks=1)
    order = []
    while driver.live:
        (name,) = driver.live
        order.append(name)
        driver.succeed(name)
    assert order == ["high", "one", "two", "low"]


def test_without_a_bound_of_its_own_a_job_has_the_systems():
    count = limits.ACTIVE_TASKS_PER_EXECUTION + 1
    driver = started(*(task(str(number)) for number in range(count)))
    assert driver.machine.active == limits.ACTIVE_TASKS_PER_EXECUTION
    driver.succeed("0")
    assert driver.machine.active == limits.ACTIVE_TASKS_PER_EXECUTION


def test_a_held_execution_records_what_ends_and_starts_nothing():
    a, b = task("a"), task("b")
    a >> b
    driver = started(a, b, task("c", retries=1))
    driver.machine.hold()
    driver.succeed("a")
    driver.fail("c")
    driver.retry_due("c")
    assert driver.live == {}
    assert driver.states == {"a": "successful", "b": "notstarted", "c": "upforretry"}
    assert driver.state == "running"


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


# Rules of the user


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


# Bugs of ours


def test_starting_twice_is_illegal_and_the_error_tells_the_story():
    driver = started(task("a", retries=1))
    driver.fail("a")
    with pytest.raises(InvalidTransition) as caught:
        driver.machine.start(driver.now)
    assert str(caught.value) == (
        "execution e1 cannot go from running to running\n  what led to it:\n"
        "  1 execution.submitted\n  2 execution.started\n  3 task.started a 1\n  4 task.retry_scheduled a 1"
    )
    assert caught.value.story[-1] == "4 task.retry_scheduled a 1"


def test_an_illegal_transition_changes_nothing():
    driver = started(task("a"))
    before = driver.machine.version
    with pytest.raises(InvalidTransition):
        driver.machine.start(driver.now)
    assert (driver.machine.version, driver.machine.state) == (before, State.RUNNING)
    driver.succeed("a")
    assert driver.state == "successful"


def test_a_task_cannot_be_driven_out_of_a_final_state():
    driver = started(task("a"), task("b"))
    driver.succeed("a")
    with pytest.raises(InvalidTransition, match=re.escape("task 'a' cannot go from successful to running")):
        driver.machine._board.begin_attempt(0, driver.now)


def test_the_story_is_no_longer_than_its_bound():
    driver = started(*(task(str(number)) for number in range(200)))
    with pytest.raises(InvalidTransition) as caught:
        driver.machine.start(driver.now)
    assert len(caught.value.story) == 50


@pytest.mark.parametrize("table", [TASK_LEGAL, EXECUTION_LEGAL])
def test_every_final_state_is_final_and_every_other_can_end(table):
    for state, after in table.items():
        assert bool(after) == (state not in FINAL)
        assert state.is_final == (state in FINAL)
        for new in State:
            if new in after:
                check_transition(table, state, new, "it")
            else:
                with pytest.raises(InvalidTransition, match=rf"^it cannot go from {state} to {new}"):
                    check_transition(table, state, new, "it")


def test_every_state_can_reach_an_end():
    for table in (TASK_LEGAL, EXECUTION_LEGAL):
        for state in table:
            seen, todo = set(), {state}
            while todo:
                one = todo.pop()
                seen.add(one)
                todo |= table[one] - seen
            assert seen & FINAL


# Plans


def test_a_plan_keeps_order_edges_and_counts():
    a, b, c = task("a"), task("b"), task("c", trigger_rule="allDone")
    a >> [c, b]
    b >> c
    plan = plan_job(job_with(c, a, b, max_active_tasks=3, timeout=9))
    assert plan.names == ("c", "a", "b")
    assert [made.downstream for made in plan.tasks] == [(), (0, 2), (0,)]
    assert (plan.upstreams, plan.max_active, plan.timeout) == ((2, 0, 1), 3, 9)
    assert [made.is_cleanup for made in plan.tasks] == [True, False, False]


def test_equal_shapes_have_equal_digests_and_a_changed_graph_another():
    def plan(rule="allDone", *, edge=True):
        a, b = task("a"), task("b", trigger_rule=rule)
        if edge:
            a >> b
        return plan_job(job_with(a, b))

    assert plan().digest == plan().digest
    assert len({plan().digest, plan("allSuccessful").digest, plan(edge=False).digest}) == 3


def test_a_first_task_with_the_rule_all_done_is_no_clean_up():
    plan = plan_job(job_with(task("a", trigger_rule="allDone")))
    assert not plan.tasks[0].is_cleanup


def test_a_job_of_too_many_tasks_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "TASKS_PER_JOB", 2)
    plan_job(job_with(task("a"), task("b")))
    with pytest.raises(DefinitionError, match=r"^job 'job' has 3 tasks; at most 2 are supported$"):
        plan_job(job_with(task("a"), task("b"), task("c")))


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
