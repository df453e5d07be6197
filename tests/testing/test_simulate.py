"""Simulations: the real engine, no real time, the same every time, and time stands still while something works."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import trio

from goflow_trio import Command, ConstantDelay, ExponentialBackoff, Job, Noop, State, Task, UsageError
from goflow_trio.testing import WorkClock, assert_no_leaks, run_job, simulate

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


def sleep_for(seconds):
    async def work():
        await trio.sleep(seconds)

    return work


def hourly(**options):
    job = Job("hourly", schedule="@hourly", **options)

    @job.task
    async def work(context):
        return context.scheduled_for.hour

    return job


def test_a_month_of_an_hourly_job_from_start_to_until_and_the_same_bytes_twice():
    first, second = (simulate(hourly(), START, START + 30 * DAY) for _ in range(2))
    assert len(first.executions) == 30 * 24
    assert first.instants("hourly")[:2] == [START, START + timedelta(hours=1)]
    assert first.instants("hourly")[-1] == START + 30 * DAY - timedelta(hours=1)
    assert all(record.state is State.SUCCESSFUL for record in first.executions)
    assert first.to_bytes() == second.to_bytes()
    assert (
        repr(first) == "<History 2026-01-01T00:00:00+00:00 to 2026-01-31T00:00:00+00:00, 720 executions, 3601 events>"
    )


def test_another_process_gives_the_same_bytes(tmp_path):
    """Nothing depends on addresses, hash seeds or what ran before."""
    code = (
        "import sys; from tests.testing.test_simulate import *; "
        "h = simulate(busy(), START, START + DAY, seed=5); sys.stdout.buffer.write(h.to_bytes())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONHASHSEED": seed, "PATH": ""}
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == simulate(busy(), START, START + DAY, seed=5).to_bytes()
    assert runs[0] != simulate(busy(), START, START + DAY, seed=6).to_bytes()


def busy():
    """Concurrent tasks, threads, retries with jitter."""
    job = Job("busy", schedule="0 */6 * * *")
    last = job.add(Task("last", Noop()))
    for number in range(5):

        def thread(context, number=number):
            time.sleep(0.001 * (5 - number))
            return number

        async def flaky(context, number=number):
            await trio.sleep(number)
            if context.attempt < 2:
                raise ValueError("not yet")

        job.add(Task(f"thread-{number}", thread)) >> last
        job.add(Task(f"flaky-{number}", flaky, retries=2, retry_delay=ExponentialBackoff(jitter=0.5))) >> last
    return job


def test_the_weekend_on_which_clocks_change():
    job = Job("nightly", schedule="30 2 * * *", timezone="Europe/Berlin")
    job.add(Task("work", Noop()))
    spring = simulate(job, datetime(2026, 3, 28, tzinfo=BERLIN), datetime(2026, 3, 31, tzinfo=BERLIN))
    assert [f"{at.astimezone(BERLIN):%d %H:%M}" for at in spring.instants("nightly")] == [
        "28 02:30",
        "29 03:00",
        "30 02:30",
    ]
    autumn = simulate(job, datetime(2026, 10, 24, tzinfo=BERLIN), datetime(2026, 10, 27, tzinfo=BERLIN))
    assert [f"{at:%d %H:%M}" for at in autumn.instants("nightly")] == ["24 00:30", "25 00:30", "26 01:30"]


def test_what_is_missed_is_part_of_the_history():
    job = Job("slow", schedule="@hourly", overlap="skip")
    job.add(Task("work", Noop()))
    history = simulate(job, START, START + DAY / 4, operators={"work": sleep_for(90 * 60)})
    assert len(history.runs("slow")) == 3
    assert [event.cause for event in history.missed("slow")] == ["overlap"] * 3
    assert history.missed("other") == []


def test_time_stands_still_while_a_thread_or_a_process_works():
    job = Job("work", timeout=5)
    job.add(Task("thread", lambda: time.sleep(0.2)))
    job.add(Task("process", Command("sleep", ["0.2"])))
    job.add(Task("sleeper", sleep_for(4)))
    record = run_job(job)
    assert record.state is State.SUCCESSFUL, "the time-out of 5 s was not reached, though 0.4 s of work passed"
    assert record.finished - record.started == timedelta(seconds=4)
    assert record.tasks["thread"].finished - record.started < timedelta(seconds=1)


def test_delays_of_retries_cost_nothing():
    job = Job("patient")

    @job.task(retries=3, retry_delay=ConstantDelay(86_400))
    async def work(context):
        if context.attempt < 4:
            raise ValueError("not yet")
        return context.params["day"]

    job.params = {"day": "today"}
    record = run_job(job, {"day": "monday"})
    assert record.results == {"work": "monday"}
    assert record.finished - record.started == timedelta(days=3)


def test_a_script_takes_part():
    async def script(engine):
        await trio.sleep(3600 * 3 + 1)
        await engine.pause("hourly")
        await trio.sleep(3600 * 3)
        await engine.resume("hourly")
        await engine.submit("by-hand")

    by_hand = Job("by-hand")
    by_hand.add(Task("work", Noop()))
    history = simulate([hourly(), by_hand], START, START + DAY / 3, script=script)
    assert [at.hour for at in history.instants("hourly")] == [0, 1, 2, 3, 7]
    assert len(history.runs("by-hand")) == 1


def test_without_activate_only_what_is_on_runs():
    history = simulate([hourly(active=False)], START, START + DAY, activate=False)
    assert history.executions == []


async def test_it_works_inside_of_a_trio_program():
    assert len(simulate(hourly, START, START + DAY).executions) == 24
    assert run_job(Job("empty")).state is State.SUCCESSFUL


def test_what_hangs_is_named():
    job = Job("hang")
    job.add(Task("work", lambda: time.sleep(1.5)))
    with pytest.raises(TimeoutError, match="waiting for 1 thread; give it another operator"):
        run_job(job, patience=0.1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: simulate(hourly(), START, START), "is not after start"),
        (lambda: simulate(hourly(), START.replace(tzinfo=None), START), "has no time zone"),
        (lambda: run_job(hourly(), operators={"wrok": Noop()}), "no task is named 'wrok'"),
    ],
)
def test_wrong_use_is_named(call, words):
    with pytest.raises(UsageError, match=words):
        call()


def test_operators_are_put_back():
    job = hourly()
    before = job["work"].operator
    simulate(job, START, START + DAY / 24, operators={"hourly/work": Noop()})
    assert job["work"].operator is before


def test_the_clock_waits_for_a_socket_and_then_jumps():
    async def main():
        ours, right = socket.socketpair()
        left = trio.socket.from_stdlib_socket(ours)

        def answer():
            time.sleep(0.05)
            right.send(b"x")

        thread = threading.Thread(target=answer)
        thread.start()
        with trio.fail_after(1e-3), left, right:
            assert await left.recv(1) == b"x"
        thread.join()
        await trio.sleep(1e4)
        return trio.current_time()

    assert trio.run(main, clock=WorkClock()) == 1e4


def test_leaks_are_named(monkeypatch):
    monkeypatch.setattr("goflow_trio.testing.leaks._LOOKS", 3)
    ended = threading.Event()
    with pytest.raises(AssertionError, match="thread 'left behind'"), assert_no_leaks():
        thread = threading.Thread(target=ended.wait, name="left behind")
        thread.start()
    ended.set()
    thread.join()
    monkeypatch.undo()
    with assert_no_leaks():
        run_job(busy())


def test_what_is_on_its_way_out_is_no_leak_however_long_the_machine_stands_still(monkeypatch):
    """The clock jumps by an hour between two looks."""
    ended, hours = threading.Event(), itertools.count(0, 3600)
    thread = threading.Thread(target=ended.wait)

    def look_away(_seconds):
        if next(looks) == 3:
            ended.set()
            thread.join()

    looks = itertools.count()
    monkeypatch.setattr("goflow_trio.testing.leaks.time.monotonic", lambda: next(hours))
    monkeypatch.setattr("goflow_trio.testing.leaks.time.sleep", look_away)
    with assert_no_leaks():
        thread.start()


def test_a_history_of_more_than_the_days_that_are_kept_by_default_is_there_to_its_beginning():
    found = []

    async def look(engine):
        await trio.sleep(119 * 86_400)
        found.extend(await engine.newest(limit=1_000))

    job = Job("daily", schedule="@daily")
    job.add(Task("work", trio.lowlevel.checkpoint))
    history = simulate(job, START, START + 120 * DAY, script=look)
    assert len(history.runs("daily")) == 120
    assert len(found) == 119
    assert job.retention is None, "a job is as it was, afterwards"
