"""The real thing: a process with an engine on SQLite is killed with SIGKILL or stopped, and another one takes over."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from tests.patience import SOON
from tests.processes import child


def start(database, log, mode):
    command = [sys.executable, "-m", "tests.faults.server", str(database), str(log), mode]
    return child(command, stdout=subprocess.PIPE, text=True)


def resume(database, log):
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.server", str(database), str(log), "resume"],
        capture_output=True,
        text=True,
        timeout=2 * SOON,
        check=True,
    )
    return done.stdout.splitlines()


def stop_outside_of_a_write(process, database):
    """Send SIGSTOP; again if that came in the middle of a write: then nobody else can even open the file."""
    for _ in range(200):
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
                return
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
        time.sleep(0.003)
    pytest.fail("it writes all the time")


def test_a_kill_right_after_the_acknowledgement_loses_nothing(tmp_path):
    database, log = tmp_path / "g.db", tmp_path / "log"
    with start(database, log, "submit") as process:
        execution = process.stdout.readline().strip()
        process.kill()
    active, line = resume(database, log)
    assert active == "True", "the toggle is remembered"
    assert line.startswith(execution)
    assert "d=successful" in line


def test_a_kill_in_the_middle_of_a_diamond_repeats_nothing_that_was_finished(tmp_path):
    database, log = tmp_path / "g.db", tmp_path / "log"
    with start(database, log, "submit") as process:
        execution = process.stdout.readline().strip()
        deadline = time.monotonic() + SOON
        while not (log.exists() and {"b 1", "c 1"} <= set(log.read_text().split("\n"))):
            if time.monotonic() > deadline:
                pytest.fail("the diamond did not get to its middle")
            time.sleep(0.01)
        process.kill()
    _, line = resume(database, log)
    assert line.startswith(f"{execution} failed a=successful:,b=successful:,c=failed:interrupted,d=successful:")
    lines = log.read_text().split()
    assert lines.count("a") == 1, "a finished task does not run again"
    assert log.read_text().count("b 2") == 1, "an idempotent one that was cut runs again"
    assert "c 2" not in log.read_text(), "one without retries does not"


def test_an_engine_that_slept_through_a_takeover_writes_nothing_more(tmp_path):
    """SIGSTOP, another engine takes the store, SIGCONT: the first one ends, and the log is that of the second."""
    database, log = tmp_path / "g.db", tmp_path / "log"
    with start(database, log, "takeover") as first:
        acknowledged = [first.stdout.readline().strip() for _ in range(3)]
        stop_outside_of_a_write(first, database)
        with start(database, log, "takeover") as second:  # waits until the lease has run out
            acknowledged += [second.stdout.readline().strip() for _ in range(3)]
            assert second.poll() is None, "it has the store"
            first.send_signal(signal.SIGCONT)
            rest = first.stdout.read().splitlines()
            acknowledged += [line for line in rest if not line.startswith("fenced")]  # from before it was stopped
            assert f"fenced process {second.pid} on" in rest[-1]
            assert first.wait(timeout=SOON) == 69
            acknowledged += [second.stdout.readline().strip() for _ in range(3)]
            second.kill()
            acknowledged += second.stdout.read().split()
    _, *lines = resume(database, log)
    listed = [line.split()[0] for line in lines]
    refused = acknowledged.count("refused")
    assert set(acknowledged) - {"refused"} <= set(listed)
    unknown = len(listed) - (len(acknowledged) - refused)
    assert unknown <= 2 + refused, "of each, one that was durable and not yet told, or what was given up"
    assert len(listed) == len(set(listed))
