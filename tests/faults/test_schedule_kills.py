"""Real processes: killed with SIGKILL, stopped for months, and with a clock that is set. What ran is read from outside.

The short kinds run always; the long ones with `pytest -m slow tests/faults/test_schedule_kills.py`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from goflow_trio import open_engine
from goflow_trio.actors.environment import Environment
from tests.faults.scheduled import jobs
from tests.patience import SOON

SECOND = timedelta(seconds=1)
CLOSE = timedelta(minutes=5)
SPEC = "* * * * * *"


@contextlib.contextmanager
def server(database, log, count, spec, **environment):
    """Run the program; it is killed when the block ends."""
    command = [sys.executable, "-m", "tests.faults.scheduled", str(database), str(log), str(count), spec]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def lines(log):
    """What ran: job, instant, wall clock, seconds."""
    found = []
    for line in log.read_text().split("\n")[:-1]:  # the last one may be half there
        job, instant, now, seconds = line.split()
        found.append((job, datetime.fromisoformat(instant), datetime.fromisoformat(now), float(seconds)))
    return found


async def history(database):
    """The submitted and the missed instants of each job, after everything was stopped."""
    async with open_engine(f"sqlite:///{database}") as engine:
        log, after = [], 0
        while batch := await engine.store.read_log(after, 5_000):
            log += batch
            after = batch[-1].seq
    submitted = [(e.job, e.scheduled_for) for e in log if e.type == "execution.submitted"]
    missed = [e for e in log if e.type == "schedule.missed"]
    begun = {e.job: e.at for e in log if e.type == "schedule.started"}
    return submitted, missed, begun


def match(database, log, end):
    """Match every instant before `end` to one execution or one record that it was missed; return the numbers."""
    submitted, missed, begun = trio.run(history, database)
    assert max(Counter(submitted).values()) == 1, "an instant has two executions"
    runs = Counter((job, instant) for job, instant, _, _ in lines(log))
    assert max(runs.values()) == 1, "an instant has run twice"
    assert set(runs) <= set(submitted), "what ran is recorded"
    counts = Counter()
    known = set(submitted)
    for job, start in begun.items():
        instant = start.replace(microsecond=0) + SECOND
        while instant < end:
            as_missed = [e for e in missed if e.job == job and e.first <= instant <= e.last]
            assert ((job, instant) in known) + len(as_missed) == 1, (job, instant, as_missed)
            counts["missed" if as_missed else "run"] += 1
            instant += SECOND
    return counts


def kill_again_and_again(tmp_path, count, seconds, kills, seed):
    database, log = tmp_path / "g.db", tmp_path / "log"
    chance = random.Random(seed)
    begun = time.monotonic()
    for number in range(1, kills + 1):
        with server(database, log, count, SPEC) as process:
            wait_until_all_ran(log, count, datetime.now(UTC))
            time.sleep(max(chance.random(), begun + seconds * number / kills - time.monotonic()))
            process.send_signal(signal.SIGKILL)
            process.wait()
    killed = datetime.now(UTC)
    with server(database, log, count, SPEC):  # what was due before is accounted for once a later instant has run
        wait_until_all_ran(log, count, killed + SECOND)
    return match(database, log, killed)


def wait_until_all_ran(log, count, since):
    """Wait until each job has run an instant after this one."""
    patience = time.monotonic() + SOON
    while len({job for job, instant, _, _ in lines(log) if instant > since}) < count:
        assert time.monotonic() < patience, lines(log)
        time.sleep(0.02)


def test_killed_in_the_middle_each_instant_is_run_once_or_recorded(tmp_path):
    counts = kill_again_and_again(tmp_path, count=5, seconds=5, kills=3, seed=1)
    assert counts["run"] >= 3 * 5, "each job once in each life"


@pytest.mark.slow
def test_twenty_jobs_each_second_for_a_minute_with_ten_kills(tmp_path):
    counts = kill_again_and_again(tmp_path, count=20, seconds=60, kills=10, seed=time.time_ns())
    told = f"{counts['run']} instants run once, {counts['missed']} recorded as missed, none twice"
    print(f"\n20 jobs, 60 s, 10 kills: {told}")
    assert counts["run"] > 400


@pytest.mark.parametrize("away", [timedelta(hours=10), timedelta(days=400)], ids=["10 hours", "400 days"])
@pytest.mark.parametrize("spec", ["* * * * * *", "*/5 * * * *", "@daily"])
def test_stopped_for_long_it_starts_at_once_and_makes_one_run_up_for_each_job(away, spec, tmp_path):
    if spec == "@daily" and away < timedelta(days=1):
        away = timedelta(days=1, hours=10)
    database, log = tmp_path / "g.db", tmp_path / "log"
    now = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)

    def world(moment):
        begun = time.monotonic()
        return Environment(
            now=lambda: moment + timedelta(seconds=time.monotonic() - begun), random_bits=random.getrandbits
        )

    async def live(moment, expected):
        async with open_engine(f"sqlite:///{database}", jobs=jobs(str(log), 20, spec), environment=world(moment)):
            with trio.fail_after(SOON):
                while len({job for job, _, _, _ in lines(log)}) < expected:  # noqa: ASYNC110  # a file tells
                    await trio.sleep(0.01)

    trio.run(live, now, 0)
    trio.run(live, now + away, 20)
    ran = lines(log)
    assert {job for job, _, _, _ in ran} == {f"job-{number:02d}" for number in range(20)}
    late = Counter(job for job, instant, _, _ in ran if instant <= now + away)
    assert max(late.values(), default=1) == 1, "one run made up for, not thousands"
    _, missed, _ = trio.run(history, database)
    passed = [event for event in missed if event.count > 1 and event.first <= now + away]
    assert len(passed) == 20 if spec != "@daily" or away.days > 2 else not passed
    assert all(event.cause == "misfire" and event.last - event.first > away / 2 for event in passed)


FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime: apt-get install faketime")
@pytest.mark.parametrize(
    "steps",
    [("+1h", "-1h"), ("-1h", "+1h"), ("+1y", "-1y"), ("-1y", "+1y"), ("+1h", "+1y", "-1y", "-1h")],
    ids=" ".join,
)
def test_a_real_clock_that_is_set_under_load(steps, tmp_path):
    """Nothing twice, no negative time, firing again within 2 s, never before its instant."""
    database, log, rc = tmp_path / "g.db", tmp_path / "log", tmp_path / "faketime"
    sizes = {"h": timedelta(hours=1), "y": timedelta(days=365)}
    offset = timedelta(0)

    def set_clock():
        rc.with_suffix(".new").write_text(f"{offset.total_seconds():+.0f}\n")
        rc.with_suffix(".new").rename(rc)

    set_clock()
    environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(rc),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    reactions = []
    with server(database, log, 20, "* * * * * *", **environment):
        time.sleep(3)
        for step in steps:
            offset += sizes[step[-1]] * (1 if step[0] == "+" else -1)
            set_clock()
            stepped = time.monotonic()
            while not any(abs(now - datetime.now(UTC) - offset) < CLOSE for _, _, now, _ in lines(log)[-5:]):
                assert time.monotonic() - stepped < 10, f"silent for 10 s after {step}"
                time.sleep(0.02)
            reactions.append(time.monotonic() - stepped)
            time.sleep(3)
    ran = lines(log)
    assert max(Counter((job, instant) for job, instant, _, _ in ran).values()) == 1, "an instant has run twice"
    assert all(seconds > 0 for _, _, _, seconds in ran)
    # Between the submit and the run the clock may have been set back; by less than five minutes it never was.
    early = [instant - now for _, instant, now, _ in ran if timedelta(0) < instant - now < CLOSE]
    assert not early, "never before its instant"
    print(f"\nsteps {' '.join(steps)}: {len(ran)} runs, fired again after {', '.join(f'{r:.2f} s' for r in reactions)}")
    # On a machine that is busy with other things, runs are late all the time; that is no fault of the clock's.
    lateness = sorted(now - instant for _, instant, now, _ in ran if timedelta(0) <= now - instant < CLOSE)
    usual = lateness[len(lateness) * 9 // 10].total_seconds()
    print(f"nine in ten runs were at most {usual:.2f} s after their instant")
    assert max(reactions) < 2 + 2 * usual
