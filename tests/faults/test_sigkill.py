"""The real thing: a process with an engine on SQLite is killed with SIGKILL, and started again."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest


def start(database, log, mode):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.server", str(database), str(log), mode], stdout=subprocess.PIPE, text=True
    )


def resume(database, log):
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.server", str(database), str(log), "resume"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


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
        deadline = time.monotonic() + 20
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
