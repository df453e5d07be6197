"""The fixtures, as a user's test would have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from goflow_trio import Job, State

pytest_plugins = ["goflow_trio.testing.pytest_plugin"]

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_both_fixtures(simulate, run_job):
    job = Job("daily", schedule="@daily")
    assert run_job(job).state is State.SUCCESSFUL
    assert len(simulate(job, START, START + timedelta(days=7)).runs("daily")) == 7
