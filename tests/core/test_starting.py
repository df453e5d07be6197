"""What starts when: bounds, priorities, order of arrival; slots change when a task runs, never what comes of it."""

from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.core import limits
from goflow_trio.core.messages import (
    CancelAttempt,
    RunAttempt,
    SlotGranted,
)
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from tests.core.driver import Driver, started, task
from tests.core.test_properties import final_states, thorough, turn
from tests.strategies import Tape, job_of, jobs, tapes, work


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


class Doorman:
    """Refuses slots as a tape says, and remembers whom."""

    def __init__(self, driver, tape):
        self.asked = []
        self.tape = tape
        driver.machine._board.admit = self

    def __call__(self, name, definition):
        assert name not in self.asked
        assert definition.name == name
        if self.tape.below(2):
            return True
        self.asked.append(name)
        return False

    def grant(self, driver):
        """Grant a slot to somebody who asked; return who, and whether it was taken."""
        name = self.asked.pop(self.tape.below(len(self.asked)))
        step = driver.report(SlotGranted(name))
        return name, any(isinstance(order, RunAttempt) and order.task == name for order in step.instructions)


@given(jobs(), tapes())
@thorough
def test_waiting_for_slots_changes_nothing_but_the_time(spec, tape):
    tape = Tape(tape)
    driver = Driver(job_of(spec))
    doorman = Doorman(driver, tape)
    driver.start()
    while not driver.machine.finished:
        for name in doorman.asked:
            assert driver.record.tasks[name].state in {"notstarted", "upforretry"}
        if doorman.asked and (not (driver.live or set(driver.waiting) - driver.due) or not tape.below(3)):
            doorman.grant(driver)
        else:
            turn(driver, spec, tape)
    assert driver.ends == final_states(spec, driver.cuts)


@given(jobs(), tapes(), st.sets(st.integers(0, 11), max_size=3))
@thorough
def test_a_task_that_is_cancelled_ends_and_so_does_the_execution(spec, tape, chosen):
    tape = Tape(tape)
    driver = Driver(job_of(spec))
    doorman = Doorman(driver, tape)
    driver.start()
    to_cancel = [name for place, name in enumerate(spec.tasks) if place in chosen]
    while not driver.machine.finished:
        if to_cancel and not tape.below(4):
            name = to_cancel.pop()
            step = driver.cancel_task(name)
            if name in driver.live:
                assert CancelAttempt(name, driver.live[name]) in step.instructions
            elif driver.record.tasks[name].state == "cancelled":
                assert driver.record.tasks[name].reason == "unwanted"
        elif doorman.asked and (not (driver.live or set(driver.waiting) - driver.due) or not tape.below(3)):
            name, taken = doorman.grant(driver)
            assert taken == (name in driver.live)
        else:
            turn(driver, spec, tape)
    states = {str(task.state) for task in driver.record.tasks.values()}
    expected = "failed" if "failed" in states else "cancelled" if "cancelled" in states else "successful"
    assert driver.record.state == expected


def two():
    job = Job("job", max_active_tasks=1)
    for name in "ab":
        job.add(Task(name, work))
    return Driver(job)


def test_a_slot_that_comes_too_late_is_not_taken():
    driver = two()
    driver.machine._board.admit = lambda name, _definition: name == "b"
    assert driver.start().instructions == [RunAttempt("b", 1)]
    assert driver.report(SlotGranted("a")).instructions == []  # the one place of the execution is taken
    driver.machine._board.admit = lambda _name, _definition: False
    driver.succeed("b")
    assert driver.cancel_task("a").instructions == []
    assert driver.machine.finished
    assert driver.report(SlotGranted("a")).events == []


def test_nothing_starts_on_hold_though_its_slot_comes():
    driver = two()
    driver.machine._board.admit = lambda _name, _definition: False
    driver.start()
    driver.machine.hold()
    assert driver.report(SlotGranted("a")).events == []
