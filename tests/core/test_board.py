"""States change as the tables allow and in no other way; what is refused changes nothing and tells the story."""

import re

import pytest

from goflow_trio.core.states import EXECUTION_LEGAL, FINAL, TASK_LEGAL, State, check_transition
from goflow_trio.errors import InvalidTransition
from tests.core.driver import started, task


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
