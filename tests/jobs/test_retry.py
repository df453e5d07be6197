"""Retry delays are bounded, deterministic functions of the attempt and a key."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.retry import ConstantDelay, ExponentialBackoff, RetryDelay

FAR = 10**6


@pytest.mark.parametrize("attempt", [1, 2, FAR])
@pytest.mark.parametrize("period", [0, 1, 2.5])
def test_a_constant_delay_is_its_period(attempt, period):
    assert ConstantDelay(period).seconds(attempt, "key") == period


def test_backoff_doubles_from_one_second_as_goflows_does():
    assert [ExponentialBackoff().seconds(attempt, "key") for attempt in range(1, 6)] == [1, 2, 4, 8, 16]


def test_backoff_takes_its_start_its_factor_and_its_cap():
    delay = ExponentialBackoff(initial=0.5, factor=3, maximum=10)
    assert [delay.seconds(attempt, "key") for attempt in range(1, 6)] == [0.5, 1.5, 4.5, 10, 10]


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (ExponentialBackoff(), 3600),
        (ExponentialBackoff(factor=2.5), 3600),
        (ExponentialBackoff(factor=10**9, maximum=60), 60),
        (ExponentialBackoff(factor=1), 1),
        (ExponentialBackoff(initial=0), 0),
        (ExponentialBackoff(initial=0, factor=2.5), 0),
        (ExponentialBackoff(maximum=0), 0),
    ],
)
@pytest.mark.parametrize("attempt", [FAR, 10**9])
def test_a_late_attempt_neither_overflows_nor_builds_huge_numbers(delay, seconds, attempt):
    assert delay.seconds(attempt, "key") == seconds


@given(
    shape=st.tuples(st.floats(0, 1e6), st.floats(1, 1e6), st.floats(0, 1e6)),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, FAR),
    key=st.text(st.characters(exclude_categories=("Cs",))),
)
def test_jitter_only_takes_off_its_part_and_is_the_same_for_the_same_key(shape, jitter, attempt, key):
    plain = ExponentialBackoff(*shape).seconds(attempt, key)
    jittered = ExponentialBackoff(*shape, jitter)
    wait = jittered.seconds(attempt, key)
    assert 0 <= plain <= shape[2]
    assert plain * (1 - jitter) * (1 - 1e-9) <= wait <= plain
    assert wait == jittered.seconds(attempt, key)


def test_jitter_spreads_evenly_over_the_keys():
    delay = ExponentialBackoff(initial=100, jitter=1)
    waits = sorted(delay.seconds(1, f"execution-{number}/task/1") for number in range(1000))
    assert waits[0] < 5
    assert waits[-1] > 95
    assert 40 < sum(waits) / len(waits) < 60


def test_delays_are_values_that_fit_the_protocol():
    assert ConstantDelay(1) == ConstantDelay(1)
    assert isinstance(ConstantDelay(1), RetryDelay)
    assert isinstance(ExponentialBackoff(), RetryDelay)


@pytest.mark.parametrize("period", [-1, math.nan, math.inf, "1", None, True])
def test_a_period_is_a_finite_number_from_0_on(period):
    with pytest.raises(DefinitionError, match=r"^ConstantDelay: period must be a number of 0 or more, got "):
        ConstantDelay(period)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial": -0.1}, "ExponentialBackoff: initial must be a number of 0 or more, got -0.1"),
        ({"initial": math.inf}, "ExponentialBackoff: initial must be a number of 0 or more, got inf"),
        ({"factor": 0.5}, "ExponentialBackoff: factor must be a number of 1 or more, got 0.5"),
        ({"factor": math.nan}, "ExponentialBackoff: factor must be a number of 1 or more, got nan"),
        ({"maximum": -1}, "ExponentialBackoff: maximum must be a number of 0 or more, got -1"),
        ({"maximum": math.inf}, "ExponentialBackoff: maximum must be a number of 0 or more, got inf"),
        ({"jitter": 1.1}, "ExponentialBackoff: jitter must be a number from 0 to 1, got 1.1"),
        ({"jitter": -0.1}, "ExponentialBackoff: jitter must be a number from 0 to 1, got -0.1"),
        ({"initial": "1"}, "ExponentialBackoff: initial must be a number of 0 or more, got '1'"),
    ],
)
def test_backoff_refuses_numbers_out_of_range(options, message):
    with pytest.raises(DefinitionError) as caught:
        ExponentialBackoff(**options)
    assert str(caught.value) == message
