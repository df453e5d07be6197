"""Every rule over every tally of up to four upstreams, against a definition in plain words about the list of outcomes.

The definitions below do not count: they look at each upstream, `None` being one that has not ended.
"""

from itertools import product

import pytest

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.trigger_rules import RULES, Tally, TriggerRule, Verdict, rule_function, rule_name

OUTCOMES = ("successful", "failed", "skipped", "cancelled")


def once_all_ended(holds):
    def rule(upstreams):
        if None in upstreams:
            return Verdict.WAIT
        return Verdict.RUN if holds(upstreams) else Verdict.SKIP

    return rule


def as_soon_as_one_is(*wanted):
    def rule(upstreams):
        if not upstreams or any(one in wanted for one in upstreams):
            return Verdict.RUN
        return Verdict.WAIT if None in upstreams else Verdict.SKIP

    return rule


DEFINITIONS = {
    "allSuccessful": once_all_ended(lambda ups: all(up == "successful" for up in ups)),
    "allDone": once_all_ended(lambda ups: True),
    "allFailed": once_all_ended(lambda ups: all(up == "failed" for up in ups)),
    "oneSuccessful": as_soon_as_one_is("successful"),
    "oneFailed": as_soon_as_one_is("failed"),
    "oneDone": as_soon_as_one_is("successful", "failed"),
    "noneFailed": once_all_ended(lambda ups: all(up in {"successful", "skipped"} for up in ups)),
    "noneSkipped": once_all_ended(lambda ups: "skipped" not in ups),
    "noneFailedMinOneSuccessful": once_all_ended(
        lambda ups: all(up in {"successful", "skipped"} for up in ups) and ("successful" in ups or not ups)
    ),
    "allSkipped": once_all_ended(lambda ups: all(up == "skipped" for up in ups)),
    "always": lambda ups: Verdict.RUN,
}


def tally_of(upstreams):
    return Tally(len(upstreams), *(upstreams.count(outcome) for outcome in OUTCOMES))


@pytest.mark.parametrize("name", list(TriggerRule))
def test_the_rule_agrees_with_its_definition_for_every_tally(name):
    rule = rule_function(name)
    for total in range(5):
        for upstreams in product((None, *OUTCOMES), repeat=total):
            assert rule(tally_of(upstreams)) is DEFINITIONS[name](upstreams), upstreams


@pytest.mark.parametrize("name", list(TriggerRule))
def test_a_first_task_may_run_at_once_under_every_rule(name):
    assert rule_function(name)(Tally(0)) is Verdict.RUN


@pytest.mark.parametrize("name", list(TriggerRule))
def test_once_all_upstreams_ended_no_rule_waits(name):
    rule = rule_function(name)
    for upstreams in product(OUTCOMES, repeat=3):
        assert rule(tally_of(upstreams)) is not Verdict.WAIT


@pytest.mark.parametrize("name", list(TriggerRule))
def test_a_rule_never_changes_its_mind_as_more_upstreams_end(name):
    rule = rule_function(name)
    for upstreams in product((None, *OUTCOMES), repeat=3):
        said = rule(tally_of(upstreams))
        if said is not Verdict.WAIT and None in upstreams:
            place = upstreams.index(None)
            for outcome in OUTCOMES:
                later = (*upstreams[:place], outcome, *upstreams[place + 1 :])
                assert rule(tally_of(later)) is said


def test_the_rules_are_those_of_the_public_list_and_each_has_a_function():
    assert set(RULES) == set(TriggerRule)
    assert set(DEFINITIONS) == {rule.value for rule in TriggerRule}
    assert len(set(RULES.values())) == len(RULES)


def test_a_tally_knows_how_many_ended():
    tally = Tally(5, successful=1, failed=1, skipped=1, cancelled=1)
    assert (tally.done, tally.all_done) == (4, False)
    tally.failed += 1
    assert tally.all_done


def test_a_rule_is_found_by_member_wire_name_or_is_a_function_itself():
    def mine(tally):
        return Verdict.RUN

    assert rule_function(TriggerRule.ALL_DONE) is rule_function("allDone")
    assert rule_function(mine) is mine
    assert (rule_name(TriggerRule.ALL_DONE), rule_name("allDone"), rule_name(mine)) == ("allDone", "allDone", "mine")


def test_a_callable_object_is_named_after_its_class():
    class AtLeast:
        def __call__(self, tally):
            return Verdict.RUN

    assert rule_name(AtLeast()) == "AtLeast"


@pytest.mark.parametrize("name", ["alldone", "ALL_DONE", "", "all done"])
def test_an_unknown_rule_is_refused_with_the_list_of_rules(name):
    with pytest.raises(DefinitionError) as caught:
        rule_function(name)
    assert str(caught.value) == f"unknown trigger rule {name!r}; the rules are {', '.join(DEFINITIONS)}"


@pytest.mark.parametrize("thing", [None, 5, Tally(1)])
def test_a_rule_is_a_name_or_a_function(thing):
    with pytest.raises(DefinitionError, match=r"^a trigger rule is a name or a function of a Tally, got "):
        rule_function(thing)
