"""What the package promises to export is there, is documented, and importing it has no side effects."""

from __future__ import annotations

import subprocess
import sys

import pytest

import goflow_trio


@pytest.mark.parametrize("name", goflow_trio.__all__)
def test_each_public_name_exists_and_is_documented(name):
    assert getattr(goflow_trio, name).__doc__


def test_public_names_are_sorted_and_complete():
    assert goflow_trio.__all__ == sorted(goflow_trio.__all__)
    for name in [
        "Approve",
        "Branch",
        "Command",
        "ConstantDelay",
        "Dask",
        "ExponentialBackoff",
        "Executor",
        "Function",
        "Futures",
        "Get",
        "GiveUp",
        "Goflow",
        "Job",
        "Noop",
        "Post",
        "Process",
        "ProcessLimits",
        "Request",
        "RunJob",
        "Secret",
        "Skip",
        "Sleep",
        "WaitFor",
        "Task",
        "TaskContext",
        "Thread",
        "TriggerRule",
        "open_engine",
    ]:
        assert name in goflow_trio.__all__


def test_importing_starts_no_thread_and_loads_no_server():
    code = (
        "import sys, threading, logging, goflow_trio;"
        "assert threading.active_count() == 1;"
        "assert not logging.getLogger().handlers;"
        "print([m for m in ('quart', 'hypercorn', 'httpx2', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
