"""An execution that is over is opened again: what begins anew, what stays, and that a crash changes nothing of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.core.messages import WaitForRetry
from goflow_trio.core.rerun import tasks_to_rerun
from goflow_trio.errors import UnknownTask, UsageError, WrongState
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ExponentialBackoff
from goflow_trio.jobs.task import Task
from tests.core.driver import Driver
from tests.core.naive import execution_state, outcome_of, verdict
from tests.core.test_properties import Pair, check_ending, thorough
from tests.strategies import Tape, jobs, tapes, work


def driver_of(edges, *tasks, **options):
    job = Job("job", **options)
    for task in tasks:
        job.add(task if isinstance(task, Task) else Task(task, work))
    for before, after in edges:
        job.set_downstream(before, after)
    driver = Driver(job)
    driver.start()
    return driver


def failed_in_the_middle():
    """Return `a >> b >> c`, `b >> clean`, and `d` beside them, where b failed."""
    clean = Task("clean", work, trigger_rule="allDone")
    driver = driver_of([("a", "b"), ("b", "c"), ("b", "clean")], "a", "b", "c", clean, "d")
    driver.succeed("a", result="kept")
    driver.succeed("d")
    driver.fail("b")
    driver.succeed("clean")
    assert driver.state == "failed"
    return driver


def test_from_failed_keeps_good_results_and_begins_anew_what_comes_after():
    driver = failed_in_the_middle()
    driver.reopen(by="ada", reason="the disk is back")
    assert driver.states == {
        "a": "successful",
        "b": "notstarted",
        "c": "notstarted",
        "clean": "notstarted",
        "d": "successful",
    }
    assert driver.state == "notstarted"
    driver.start()
    driver.succeed("b")
    driver.succeed("c")
    driver.succeed("clean")
    assert driver.state == "successful"
    assert driver.record.tasks["a"].result == "kept"
    assert [(a.number, str(a.state)) for a in driver.record.tasks["b"].attempts] == [(1, "failed"), (2, "successful")]
    (reopening,) = driver.record.reopenings
    assert (reopening.by, reopening.reason, reopening.tasks) == ("ada", "the disk is back", ("b", "c", "clean"))


def test_from_the_start_everything_begins_anew():
    driver = failed_in_the_middle()
    driver.reopen(start="start")
    assert set(driver.states.values()) == {"notstarted"}
    driver.start()
    assert driver.live == {"a": 2, "d": 2}


def test_one_task_with_its_downstream_or_alone():
    driver = failed_in_the_middle()
    assert tasks_to_rerun(driver.plan, driver.record, task="b") == ("b", "c", "clean")
    driver.reopen(task="a", downstream=False)
    driver.start()
    driver.succeed("a", result="newer")
    assert driver.states["b"] == "failed"
    assert (driver.state, driver.record.reason) == ("failed", "failed: b")
    assert driver.record.tasks["a"].result == "newer"


def test_retries_are_fresh_and_their_delays_begin_anew():
    task = Task("a", work, retries=1, retry_delay=ExponentialBackoff(initial=3))
    driver = driver_of([], task)
    driver.fail("a")
    driver.retry_due("a")
    driver.fail("a")
    driver.reopen()
    driver.start()
    step = driver.fail("a")
    assert step.instructions == [WaitForRetry("a", 3, 3)]
    driver.retry_due("a")
    driver.fail("a")
    assert (driver.state, driver.record.tasks["a"].attempt) == ("failed", 4)


def test_what_is_not_over_unknown_or_good_is_refused():
    driver = driver_of([], "a")
    with pytest.raises(WrongState, match="is still running"):
        tasks_to_rerun(driver.plan, driver.record)
    driver.succeed("a")
    with pytest.raises(WrongState, match="nothing to run again"):
        tasks_to_rerun(driver.plan, driver.record)
    with pytest.raises(UnknownTask, match="no task 'x'; it has: a"):
        tasks_to_rerun(driver.plan, driver.record, task="x")
    with pytest.raises(UsageError, match="start must be one of failed, start"):
        tasks_to_rerun(driver.plan, driver.record, start="middle")


def test_a_crash_before_the_start_keeps_it_open():
    driver = failed_in_the_middle()
    driver.reopen()
    driver.crash()
    assert driver.state == "notstarted"
    driver.start()
    assert driver.live == {"b": 2}


def test_a_cancelled_execution_goes_on_where_it_was_cancelled():
    driver = driver_of([("a", "b"), ("b", "c")], "a", "b", "c")
    driver.succeed("a")
    driver.cancel()
    driver.acknowledge_cancel("b")
    assert driver.state == "cancelled"
    driver.reopen()
    assert driver.states == {"a": "successful", "b": "notstarted", "c": "notstarted"}
    driver.start()
    driver.succeed("b")
    driver.succeed("c")
    assert (driver.state, driver.record.reason, driver.record.ending) == ("successful", "", None)


def anew(spec, roots):
    """Say the slow way what begins anew: the roots, and whatever has a task before it that does."""
    found = {name for name in spec.tasks if name in roots}
    while True:
        more = {name for name, task in spec.tasks.items() if name not in found and found & set(task.upstream)}
        if not more:
            return found
        found |= more


def ends_after(spec, driver, begun):
    """Return how the tasks must end, given which began anew and how the others had ended."""
    kept = {name: state for name, state in driver.states.items() if name not in begun}
    attempts = {name: task.attempt for name, task in driver.record.tasks.items()}
    ends = {name: (state, attempts[name]) for name, state in kept.items()}
    while len(ends) < len(spec.tasks):
        for name, task in spec.tasks.items():
            if name not in ends and all(before in ends for before in task.upstream):
                if verdict(spec, name, {before: ends[before][0] for before in task.upstream}) != "run":
                    ends[name] = ("skipped", attempts[name])
                    continue
                state, tries = outcome_of(task, set(), made=attempts[name])
                ends[name] = (state, attempts[name] + tries)
    return ends


def choose_what_to_rerun(spec, pair):
    """Return what the tape says to ask for, and the tasks that must begin anew then; None if there are none."""
    roots = {name for name, state in pair.driver.states.items() if state in {"failed", "cancelled"}}
    if spec.tasks and not pair.tape.below(3):
        task = pair.tape.pick(spec.declared)
        if pair.tape.below(2):
            return {"task": task}, anew(spec, {task})
        return {"task": task, "downstream": False}, {task}
    if not pair.tape.below(3) or not roots:
        return {"start": "start"}, set(spec.tasks)
    return {}, anew(spec, roots)


def run_to_the_end(pair, crashes):
    """Let everything end as the tape says, with so many crashes; return how many there were."""
    crashed = 0
    while not pair.driver.machine.finished:
        if crashed < crashes and not pair.tape.below(4):
            crashed += 1
            pair.crash()
        else:
            pair.turn()
    return crashed


@given(jobs(), tapes(), st.integers(0, 30), st.booleans())
@thorough
def test_reopened_at_random_it_ends_as_what_was_kept_and_the_outcomes_say(spec, tape, cancel_at, crashing):
    pair = Pair(spec, Tape(tape))
    pair.start()
    for _ in range(cancel_at):
        if not pair.driver.machine.finished:
            pair.turn()
    if not pair.driver.machine.finished:
        pair.cancel()
    run_to_the_end(pair, 0)
    for _ in range(3):
        options, begun = choose_what_to_rerun(spec, pair)
        expected = ends_after(spec, pair.driver, begun)
        pair.reopen(begun, **options)
        if crashing and not pair.tape.below(2):
            pair.crash()
        pair.start()
        if not run_to_the_end(pair, 3 * crashing):
            assert pair.driver.ends == expected
        assert pair.driver.state == execution_state(set(pair.driver.states.values()))
    check_ending(spec, pair.driver)
