"""Schedules made of instants and of other schedules keep the promises of `Schedule`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goflow_trio.errors import ScheduleError, UsageError
from goflow_trio.schedules import AnyOf, At, Between, Every, Except, Jitter, Schedule, parse_schedule, upcoming

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DAILY = parse_schedule("0 3 * * *")


def test_every_counts_from_the_epoch_or_its_anchor() -> None:
    """So a restart does not move it."""
    assert upcoming(Every(7), NEW_YEAR, 2) == upcoming(Every(7), NEW_YEAR + timedelta(seconds=0.5), 2)
    assert all(due.timestamp() % 7 == 0 for due in upcoming(Every(7), NEW_YEAR, 5))
    anchored = Every(3600, anchor=NEW_YEAR + timedelta(minutes=5))
    assert anchored.next_after(NEW_YEAR) == NEW_YEAR + timedelta(minutes=5)
    assert anchored.next_after(NEW_YEAR + timedelta(minutes=5)) == NEW_YEAR + timedelta(minutes=65)


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 1.5, 10**12])
def test_every_refuses(seconds: float) -> None:
    with pytest.raises(ScheduleError, match="an interval of"):
        Every(seconds)  # type: ignore[arg-type]


def test_at() -> None:
    once = At(NEW_YEAR + HOUR, NEW_YEAR.astimezone(ZoneInfo("Asia/Tokyo")), NEW_YEAR)
    assert upcoming(once, NEW_YEAR - DAY, 9) == [NEW_YEAR, NEW_YEAR + HOUR]
    assert once.next_after(NEW_YEAR + HOUR) is None
    assert str(At(NEW_YEAR)) == "at 2026-01-01T00:00:00+00:00"
    with pytest.raises(ScheduleError, match="no instant"):
        At()


def test_naive_datetimes_are_refused_everywhere() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    for schedule in (DAILY, Every(5), At(NEW_YEAR), Between(DAILY), Jitter(DAILY, 5, "job")):
        with pytest.raises(UsageError, match="no time zone"):
            schedule.next_after(naive)
    with pytest.raises(UsageError):
        At(naive)


def test_any_of_names_each_instant_once() -> None:
    both = AnyOf(parse_schedule("0 */2 * * *"), parse_schedule("0 */3 * * *"), At(NEW_YEAR))
    assert [due.hour for due in upcoming(both, NEW_YEAR, 4)] == [2, 3, 4, 6]
    assert AnyOf(At(NEW_YEAR)).next_after(NEW_YEAR) is None
    assert str(AnyOf(Every(5), Every(7))) == "every 5 s or every 7 s"
    with pytest.raises(ScheduleError, match="no schedule"):
        AnyOf()


def test_except_dates_are_local() -> None:
    """Midnight to midnight in Tokyo is 15:00 to 15:00 in UTC."""
    seconds = Except(Every(1), dates=[date(2026, 1, 2)], zone="Asia/Tokyo")
    assert seconds.next_after(NEW_YEAR + 15 * HOUR - timedelta(seconds=1)) == NEW_YEAR + 39 * HOUR
    assert str(seconds) == "every 1 s except 1 date"


def test_except_when() -> None:
    weekend = Except(DAILY, when=lambda due: due.weekday() >= 5)
    assert [due.day for due in upcoming(weekend, NEW_YEAR, 4)] == [1, 2, 5, 6]
    assert Except(At(NEW_YEAR), when=lambda _: True).next_after(NEW_YEAR - DAY) is None
    with pytest.raises(ScheduleError, match="200,000 instants in a row"):
        Except(Every(1), when=lambda _: True).next_after(NEW_YEAR)


@pytest.mark.parametrize(
    ("zone", "day"), [("America/Havana", date(2024, 11, 3)), ("America/Sao_Paulo", date(2018, 11, 3))]
)
def test_except_on_days_that_change_clocks_at_midnight(zone: str, day: date) -> None:
    schedule = Except(Every(600), dates=[day], zone=zone)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - DAY
    wanted = [
        due
        for due in (start + timedelta(seconds=600) * step for step in range(1, 500))
        if due.astimezone(ZoneInfo(zone)).date() != day
    ]
    assert upcoming(schedule, start, len(wanted)) == wanted


def test_between_has_its_start_and_not_its_end() -> None:
    some = Between(Every(3600), NEW_YEAR, NEW_YEAR + 3 * HOUR)
    assert upcoming(some, NEW_YEAR - DAY, 9) == [NEW_YEAR, NEW_YEAR + HOUR, NEW_YEAR + 2 * HOUR]
    assert Between(DAILY).next_after(NEW_YEAR) == DAILY.next_after(NEW_YEAR)
    assert str(Between(Every(5), NEW_YEAR)) == "every 5 s from 2026-01-01T00:00:00+00:00"
    with pytest.raises(ScheduleError, match="is not after the start"):
        Between(DAILY, NEW_YEAR, NEW_YEAR)


JITTERED: list[Schedule] = [
    Every(1),
    Every(60),
    Every(86_400),
    DAILY,
    parse_schedule("*/5 0,1,30 0 * * *"),
    parse_schedule("0 0 1 * *"),
    At(NEW_YEAR, NEW_YEAR + timedelta(milliseconds=5), NEW_YEAR + DAY),
]


@settings(max_examples=80)
@given(st.sampled_from(JITTERED), st.integers(0, 4000), st.text(max_size=5), st.integers(0, 2 * 86_400))
def test_jitter_keeps_order_and_count(schedule: Schedule, seconds: int, key: str, later: int) -> None:
    """One moved instant for each, never early, never late by more than asked, whatever instant one asks from."""
    jitter = Jitter(schedule, seconds, key)
    start = NEW_YEAR - timedelta(seconds=1)
    nominal = upcoming(schedule, start, 30)
    moved = [due for due in upcoming(jitter, start - timedelta(seconds=seconds), 200) if due >= nominal[0]]
    moved = moved[: len(nominal)] if len(moved) > len(nominal) else moved
    assert all(a < b for a, b in pairwise(moved))
    asked = start + timedelta(seconds=later)
    following = jitter.next_after(asked)
    if following is not None:
        assert following > asked
        assert jitter.next_after(following - timedelta(microseconds=1)) == following
        assert jitter.next_after(asked + (following - asked) / 2) == following


def test_jitter_by_example() -> None:
    jitter = Jitter(DAILY, 600, "job")
    moved, nominal = upcoming(jitter, NEW_YEAR, 50), upcoming(DAILY, NEW_YEAR, 50)
    offsets = [(a - b).total_seconds() for a, b in zip(moved, nominal, strict=True)]
    assert all(0 <= offset <= 600 for offset in offsets)
    assert len(set(offsets)) > 30
    assert moved == upcoming(Jitter(DAILY, 600, "job"), NEW_YEAR, 50)
    assert moved != upcoming(Jitter(DAILY, 600, "other"), NEW_YEAR, 50)
    assert upcoming(Jitter(DAILY, 0, "job"), NEW_YEAR, 5) == nominal[:5]
    assert upcoming(Jitter(Every(1), 3600, "job"), NEW_YEAR, 5) == upcoming(Every(1), NEW_YEAR, 5)
    assert str(jitter) == "0 3 * * * (UTC), up to 600 s later"
    with pytest.raises(ScheduleError, match="a jitter of -1 s"):
        Jitter(DAILY, -1, "job")


def test_everything_is_a_schedule() -> None:
    for made in (DAILY, Every(5), At(NEW_YEAR), AnyOf(DAILY), Except(DAILY), Between(DAILY), Jitter(DAILY, 5, "job")):
        assert isinstance(made, Schedule)
        assert hash(made) == hash(made)
