"""What texts mean, and what a refusal says. Days are checked against the calendar module, not against croniter."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from goflow_trio.errors import ScheduleError
from goflow_trio.schedules import Cron, Every, Schedule, parse_schedule, upcoming
from goflow_trio.schedules.interval import read_duration
from tests.schedules.oracle import matcher

# A Thursday.
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def due(spec: str, n: int = 3, after: datetime = NEW_YEAR, **options: str) -> list[str]:
    schedule = parse_schedule(spec, **options)  # type: ignore[arg-type]
    assert isinstance(schedule, Schedule)
    return [f"{instant:%y-%m-%d %H:%M:%S}" for instant in upcoming(schedule, after, n)]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("* * * * *", ["26-01-01 00:01:00", "26-01-01 00:02:00"]),
        ("*/20 * * * *", ["26-01-01 00:20:00", "26-01-01 00:40:00", "26-01-01 01:00:00"]),
        ("10/25 * * * *", ["26-01-01 00:10:00", "26-01-01 00:35:00", "26-01-01 01:10:00"]),
        ("59/15 * * * *", ["26-01-01 00:59:00", "26-01-01 01:59:00"]),
        ("0 9-11 * * *", ["26-01-01 09:00:00", "26-01-01 10:00:00", "26-01-01 11:00:00", "26-01-02 09:00:00"]),
        ("0 8-12/2 * * *", ["26-01-01 08:00:00", "26-01-01 10:00:00", "26-01-01 12:00:00"]),
        ("0 9-9 * * *", ["26-01-01 09:00:00", "26-01-02 09:00:00"]),
        ("0 9-9/5 * * *", ["26-01-01 09:00:00", "26-01-02 09:00:00"]),
        ("*/60 * * * *", ["26-01-01 01:00:00", "26-01-01 02:00:00"]),
        ("5,1 0 * * *", ["26-01-01 00:01:00", "26-01-01 00:05:00", "26-01-02 00:01:00"]),
        ("05 03 * * *", ["26-01-01 03:05:00"]),
        ("  0\t3  * * * ", ["26-01-01 03:00:00"]),
        # seconds come first
        ("*/15 * * * * *", ["26-01-01 00:00:15", "26-01-01 00:00:30", "26-01-01 00:00:45", "26-01-01 00:01:00"]),
        ("30 0 12 * * *", ["26-01-01 12:00:30", "26-01-02 12:00:30"]),
        ("0 0 0 1 1 *", ["27-01-01 00:00:00"]),
        # days
        ("0 0 1 * *", ["26-02-01 00:00:00", "26-03-01 00:00:00"]),
        ("0 0 31 * *", ["26-01-31 00:00:00", "26-03-31 00:00:00", "26-05-31 00:00:00"]),
        ("0 0 1 feb,DEC *", ["26-02-01 00:00:00", "26-12-01 00:00:00"]),
        ("0 0 * * mon", ["26-01-05 00:00:00", "26-01-12 00:00:00"]),
        ("0 0 * * Mon-Wed", ["26-01-05 00:00:00", "26-01-06 00:00:00", "26-01-07 00:00:00", "26-01-12 00:00:00"]),
        ("0 0 * * 0", ["26-01-04 00:00:00", "26-01-11 00:00:00"]),
        ("0 0 * * 7", ["26-01-04 00:00:00", "26-01-11 00:00:00"]),
        ("0 0 * * 7-1", ["26-01-04 00:00:00", "26-01-05 00:00:00", "26-01-11 00:00:00"]),
        ("0 0 * * fri-sun", ["26-01-02 00:00:00", "26-01-03 00:00:00", "26-01-04 00:00:00", "26-01-09 00:00:00"]),
        ("0 0 * * 5-7/2", ["26-01-02 00:00:00", "26-01-04 00:00:00", "26-01-09 00:00:00"]),
        ("0 0 * * 1-1", ["26-01-05 00:00:00", "26-01-12 00:00:00"]),
        ("0 0 ? * 1", ["26-01-05 00:00:00", "26-01-12 00:00:00"]),
        ("? 5 1 * ?", ["26-01-01 05:00:00", "26-01-01 05:01:00"]),
        ("0 0 1 * *\N{NO-BREAK SPACE}", ["26-02-01 00:00:00"]),
        # both day fields: either; `*` and `*/1` are no restriction, `*/2` is
        ("0 0 13 * 5", ["26-01-02 00:00:00", "26-01-09 00:00:00", "26-01-13 00:00:00", "26-01-16 00:00:00"]),
        ("0 0 */1 * 1", ["26-01-05 00:00:00", "26-01-12 00:00:00"]),
        ("0 0 */15 * 1", ["26-01-05 00:00:00", "26-01-12 00:00:00", "26-01-16 00:00:00", "26-01-19 00:00:00"]),
        ("0 0 1-31 * 1", ["26-01-02 00:00:00", "26-01-03 00:00:00"]),
        # day words
        ("0 0 L * *", ["26-01-31 00:00:00", "26-02-28 00:00:00", "26-03-31 00:00:00"]),
        ("0 0 1,L * *", ["26-01-31 00:00:00", "26-02-01 00:00:00", "26-02-28 00:00:00"]),
        ("0 0 * * L5", ["26-01-30 00:00:00", "26-02-27 00:00:00"]),
        ("0 0 * * fri#2", ["26-01-09 00:00:00", "26-02-13 00:00:00"]),
        ("0 0 * * 5#5", ["26-01-30 00:00:00", "26-05-29 00:00:00"]),
        ("0 0 15W * *", ["26-01-15 00:00:00", "26-02-16 00:00:00", "26-03-16 00:00:00"]),
        # leap days, across a century that has none
        ("0 0 29 2 *", ["28-02-29 00:00:00", "32-02-29 00:00:00"]),
        # descriptors
        ("@hourly", ["26-01-01 01:00:00", "26-01-01 02:00:00"]),
        ("@daily", ["26-01-02 00:00:00", "26-01-03 00:00:00"]),
        ("@midnight", ["26-01-02 00:00:00", "26-01-03 00:00:00"]),
        ("@weekly", ["26-01-04 00:00:00", "26-01-11 00:00:00"]),
        ("@monthly", ["26-02-01 00:00:00", "26-03-01 00:00:00"]),
        ("@yearly", ["27-01-01 00:00:00", "28-01-01 00:00:00"]),
        ("@annually", ["27-01-01 00:00:00", "28-01-01 00:00:00"]),
        # intervals
        ("@every 90s", ["26-01-01 00:01:30", "26-01-01 00:03:00"]),
        ("@every 1h30m", ["26-01-01 01:30:00", "26-01-01 03:00:00"]),
        ("@every  1.5h", ["26-01-01 01:30:00", "26-01-01 03:00:00"]),
        ("@every 1000ms", ["26-01-01 00:00:01", "26-01-01 00:00:02"]),
        # zones in the text
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", ["26-01-02 00:00:00", "26-01-03 00:00:00"]),
        ("TZ=America/New_York @daily", ["26-01-01 05:00:00", "26-01-02 05:00:00"]),
        ("TZ=Asia/Tokyo @every 1h", ["26-01-01 01:00:00"]),
    ],
)
def test_text(spec: str, wanted: list[str]) -> None:
    assert due(spec, len(wanted)) == wanted


def test_the_zone_of_the_text_goes_before_the_job_s() -> None:
    assert due("TZ=UTC 0 9 * * *", 1, timezone="Asia/Tokyo") == ["26-01-01 09:00:00"]
    assert due("0 9 * * *", 1, timezone="Asia/Tokyo") == ["26-01-02 00:00:00"]


def test_leap_day_is_found_across_2100() -> None:
    assert due("0 0 29 2 *", 2, datetime(2095, 1, 1, tzinfo=UTC)) == ["96-02-29 00:00:00", "04-02-29 00:00:00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_the_calendar_s_longest_wait_is_found(zone: str) -> None:
    """A fifth Monday in February is its 29th: every 28 years, and 40 across 2100."""
    found = due("0 12 * 2 1#5", 2, datetime(2073, 1, 1, tzinfo=UTC), timezone=zone)
    wanted = [year for year in range(2073, 2150) if calendar.isleap(year) and calendar.weekday(year, 2, 1) == 0]
    assert [line[:8] for line in found] == [f"{year % 100:02}-02-29" for year in wanted[:2]]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "empty"),
        ("TZ=UTC", "empty"),
        ("* * *", "3 fields found; write 5"),
        ("not a cron", "3 fields found"),
        ("0 0 0 1 1 * 2026", "7 fields found"),
        ("60 * * * *", "minute field '60': 60 is out of range; use 0 to 59"),
        ("* 24 * * *", "hour field '24': 24 is out of range; use 0 to 23"),
        ("60 * * * * *", "second field '60'"),
        ("* * 0 * *", "day-of-month field '0': 0 is out of range; use 1 to 31"),
        ("* * * 0 *", "month field '0'"),
        ("* * * 13 *", "month field '13': 13 is out of range; use 1 to 12"),
        ("* * * * 8", "day-of-week field '8': 8 is out of range; use 0 to 7"),
        ("* * * foo *", "month field 'foo': 'foo' is no month; use a number or jan, feb"),
        ("* * * * jan", "day-of-week field 'jan'"),
        ("1,,2 * * * *", "an item of the list is empty"),
        ("-5 * * * *", "minute field '-5': '-5' is negative"),
        ("*/0 * * * *", "minute field '*/0': a step of 0"),
        ("*/90 * * * *", "use @every, such as '@every 90m'"),
        ("* 22-2 * * *", "hour field '22-2': the range 22-2 runs backwards; write it as two: 22-23,0-2"),
        ("0 0 * * fri-mon", "fri-6,0-mon"),
        ("H * * * *", "by chance"),
        ("R(0-5) * * * *", "by chance"),
        ("L * * * *", "minute field 'L'"),
        ("* * * * L", "day-of-week field 'L'"),
        ("* * LW * *", "day-of-month field 'LW'"),
        ("* * * * 5#6", "day-of-week field '5#6'"),
        ("* * * * 5#0", "day-of-week field '5#0'"),
        ("* * * * 1,5#2", "day-of-week field '1,5#2'"),
        ("* * 40W * *", "day-of-month field '40W'"),
        ("* * 1,15W * *", "day-of-month field '1,15W'"),
        ("0 0 13 * 5#2", "cannot be combined with a day-of-month; write * there"),
        ("0 0 1W * 5", "cannot be combined with a day-of-week; write * there"),
        ("0 0 31 2 *", "no date ever matches"),
        ("0 0 30,31 feb *", "no date ever matches"),
        ("0 0 31 4,6,9,11 *", "no date ever matches"),
        ("0 0 1\N{NO-BREAK SPACE}* *", "plain ASCII"),
        ("\N{FULLWIDTH ASTERISK} * * * *", "plain ASCII"),
        ("@sometimes", "'@sometimes' is unknown; use @hourly"),
        ("@reboot", "'@reboot' is unknown"),
        ("@every", "not a duration"),
        ("@every 5", "'5' is not a duration"),
        ("@every 1d", "a day is 24h"),
        ("@every 500ms", "too short; use 1s or more"),
        ("@every 0s", "too short"),
        ("@every -5s", "not a duration"),
        ("@every 1.5s", "not in whole seconds"),
        ("@every 9999999h", "100 years"),
        ("TZ=Europe/Belrin 0 0 * * *", "time zone 'Europe/Belrin' is unknown; did you mean 'Europe/Berlin'?"),
        ("TZ=Europe 0 0 * * *", "time zone 'Europe' is unknown"),
        ("TZ=../UTC 0 0 * * *", "is unknown"),
        ("TZ= 0 0 * * *", "time zone '' is unknown"),
        ("0 " * 600, "too long"),
    ],
)
def test_refusal_names_the_text_the_reason_and_the_mend(spec: str, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(spec)
    assert words in str(caught.value)
    assert spec[:40] in str(caught.value) or not spec.isascii()
    assert str(caught.value).count("schedule '") == 1


def test_unknown_zone_and_mode_of_the_job() -> None:
    with pytest.raises(ScheduleError, match="time zone 'Mars/Base' is unknown; give an IANA name"):
        parse_schedule("* * * * *", timezone="Mars/Base")
    with pytest.raises(ScheduleError, match="dst 'skip' is unknown; use 'once' or 'reference'"):
        parse_schedule("* * * * *", dst="skip")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("1.5h", 5400), (".5m", 30), ("+1m", 60), ("2000000µs", 2)]
)
def test_durations_are_go_s(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


def test_kinds_and_their_words() -> None:
    cron = parse_schedule(" 0  3 * * * ", timezone="Europe/Berlin")
    assert isinstance(cron, Cron)
    assert str(cron) == "0 3 * * * (Europe/Berlin)"
    assert cron == parse_schedule("0 3 * * *", timezone="Europe/Berlin")
    assert cron != parse_schedule("0 3 * * *", timezone="Europe/Paris")
    every = parse_schedule("@every 90s")
    assert every == Every(90)
    assert str(every) == "every 90 s"


number = st.integers(0, 61).map(str)
item = st.one_of(
    st.sampled_from(["*", "?", "L", "15W", "5#2", "L5", "mon", "jan", "sun", "H", "R", "*/2", "", "é", "-"]),
    number,
    st.builds("{}-{}".format, number, number),
    st.builds("{}/{}".format, number, number),
    st.text("0123456789*/-,LW#?hrlw", max_size=6),
)
place = st.lists(item, min_size=1, max_size=3).map(",".join)


@given(st.lists(place, min_size=4, max_size=7).map(" ".join) | st.text(max_size=30))
@example("* * * * *#1")
@example("* * l-5 * *")
@example("0 0 * * mon-fri#2")
def test_any_text_is_read_or_refused(spec: str) -> None:
    """Nothing but a ScheduleError, and what is read is due some day, strictly later each time."""
    try:
        schedule = parse_schedule(spec, timezone="Europe/Berlin")
    except ScheduleError:
        return
    first, second = upcoming(schedule, NEW_YEAR, 2)
    assert NEW_YEAR < first < second
    assert first.tzinfo is UTC


def plain(low: int, high: int) -> st.SearchStrategy[str]:
    """Fields of numbers, ranges and steps, all of them right."""
    value = st.integers(low, high)
    ordered = st.lists(value, min_size=2, max_size=2).map(sorted)
    single = value.map(str) | ordered.map("{0[0]}-{0[1]}".format)
    stepped = st.builds("{}/{}".format, st.just("*") | single, st.integers(2, high - low + 1))
    return st.just("*") | st.lists(single | stepped, min_size=1, max_size=3).map(",".join)


@given(plain(1, 31), plain(1, 12), plain(0, 6), st.dates(date(1999, 1, 1), date(2101, 1, 1)))
def test_days_are_those_of_the_calendar(day: str, month: str, weekday: str, start: date) -> None:
    """Against the oracle's own matcher, day by day."""
    on = matcher(f"0 12 {day} {month} {weekday}")[1]
    days = (start + timedelta(days=ahead) for ahead in range(3000))
    wanted = list(islice((each for each in days if on(each)), 4))
    try:
        schedule = parse_schedule(f"0 12 {day} {month} {weekday}")
    except ScheduleError:
        assert not wanted
        return
    found = upcoming(schedule, datetime(start.year, start.month, start.day, tzinfo=UTC), len(wanted))
    assert [instant.date() for instant in found] == wanted


def test_nothing_after_the_end_of_time_and_nothing_before_the_epoch() -> None:
    daily = parse_schedule("@daily", timezone="Europe/Berlin")
    assert daily.next_after(datetime.max.replace(tzinfo=UTC)) is None
    assert daily.next_after(datetime.min.replace(tzinfo=UTC)) == datetime(1970, 1, 1, 23, tzinfo=UTC)
    assert parse_schedule("@every 1h").next_after(datetime.max.replace(tzinfo=UTC)) is None


def test_an_early_timer_finds_the_instant_and_a_punctual_one_the_next() -> None:
    minutely = parse_schedule("* * * * *")
    assert minutely.next_after(NEW_YEAR - timedelta(microseconds=1)) == NEW_YEAR
    assert minutely.next_after(NEW_YEAR) == NEW_YEAR + timedelta(minutes=1)
    assert minutely.next_after(NEW_YEAR + timedelta(microseconds=1)) == NEW_YEAR + timedelta(minutes=1)
