"""Clock changes: hand-written tables for both modes, and the brute-force oracle for the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goflow_trio.schedules import Dst, dst_note, parse_schedule, upcoming
from tests.schedules import oracle


def local_day(spec: str, zone: str, day: str, dst: Dst, days: int = 1) -> str:
    """The local times, with offset, due from a local midnight on."""
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    end = start + timedelta(days=days)
    schedule = parse_schedule(spec, timezone=zone, dst=dst)
    found = []
    due = schedule.next_after(start.astimezone(UTC) - timedelta(microseconds=1))
    while due is not None and due < end.astimezone(UTC):
        local = due.astimezone(ZoneInfo(zone))
        found.append(f"{local:%H:%M}{local:%z}"[:8])
        due = schedule.next_after(due)
    return " ".join(found)


BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


@pytest.mark.parametrize(
    ("zone", "day", "spec", "once", "reference"),
    [
        # spring, Berlin: 02:00+01 -> 03:00+02
        (BERLIN, "2026-03-29", "30 2 * * *", "03:00+02", ""),
        (BERLIN, "2026-03-29", "0 2 * * *", "03:00+02", ""),
        (BERLIN, "2026-03-29", "59 1 * * *", "01:59+01", "01:59+01"),
        (BERLIN, "2026-03-29", "0 3 * * *", "03:00+02", "03:00+02"),
        (BERLIN, "2026-03-29", "0,30 2 * * *", "03:00+02", ""),
        (BERLIN, "2026-03-29", "0,30 2,3 * * *", "03:00+02 03:30+02", "03:00+02 03:30+02"),
        (BERLIN, "2026-03-29", "0 1-4 * * *", "01:00+01 03:00+02 04:00+02", "01:00+01 03:00+02 04:00+02"),
        (BERLIN, "2026-03-29", "0 1,2 * * *", "01:00+01 03:00+02", "01:00+01"),
        (BERLIN, "2026-03-29", "0 0-4/2 * * *", "00:00+01 03:00+02 04:00+02", "00:00+01 04:00+02"),
        (BERLIN, "2026-03-29", "15 */12 * * *", "00:15+01 12:15+02", "00:15+01 12:15+02"),
        (BERLIN, "2026-03-29", "*/30 1-3 * * *", "01:00+01 01:30+01 03:00+02 03:30+02", None),
        (BERLIN, "2026-03-29", "*/30 2 * * *", "", ""),
        (BERLIN, "2026-03-29", "0/30 2 * * *", "03:00+02", ""),
        (BERLIN, "2026-03-29", "30 2 29 3 *", "03:00+02", ""),
        (BERLIN, "2026-03-29", "30 2 * * 1-6", "", ""),
        (BERLIN, "2026-03-29", "*/20 30 2 * * *", "03:00+02", ""),
        # autumn, Berlin: 03:00+02 -> 02:00+01
        (BERLIN, "2026-10-25", "30 2 * * *", "02:30+02", "02:30+02 02:30+01"),
        (BERLIN, "2026-10-25", "0 2 * * *", "02:00+02", "02:00+02 02:00+01"),
        (BERLIN, "2026-10-25", "0 3 * * *", "03:00+01", "03:00+01"),
        (BERLIN, "2026-10-25", "0 1,2 * * *", "01:00+02 02:00+02", "01:00+02 02:00+02 02:00+01"),
        (BERLIN, "2026-10-25", "*/30 2 * * *", "02:00+02 02:30+02 02:00+01 02:30+01", None),
        (BERLIN, "2026-10-25", "0 */2 * * *", None, None),
        (BERLIN, "2026-10-25", "*/30 30 2 * * *", "02:30+02 02:30+02", "02:30+02 02:30+02 02:30+01 02:30+01"),
        # New York
        (NEW_YORK, "2026-03-08", "30 2 * * *", "03:00-04", ""),
        (NEW_YORK, "2026-11-01", "30 1 * * *", "01:30-04", "01:30-04 01:30-05"),
        # no midnight: 00:00-03 -> 01:00-02, and back 00:00-02 -> 23:00-03 the evening before
        ("America/Sao_Paulo", "2018-11-04", "0 0 * * *", "01:00-02", ""),
        ("America/Sao_Paulo", "2018-11-04", "0 0 * * 0", "01:00-02", ""),
        ("America/Sao_Paulo", "2018-11-04", "0 0 * * 6", "", ""),
        ("America/Sao_Paulo", "2018-11-04", "30 23 * * 6", "", ""),
        ("America/Sao_Paulo", "2018-02-17", "30 23 * * *", "23:30-02", "23:30-02 23:30-03"),
        ("America/Havana", "2024-03-10", "0 0 * * *", "01:00-04", ""),
        ("America/Havana", "2024-11-03", "0 0 * * *", "00:00-04", "00:00-04 00:00-05"),
        # half an hour: 02:00+1030 -> 02:30+11, back 02:00+11 -> 01:30+1030
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", "02:30+11", ""),
        ("Australia/Lord_Howe", "2026-10-04", "45 2 * * *", "02:45+11", "02:45+11"),
        ("Australia/Lord_Howe", "2026-10-04", "0 */12 * * *", "00:00+10 12:00+11", "00:00+10 12:00+11"),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", "01:45+11", "01:45+11 01:45+10"),
        # the day that Samoa skipped: 2011-12-30
        ("Pacific/Apia", "2011-12-31", "0 3 30 12 *", "00:00+14", ""),
        ("Pacific/Apia", "2011-12-31", "0 3 * * *", "00:00+14 03:00+14", "03:00+14"),
        ("Pacific/Apia", "2011-12-29", "0 3 * * *", "03:00-10", "03:00-10"),
        # two hours
        ("Antarctica/Troll", "2026-03-29", "30 1,2 * * *", "03:00+02", ""),
    ],
)
def test_change_days(zone: str, day: str, spec: str, once: str | None, reference: str | None) -> None:
    """None in the table: the same as the other mode, because the text is a wildcard one."""
    got_once, got_reference = (local_day(spec, zone, day, dst) for dst in ("once", "reference"))
    if once is not None:
        assert got_once == once
    assert got_reference == (got_once if reference is None else reference)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)])
@pytest.mark.parametrize("spec", ["0 * * * *", "@hourly", "0 0-23 * * *", "0 0 * * * *"])
def test_every_real_hour_has_one_run(day: str, hours: int, spec: str) -> None:
    assert len(local_day(spec, BERLIN, day, "once").split()) == hours


def test_a_fold_across_the_year_s_end_in_utc() -> None:
    """Samoa's neighbours changed around New Year; a second pass is remembered beyond the end of a year."""
    zone = "America/Argentina/San_Luis"  # 2008-01-21 00:00 -> 2008-01-20 23:00
    assert local_day("30 23 * * *", zone, "2008-01-20", "once") == "23:30-02"


def test_the_oracle_agrees_on_the_odd_zones() -> None:
    """Invariant of the schedule: fixed times once a local day, every other time as clocks show it."""
    sparse = [spec for spec in oracle.PATTERNS if len(oracle.matcher(spec)[0]) < 50]
    count, differences = oracle.compare(oracle.ZONES, range(2020, 2031), sparse)
    assert count > 15_000
    assert differences == []


def test_the_oracle_can_tell_the_modes_apart() -> None:
    """A judge that finds nothing has to be shown able to find something."""
    start = datetime(2026, 10, 24, 20, tzinfo=UTC)
    shown = oracle.Course(oracle.walls(ZoneInfo(BERLIN), start, start + timedelta(hours=8)))
    assert len(oracle.expected("30 2 * * *", "once", shown)) == 1
    assert len(oracle.expected("30 2 * * *", "reference", shown)) == 2
    assert len(oracle.expected("*/30 2 * * *", "once", shown)) == 4


hour = st.sampled_from(["*", "0", "1,2", "0-3", "*/7", "2/9", "23", "5-20/5", "0-23"])
minute = hour | st.sampled_from(["30", "59", "0-59", "15,45"])
second = st.sampled_from(["0", "*/20", "59", "7,8"])
change = st.sampled_from(
    [
        (BERLIN, "2026-03-29"),
        (BERLIN, "2026-10-25"),
        ("America/Sao_Paulo", "2018-11-04"),
        ("Australia/Lord_Howe", "2026-04-05"),
        ("Pacific/Apia", "2011-12-30"),
        ("America/Havana", "2024-11-03"),
    ]
)
modes: st.SearchStrategy[Dst] = st.sampled_from(["once", "reference"])


@settings(max_examples=60)
@given(st.tuples(second, minute, hour), change, modes, st.integers(0, 48 * 3600))
def test_instants_rise_and_do_not_depend_on_where_one_asks(
    fields: tuple[str, str, str], change: tuple[str, str], dst: Dst, seconds: int
) -> None:
    (second, minute, hour), (zone, day) = fields, change
    schedule = parse_schedule(f"{second} {minute} {hour} * * *", timezone=zone, dst=dst)
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=12)
    asked = start + timedelta(seconds=seconds)
    due = schedule.next_after(asked)
    assert due is not None
    assert due > asked
    # From a second before, the answer is the same or the asked instant itself; so nothing lies between.
    middle = asked + (due - asked) / 2
    assert schedule.next_after(middle) == due
    assert schedule.next_after(due - timedelta(microseconds=1)) == due
    following = upcoming(schedule, due, 20)
    assert all(a < b for a, b in pairwise([due, *following]))
    if dst == "reference":
        shown = due.astimezone(ZoneInfo(zone))
        assert shown.second in oracle.numbers(second, 0, 59)
        assert shown.minute in oracle.numbers(minute, 0, 59)
        assert shown.hour in oracle.numbers(hour, 0, 23)


@pytest.mark.parametrize(
    ("instant", "zone", "note"),
    [
        ("2026-03-29T01:00", BERLIN, "clocks go forward 02:00→03:00 that day"),
        ("2026-10-25T00:30", BERLIN, "first of two 02:30, clocks go back 03:00→02:00 that day"),
        ("2026-10-25T01:30", BERLIN, "second of two 02:30, clocks go back 03:00→02:00 that day"),
        ("2026-10-25T12:00", BERLIN, "clocks go back 03:00→02:00 that day"),
        ("2026-10-24T12:00", BERLIN, None),
        ("2026-07-01T12:00", BERLIN, None),
        ("2026-07-01T12:00", "UTC", None),
        ("2018-11-04T03:00", "America/Sao_Paulo", "clocks go forward 00:00→01:00 that day"),
        ("2011-12-30T10:00", "Pacific/Apia", "clocks go forward 2011-12-30 00:00→2011-12-31 00:00 that day"),
    ],
)
def test_note(instant: str, zone: str, note: str | None) -> None:
    assert dst_note(datetime.fromisoformat(instant).replace(tzinfo=UTC), zone) == note
