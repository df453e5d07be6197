"""`next`, `simulate` and `check --diff` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from goflow_trio.cli import cli, forecasting
from goflow_trio.errors import UsageError

OLD = """
from goflow_trio import Job
nightly = Job("nightly", schedule="30 2 * * *", timezone="Europe/Berlin")
hourly = Job("hourly", schedule="30 */6 * * *")
gone = Job("gone", schedule="@yearly")
by_hand = Job("by-hand")
"""
BUSY = """
each_second = Job("each-second", schedule="* * * * * *")
"""
NEW = OLD.replace("30 2 * * *", "30 3 * * *").replace('gone = Job("gone", schedule="@yearly")\n', "")


@pytest.fixture
def targets(tmp_path):
    (tmp_path / "old_jobs.py").write_text(OLD)
    (tmp_path / "new_jobs.py").write_text(NEW)
    return str(tmp_path / "old_jobs.py"), str(tmp_path / "new_jobs.py")


def typed(*arguments):
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False, standalone_mode=False)
    return done.output


def test_next_in_plain_english_with_local_time_utc_and_the_note(targets):
    lines = typed("next", targets[0], "--job", "nightly", "-n", "2", "--from", "2026-03-28T12:00Z").splitlines()
    assert lines == [
        "nightly: schedule 30 2 * * * (Europe/Berlin), not active: At 02:30 (Europe/Berlin)",
        "  2026-03-29 03:00:00 +0200 Europe/Berlin  2026-03-29T01:00:00Z  (clocks go forward 02:00→03:00 that day)",
        "  2026-03-30 02:30:00 +0200 Europe/Berlin  2026-03-30T00:30:00Z",
    ]


def test_next_as_json(targets):
    (job,) = json.loads(
        typed("next", targets[0], "--job", "nightly", "-n", "1", "--from", "2026-03-28T12:00Z", "--json")
    )
    assert job["description"] == "At 02:30 (Europe/Berlin)"
    assert job["next"] == [
        {
            "utc": "2026-03-29T01:00:00Z",
            "local": "2026-03-29T03:00:00+02:00",
            "note": "clocks go forward 02:00→03:00 that day",
        }
    ]


def test_simulate_lists_every_run_with_collisions_and_gaps(targets):
    span = ("--from", "2026-03-28T00:00Z", "--until", "2026-03-31T00:00Z")
    lines = typed("simulate", targets[0], *span).splitlines()
    assert lines[0] == "2026-03-28 00:30:00 +0000 UTC  2026-03-28T00:30:00Z  hourly"
    assert len([line for line in lines if line.startswith("2026-")]) == 14
    assert "2026-03-30 00:30:00 +0000 UTC  2026-03-30T00:30:00Z  hourly, nightly" in lines
    assert lines[-5:] == [
        "nightly: 3 runs, longest gap 23:30:00 after 2026-03-28 01:30:00 +0000 UTC  2026-03-28T01:30:00Z",
        "hourly: 12 runs, longest gap 6:00:00 after 2026-03-28 00:30:00 +0000 UTC  2026-03-28T00:30:00Z",
        "gone: 0 runs",
        "1 collision:",
        "  1 times hourly and nightly, the first at 2026-03-30 00:30:00 +0000 UTC  2026-03-30T00:30:00Z",
    ]


def test_simulate_a_year_as_json(targets):
    found = json.loads(typed("simulate", targets[0], "--from", "2026-01-01", "--until", "2027-01-01", "--json"))
    assert found["jobs"]["nightly"]["runs"] == 365
    assert found["jobs"]["gone"] == {"runs": 1, "longest_gap_seconds": None, "longest_gap_after": None}
    assert found["jobs"]["nightly"]["longest_gap_seconds"] == 25 * 3600
    assert len(found["runs"]) == sum(job["runs"] for job in found["jobs"].values()) - sum(
        collision["times"] for collision in found["collisions"]
    )


def test_check_diff_says_what_appears_and_vanishes(targets):
    for target in targets:
        Path(target).write_text(Path(target).read_text() + BUSY)
    lines = typed("check", "--diff", *targets).splitlines()
    assert lines[0].startswith("nightly: 36")
    assert " appear, 36" in lines[0]
    assert "  - At 02:30 (Europe/Berlin)" in lines
    assert "  + At 03:30 (Europe/Berlin)" in lines
    assert "hourly: no change" in lines
    assert "each-second: no change" in lines
    assert any(line.startswith("gone: 0 appear, 1 vanish, 0 stay until 20") for line in lines)
    changes = json.loads(typed("check", "--diff", *targets, "--json"))
    assert len(changes["gone"]["vanish"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "{}", "--from", "soon"), "--from 'soon': write an instant"),
        (("simulate", "{}", "--from", "2026-01-02", "--until", "2026-01-01"), "is not after --from"),
        (("simulate", "{}", "--job", "nothing"), "no job with a schedule named 'nothing'"),
        (("check", "--diff", "{}"), "check takes one target, and with --diff two"),
    ],
)
def test_wrong_use_is_named(arguments, words, targets):
    with pytest.raises(UsageError, match=words):
        typed(*(argument.format(targets[0]) for argument in arguments))


def test_a_schedule_of_every_second_is_looked_at_in_bounds(targets, monkeypatch, capsys):
    monkeypatch.setattr(forecasting, "_MOST_RUNS", 1000)
    monkeypatch.setattr(forecasting, "_MOST_COMPARED", 1000)
    for target, spec in zip(targets, ("* * * * * *", "*/2 * * * * *"), strict=True):
        Path(target).write_text(Path(target).read_text() + BUSY.replace("* * * * * *", spec))
    lines = typed("simulate", targets[0], "--job", "each-second", "--summary").splitlines()
    assert any(line.startswith("each-second: 1,000 runs") for line in lines)
    lines = typed("check", "--diff", *targets).splitlines()
    assert any(line.startswith("each-second: 0 appear, 500 vanish, 500 stay until") for line in lines)
