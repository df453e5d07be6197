"""A job's schedule from its parts: several, exclusions, bounds; what can never be due is refused."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from goflow_trio import Job
from goflow_trio.errors import ScheduleError
from goflow_trio.schedules import At, Every, describe, read_calendar, upcoming

START = datetime(2026, 12, 22, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

HOLIDAYS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//
BEGIN:VEVENT
UID:1
SUMMARY:Christmas, every year, two days
DTSTART;VALUE=DATE:20201225
DTEND;VALUE=DATE:20201227
RRULE:FREQ=YEARLY
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Maintenance
DTSTART;TZID=Europe/Berlin:20261228T100000
DURATION:PT2H
END:VEVENT
BEGIN:VEVENT
UID:3
SUMMARY:A day without an end
DTSTART;VALUE=DATE:20261230
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")


@pytest.fixture
def holidays(tmp_path):
    path = tmp_path / "holidays.ics"
    path.write_text(HOLIDAYS)
    return path


def days(job, n):
    return [due.astimezone(BERLIN).day for due in upcoming(job.schedule, START, n)]


def test_several_schedules_are_one_and_an_instant_of_two_is_due_once():
    job = Job("j", schedule=["0 3 * * *", "0 */12 * * *", Every(86400), At(START + timedelta(hours=1))])
    assert [f"{due:%d %H}" for due in upcoming(job.schedule, START, 5)] == ["22 01", "22 03", "22 12", "23 00", "23 03"]
    assert job.schedule_texts[:2] == ("0 3 * * *", "0 */12 * * *")
    assert job.schedule_text.startswith("0 3 * * *; 0 */12 * * *; every 86400 s; at 2026")


def test_dates_are_local_ones():
    job = Job("j", schedule="30 0 * * *", timezone="Europe/Berlin", exclude=[date(2026, 12, 25), date(2026, 12, 27)])
    assert days(job, 5) == [23, 24, 26, 28, 29]


def test_a_calendar_file_leaves_out_its_days_and_times_every_year(holidays):
    job = Job("j", schedule="0 11 * * *", timezone="Europe/Berlin", exclude=[str(holidays)])
    assert days(job, 7) == [22, 23, 24, 27, 29, 31, 1]
    in_2030 = upcoming(job.schedule, datetime(2030, 12, 24, 12, tzinfo=UTC), 1)
    assert in_2030 == [datetime(2030, 12, 27, 10, tzinfo=UTC)]
    assert str(job.schedule) == "0 11 * * * (Europe/Berlin) except the calendar holidays.ics"


def test_a_busy_schedule_steps_over_an_event_at_once(holidays):
    job = Job("j", schedule="* * * * * *", exclude=[holidays])
    assert upcoming(job.schedule, datetime(2026, 12, 24, 23, 59, 59, tzinfo=UTC), 1) == [
        datetime(2026, 12, 27, tzinfo=UTC)
    ]
    assert upcoming(job.schedule, datetime(2026, 12, 28, 8, 59, 59, tzinfo=UTC), 1) == [
        datetime(2026, 12, 28, 11, tzinfo=UTC)
    ]


def test_a_function_leaves_out_what_it_says():
    def weekend(instant):
        return instant.isoweekday() > 5

    job = Job("j", schedule="@daily", exclude=[weekend])
    assert [due.day for due in upcoming(job.schedule, START, 4)] == [23, 24, 25, 28]
    assert str(job.schedule).endswith("except weekend")


def test_start_and_end_cut_and_jitter_comes_last():
    job = Job("j", schedule="@daily", start=START, end=START + timedelta(days=2), jitter=600)
    found = upcoming(job.schedule, START - timedelta(days=9), 9)
    assert len(found) == 2
    assert all(timedelta(0) <= due - START - timedelta(days=n) <= timedelta(minutes=10) for n, due in enumerate(found))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "0 0 31 2 *"}, "no date ever matches it"),
        ({"schedule": ["@daily", "0 0 30 2 *"]}, "schedule '0 0 30 2 *': no date ever matches it"),
        ({"schedule": "0 0 29 2 *", "start": START, "end": START + timedelta(days=60)}, "never due between these"),
        ({"schedule": 5}, "object with next_after"),
        ({"schedule": ["@daily", 5]}, "object with next_after"),
        ({"schedule": "@daily", "exclude": [5]}, "exclude takes dates"),
        ({"schedule": "@daily", "exclude": ["/nowhere.ics"]}, "calendar '/nowhere.ics' cannot be read: No such file"),
        ({"schedule": "@daily", "exclude": [__file__]}, "is not understood"),
    ],
)
def test_what_is_wrong_is_refused_with_the_job_and_the_mend(options, words):
    with pytest.raises(ScheduleError, match=r"job 'j':") as caught:
        Job("j", **options)
    assert words in str(caught.value)


def test_without_the_extra_the_mend_is_named(holidays, monkeypatch):
    monkeypatch.setitem(sys.modules, "icalendar", None)
    with pytest.raises(ScheduleError, match=r"pip install 'goflow-trio\[ics\]'"):
        read_calendar(holidays, zone=BERLIN)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "30 2 * * 1-5", "timezone": "Europe/Berlin"}, "At 02:30, Monday through Friday (Europe/Berlin)"),
        ({"schedule": "*/10 * * * * *"}, "Every 10 seconds (UTC)"),
        ({"schedule": "@monthly"}, "At 00:00, on day 1 of the month (UTC)"),
        ({"schedule": "0 0 L * *"}, "At 00:00, on the last day of the month (UTC)"),
        ({"schedule": "0 9 * * mon#2"}, "At 09:00, on the second Monday of the month (UTC)"),
        ({"schedule": "@every 90m"}, "Every 1:30:00 of real time"),
        ({"schedule": "@every 1s"}, "Every second"),
        ({"schedule": At(START)}, "Once at 2026-12-22 00:00:00 UTC"),
        ({"schedule": ["@daily", "@every 90s"]}, "At 00:00 (UTC); and Every 0:01:30 of real time"),
        ({"schedule": "@daily", "exclude": [date(2026, 1, 1)]}, "At 00:00 (UTC), except 1 date"),
        (
            {"schedule": "@daily", "start": START, "jitter": 60},
            "At 00:00 (UTC), from 2026-12-22 00:00 on, spread over 60 s",
        ),
    ],
)
def test_in_plain_english(options, words):
    assert describe(Job("j", **options).schedule) == words


def test_the_words_are_english_and_say_nothing_more_where_the_system_has_no_language(monkeypatch):
    monkeypatch.setattr("locale.getlocale", lambda *_: (None, None))  # as where LANG is C
    assert describe(Job("j", schedule="17 3 * * sat").schedule) == "At 03:17, only on Saturday (UTC)"
