"""What is accounted for, whatever the clock does: nothing twice, and no schedule silenced for longer than it has to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.core.timeline import Timeline

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(seconds):
    return START + seconds * SECOND


def every_second(instant):
    return instant.replace(microsecond=0) + SECOND


def begun():
    timeline = Timeline()
    timeline.begin(START)
    return timeline


def test_the_cursor_never_goes_back():
    timeline = begun()
    timeline.account(at(5))
    timeline.account(at(3))
    timeline.begin(at(2))
    timeline.pass_over(at(1), at(4))
    assert timeline.cursor == at(5)
    assert timeline.position(at(100)) == at(5)


def test_what_has_run_is_not_free_and_what_was_passed_over_is():
    timeline = begun()
    timeline.account(at(1))
    timeline.pass_over(at(2), at(100))
    timeline.account(at(101))
    assert not timeline.is_free(at(1))
    assert timeline.is_free(at(2))
    assert timeline.is_free(at(100))
    assert not timeline.is_free(at(101))
    assert timeline.next_free(every_second, at(1)) == at(2)
    timeline.account(at(50))
    assert not timeline.is_free(at(49)), "what was due before a run was seen to"
    assert timeline.next_free(every_second, at(50)) == at(51)
    timeline.account(at(100))
    assert timeline.next_free(every_second, at(100)) == at(102)


def test_a_clock_set_back_before_the_first_run_finds_everything_free():
    timeline = begun()
    timeline.account(at(1))
    assert timeline.is_free(at(-1_000_000))
    timeline.begin(at(-1_000_000))
    assert timeline.next_free(every_second, at(-1_000_000)) == at(-999_999)


def test_the_past_of_a_pause_is_free_but_owed_to_nobody():
    timeline = begun()
    timeline.account(at(1))
    timeline.begin(at(1000))
    assert timeline.position(at(1000)) == at(1000)
    assert timeline.is_free(at(500))


ops = st.one_of(
    st.tuples(st.just("tick"), st.integers(1, 5)),
    st.tuples(st.just("away"), st.integers(1, 200)),
    st.tuples(st.just("step"), st.integers(-300, 300)),
)


@given(st.lists(ops, max_size=60))
def test_no_instant_runs_twice_and_a_clock_in_free_time_runs_at_once(tape):
    """A schedule of every second, watched the way the scheduler does, against a set of what has run."""
    timeline = begun()
    ran: set[datetime] = set()
    highest = now = START
    for what, number in tape:
        if what == "step":
            now = at((now - START).total_seconds() + number)
            if now < timeline.cursor and timeline.is_free(now):
                timeline.begin(now)
        for _ in range(number if what == "tick" else 1):
            now += number * SECOND if what == "away" else SECOND
            due = timeline.next_free(every_second, now)
            first, last = due, None
            while due is not None and due <= now and timeline.is_free(due):
                last, due = due, every_second(due)
            if last is None:
                continue
            if first < last:
                timeline.pass_over(first, last - SECOND)
            assert timeline.is_free(last)
            assert last not in ran
            ran.add(last)
            timeline.account(last)
            highest = max(highest, last)
            assert timeline.cursor == highest
        assert all(a[0] < a[1] <= b[0] for a, b in pairwise([*timeline.gaps, (highest, at(10**6))]))
        assert not any(timeline.is_free(instant) for instant in ran)


def test_gaps_are_bounded_and_the_longest_are_kept():
    timeline = begun()
    for number in range(100):
        timeline.pass_over(at(10 * number + 1), at(10 * number + 3 + number % 5))
        timeline.account(at(10 * number + 9))
    assert len(timeline.gaps) == 32
    assert timeline.is_free(at(-1))
