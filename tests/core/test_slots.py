"""Slots: never more than there are, in the order of priority and arrival, and none is ever lost."""

from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.core.slots import Claim, Slots, Standing

NEEDS = [{}, {"all": 1}, {"all": 1, "db": 1}, {"all": 1, "db": 2}, {"job": 1, "all": 1}, {"db": 3, "all": 1}]


def ask(slots, needs, priority=0, name="e"):
    claim = Claim((name, "t"), needs, priority)
    slots.ask(claim)
    return claim


def held(claims):
    return [claim.standing is Standing.HELD for claim in claims]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from(NEEDS), st.integers(0, 2)), max_size=60),
    st.integers(1, 4),
)
def test_never_more_than_there_are_and_none_is_lost(script, most):
    slots = Slots({"all": most, "db": 3, "job": 2})
    claims, told = [], []
    for asks, place, needs, priority in script:
        if asks:
            claim = Claim(("e", str(len(claims))), needs, priority)
            claim.tell = lambda claim=claim: told.append(claim)
            before = len(told)
            assert slots.ask(claim) is (claim.standing is Standing.HELD)
            assert len(told) == before  # who asks has the answer; and asking frees nothing
            claims.append(claim)
        elif claims:
            slots.release(claims[place % len(claims)])
        for name, capacity in slots.capacity.items():
            used = sum(claim.needs.get(name, 0) for claim in claims if claim.standing is Standing.HELD)
            assert used == slots.used[name] <= capacity
            assert sum(count for _, count in slots.holders(name)) == used
        waiting = [claim for claim in claims if claim.standing is Standing.WAITING]
        assert all(not slots._fits(claim) or set(slots.lacking(claim)) for claim in waiting)
        if waiting:  # whoever is first of all never waits for what there is
            first = min(waiting, key=lambda claim: (-claim.priority, claims.index(claim)))
            assert not slots._fits(first)
    assert len(set(map(id, told))) == len(told)
    for claim in claims:
        slots.release(claim)
        slots.release(claim)
    assert set(slots.used.values()) == {0}
    assert not slots._lanes


def test_first_come_first_served():
    slots = Slots({"all": 2})
    claims = [ask(slots, {"all": 1}) for _ in range(5)]
    assert held(claims) == [True, True, False, False, False]
    slots.release(claims[1])
    assert held(claims) == [True, False, True, False, False]
    slots.release(claims[3])  # gives up
    slots.release(claims[0])
    assert held(claims) == [False, False, True, False, True]


def test_priority_goes_before_arrival():
    slots = Slots({"all": 1})
    claims = [ask(slots, {"all": 1}, priority) for priority in (0, 0, 5)]
    slots.release(claims[0])
    assert held(claims) == [False, False, True]


def test_who_waits_for_a_full_pool_is_in_nobodys_way():
    slots = Slots({"all": 3, "db": 1})
    claims = [ask(slots, needs) for needs in ({"all": 1, "db": 1}, {"all": 1, "db": 1}, {"all": 1})]
    assert held(claims) == [True, False, True]
    assert slots.lacking(claims[1]) == ["db"]
    assert slots.holders("db") == [(("e", "t"), 1)]


def test_a_large_claim_is_not_overtaken_for_ever():
    slots = Slots({"db": 3})
    small = [ask(slots, {"db": 1}) for _ in range(3)]
    large = ask(slots, {"db": 3})
    late = ask(slots, {"db": 1})
    for claim in small[:2]:
        slots.release(claim)
    assert held([large, late]) == [False, False]
    slots.release(small[2])
    assert held([large, late]) == [True, False]
    slots.release(large)
    assert held([late]) == [True]


def test_what_had_its_place_before_takes_it_and_others_wait():
    slots = Slots({"all": 1})
    first, second = Claim(("a", ""), {"all": 1}), Claim(("b", ""), {"all": 1})
    assert slots.take(first)
    assert slots.take(second)
    third = ask(slots, {"all": 1})
    slots.release(first)
    assert held([third]) == [False]
    slots.release(second)
    assert held([third]) == [True]
