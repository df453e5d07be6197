"""The examples about executions: what they print, how they end, what they wait for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import SOON

FOLDER = Path(__file__).parents[2] / "examples"


def run(name):
    command = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=2 * SOON).stdout.splitlines()


def test_task_output():
    lines = run("task_output")
    assert any(line.startswith("live: python log a line of my own") for line in lines)
    assert any(line.endswith("error: ValueError: and why it failed") for line in lines)
    assert lines[-1].startswith("5000008 bytes printed, kept ((0, 1048576), ")
    assert lines[-1].endswith("the last ten: ..........")


def test_limits_and_cancel():
    lines = run("limits_and_cancel")
    assert lines[0].endswith("waits: pool db: 2 of 2 slots are taken")
    assert "urgent is successful" in lines
    assert any(re.fullmatch(r"ended \d tasks and \d+ processes in \d+\.\d s", line) for line in lines)
    assert lines[-1] == "loading tue"


def test_executors():
    pytest.importorskip("trio_parallel", reason="needs the extra process")
    assert run("executors") == [
        "primes: 25 168",
        "printed: counting up to 1000",
        "never_end: it took longer than 2 s",
        "fail: ValueError: no luck over there",
        "pid is mine: True",
    ]
