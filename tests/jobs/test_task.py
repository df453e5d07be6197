"""A task refuses what cannot work when it is made, and draws its edges in the field's own notation."""

import math

import pytest

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.retry import ConstantDelay, ExponentialBackoff
from goflow_trio.jobs.task import Task
from goflow_trio.jobs.trigger_rules import TriggerRule, Verdict


def work():
    return None


class Operator:
    def run(self, context):
        return context


def task(name="t", **options):
    return Task(name, work, **options)


def edges(*tasks):
    return {task.name: [after.name for after in task.downstream] for task in tasks}


def test_a_task_has_the_documented_defaults():
    made = task()
    assert (made.retries, made.retry_delay, made.timeout) == (0, ConstantDelay(1), None)
    assert (made.trigger_rule, made.idempotent) == (TriggerRule.ALL_SUCCESSFUL, False)
    assert made.priority == 0
    assert made.downstream == ()
    assert repr(made) == "<Task 't'>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "task 't': retries must be 0 or more, got -1"),
        ({"retries": 1.0}, "task 't': retries must be a whole number, got 1.0"),
        ({"retries": True}, "task 't': retries must be a whole number, got True"),
        ({"retries": "3"}, "task 't': retries must be a whole number, got '3'"),
        ({"retries": None}, "task 't': retries must be a whole number, got None"),
        ({"priority": 0.5}, "task 't': priority must be a whole number, got 0.5"),
        ({"timeout": 0}, "task 't': timeout must be a number of seconds above 0, got 0"),
        ({"timeout": -1}, "task 't': timeout must be a number of seconds above 0, got -1"),
        ({"timeout": math.nan}, "task 't': timeout must be a number of seconds above 0, got nan"),
        ({"timeout": math.inf}, "task 't': timeout must be a number of seconds above 0, got inf"),
        ({"timeout": 10**400}, "task 't': timeout must be a number of seconds above 0, got 1000"),
        ({"timeout": "5"}, "task 't': timeout must be a number of seconds above 0, got '5'"),
        ({"timeout": True}, "task 't': timeout must be a number of seconds above 0, got True"),
        ({"retry_delay": 5}, "task 't': retry_delay must have seconds(attempt, key), as ConstantDelay(1) has; got 5"),
        ({"trigger_rule": "alldone"}, "task 't': unknown trigger rule 'alldone'; the rules are allSuccessful, allDone"),
        ({"trigger_rule": 3}, "task 't': a trigger rule is a name or a function of a Tally, got int"),
    ],
)
def test_a_wrong_argument_is_refused_naming_the_task_and_the_mend(options, message):
    with pytest.raises(DefinitionError) as caught:
        task(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("operator", [None, 5, "text", object(), Operator])
def test_an_operator_runs_or_is_callable_and_is_not_a_class(operator):
    with pytest.raises(DefinitionError) as caught:
        Task("t", operator)
    assert str(caught.value).startswith("task 't': its operator must be an object with run(context) or a callable, got")


def test_a_definition_error_is_a_value_error():
    with pytest.raises(ValueError, match=r"retries"):
        task(retries=-1)


@pytest.mark.parametrize("priority", [-5, 0, 5])
def test_priority_may_be_any_whole_number(priority):
    assert task(priority=priority).priority == priority


def test_an_operator_is_an_object_with_run_or_a_callable():
    operator = Operator()
    assert Task("t", operator).operator is operator
    assert Task("t", work).operator is work


@pytest.mark.parametrize("rule", [TriggerRule.ALL_DONE, "allDone"])
def test_a_rule_is_given_by_member_or_wire_name(rule):
    assert task(trigger_rule=rule).trigger_rule is TriggerRule.ALL_DONE


def test_a_rule_may_be_a_function_of_a_tally():
    def at_least_two(tally):
        return Verdict.RUN if tally.successful > 1 else Verdict.WAIT

    assert task(trigger_rule=at_least_two).trigger_rule is at_least_two


def test_a_delay_may_be_any_object_with_seconds():
    class Fibonacci:
        def seconds(self, attempt, key):
            return attempt

    delay = Fibonacci()
    assert task(retry_delay=delay).retry_delay is delay
    assert task(retry_delay=ExponentialBackoff()).retry_delay == ExponentialBackoff()


def test_right_shift_says_after_and_returns_the_right_side_so_it_chains():
    a, b, c = task("a"), task("b"), task("c")
    assert a >> b >> c is c
    assert edges(a, b, c) == {"a": ["b"], "b": ["c"], "c": []}


def test_left_shift_says_the_same_from_the_other_side():
    a, b, c = task("a"), task("b"), task("c")
    assert c << b << a is a
    assert edges(a, b, c) == {"a": ["b"], "b": ["c"], "c": []}


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_task_fans_out_to_a_list_and_a_list_fans_in(kind):
    a, b, c, d = (task(name) for name in "abcd")
    a >> kind([b, c])
    assert kind([b, c]) >> d is d
    assert edges(a, b, c, d) == {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}


def test_lists_take_part_in_a_chain():
    a, b, c, d = (task(name) for name in "abcd")
    a >> [b, c] >> d
    assert edges(a, b, c, d) == {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}


def test_lists_stand_on_both_sides_of_left_shift():
    a, b, c, d = (task(name) for name in "abcd")
    d << [b, c] << a
    assert edges(a, b, c, d) == {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}


def test_an_empty_list_draws_nothing():
    a = task("a")
    assert a >> [] == []
    assert a.downstream == ()


def test_an_edge_drawn_twice_is_one_edge_in_its_first_place():
    a, b, c = task("a"), task("b"), task("c")
    a >> [b, c, b]
    a.set_downstream(b)
    b << a
    assert edges(a)["a"] == ["b", "c"]


def test_a_self_edge_is_refused():
    a = task("a")
    for draw in (lambda: a >> a, lambda: a << a, lambda: a.set_downstream(a), lambda: a >> [a]):
        with pytest.raises(DefinitionError, match=r"^task 'a' cannot be its own downstream; remove that edge$"):
            draw()
    assert a.downstream == ()


@pytest.mark.parametrize("other", ["b", 5, None, work, ["b"], [None]])
def test_edges_lead_to_tasks_only_and_a_refused_one_draws_nothing(other):
    a = task("a")
    with pytest.raises(DefinitionError, match=r">> and << take a task or a list of tasks, got"):
        a >> other
    with pytest.raises(DefinitionError, match=r">> and << take a task or a list of tasks, got"):
        a << other
    with pytest.raises(DefinitionError, match=r"task 'a': only a Task can be its downstream, got"):
        a.set_downstream(other)
    assert a.downstream == ()


def test_a_list_with_something_wrong_in_it_draws_no_edge_at_all():
    a, b = task("a"), task("b")
    with pytest.raises(DefinitionError):
        a >> [b, "c"]
    assert a.downstream == ()


def test_a_task_made_of_a_function_can_be_called_as_it():
    double = Task("double", lambda number, *, plus=0: 2 * number + plus)
    assert double(4, plus=1) == 9
