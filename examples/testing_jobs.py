"""A job and its tests, in virtual time: `pytest examples/testing_jobs.py`. Explained in docs/testing.md."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import trio

from goflow_trio import Job, State, Task
from goflow_trio.testing import assert_no_leaks, run_job, simulate

BERLIN = ZoneInfo("Europe/Berlin")


def nightly() -> Job:
    job = Job("nightly", schedule="30 2 * * *", timezone="Europe/Berlin", overlap="skip", params={"day": "today"})
    job.add(Task("load", lambda context: f"loaded {context.params['day']}", retries=2))
    return job


def test_one_execution() -> None:
    with assert_no_leaks():
        record = run_job(nightly, {"day": "monday"})
    assert record.state is State.SUCCESSFUL
    assert record.results == {"load": "loaded monday"}


def test_the_weekend_on_which_clocks_go_forward() -> None:
    history = simulate(nightly, datetime(2026, 3, 28, tzinfo=BERLIN), datetime(2026, 3, 31, tzinfo=BERLIN))
    local = [instant.astimezone(BERLIN) for instant in history.instants("nightly")]
    assert [f"{instant:%d %H:%M}" for instant in local] == ["28 02:30", "29 03:00", "30 02:30"]


def test_a_run_that_takes_longer_than_a_day() -> None:
    async def slow() -> None:
        await trio.sleep(30 * 3600)

    start = datetime(2026, 5, 1, tzinfo=BERLIN)
    history = simulate(nightly, start, start.replace(day=8), operators={"load": slow})
    assert len(history.runs("nightly")) == 4
    assert [event.reason for event in history.missed("nightly")] == [
        "an earlier execution is still running; overlap=skip"
    ] * 3
