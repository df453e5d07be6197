"""Commands whose children do all they can to stay: none is left, however the command, or the server, ends.

Each command starts four kinds of children: in a session of its own; forked twice; deaf to TERM; and with an empty
environment, a session of its own, deaf and forked twice at once. They carry a token in their arguments, and are counted
by that alone: by nothing that the product itself looks for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest
import trio

from goflow_trio import Command, Job, Task, open_engine
from goflow_trio.operators import processes
from tests.patience import SOON

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

HOSTILE = """
setsid sleep "$1" &
(setsid sh -c 'sleep "$1" & exit' sh "$1" &)
sh -c 'trap "" TERM HUP INT; while :; do sleep "$1"; done' sh "$1" &
env -i PATH="$PATH" setsid sh -c 'trap "" TERM HUP; (sleep "$1" &); sleep "$1"' sh "$1" >/dev/null 2>&1 </dev/null &
sleep 0.5
"""
SLEEPS = 5
"""Processes of each command whose name is `sleep` and that carry its token; shells come on top."""


def token():
    return f"1{uuid.uuid4().int % 10**12:012d}.5"  # seconds: for ever


def survivors(tokens):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if tokens.intersection(words):
                found.append(int(folder.name))
    return found


async def gone(tokens, seconds=SOON):
    """Wait until none is left; return how long that took, by the clock on the wall."""
    begun = time.monotonic()
    while left := survivors(tokens):
        assert time.monotonic() - begun < seconds, f"{len(left)} left: {left}"
        await trio.sleep(0.05)
    return time.monotonic() - begun


def hostile(mark, end):
    return Command(HOSTILE + end, [mark], shell=True)


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 1)


ENDS = {"success": "exit 0", "failure": "exit 1", "timeout": "sleep 600", "cancel": "sleep 600"}


async def end_by(way, count):
    job = Job("hostile")
    tokens = {token() for _ in range(count)}
    for number, mark in enumerate(sorted(tokens)):
        timeout = 600 if way != "timeout" else 2 + count / 2
        job.add(Task(f"t{number}", hostile(mark, ENDS[way]), timeout=timeout))
    async with open_engine(jobs=[job]) as engine:
        execution = await engine.submit("hostile")
        if way == "cancel":
            with trio.fail_after(3 * SOON):
                while len(survivors(tokens)) < SLEEPS * count:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            receipt = await execution.cancel()
            assert receipt.processes >= SLEEPS * count
            assert receipt.killed >= count
        record = await execution.wait()
        states = {(str(task.state), task.reason) for task in record.tasks.values()}
        expected = {
            "success": {("successful", "")},
            "failure": {("failed", "error")},
            "timeout": {("failed", "timeout")},
            "cancel": {("cancelled", "cancelled")},
        }
        assert states == expected[way]
        return await gone(tokens)


SERVER = """
import sys
from goflow_trio import Command, Goflow, Job, Task
from goflow_trio.operators import processes

processes.GRACE = 1
gf = Goflow()
job = Job("hostile", schedule="@every 1s", active=True, overlap="skip")
for number, mark in enumerate(sys.argv[2:]):
    job.add(Task(f"t{number}", Command(sys.argv[1], [mark], shell=True)))
gf.add_job(job)
gf.run("127.0.0.1:0", grace=0)
"""


async def end_server_by(number, count):
    tokens = {token() for _ in range(count)}
    server = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", textwrap.dedent(SERVER), HOSTILE + "sleep 600", *tokens],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with trio.fail_after(180):
            while len(survivors(tokens)) < SLEEPS * count + 1:  # the server itself has them in its arguments
                assert server.poll() is None
                await trio.sleep(0.1)
        os.kill(server.pid, number)
        begun = time.monotonic()
        if number == signal.SIGTERM:  # it ends what it has started before it ends itself
            await trio.to_thread.run_sync(server.wait, 60)
            return time.monotonic() - begun, await gone(tokens)
        await trio.to_thread.run_sync(server.wait, 60)
        return 0, await gone(tokens)
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("way", ENDS)
async def test_none_is_left_when_a_command_ends(way):
    await end_by(way, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_none_is_left_when_the_server_ends(number):
    await end_server_by(number, 2)


@pytest.mark.slow
async def test_a_thousand_hostile_children(capsys):
    """Six ways to end, 42 commands each: 1,008 hostile children, and 250 whose only fault is to be there."""
    took = {way: await end_by(way, 42) for way in ENDS}
    for number in (signal.SIGTERM, signal.SIGKILL):
        took[number.name] = (await end_server_by(number, 42))[1]
    with capsys.disabled():
        print("\nseconds until none was left:", {way: round(seconds, 2) for way, seconds in took.items()})


FIRST_PROCESS = """
import os, trio
from goflow_trio import Command, Job, Task, open_engine

assert os.getpid() == 1
job = Job("orphans")
line = "for i in 1 2 3; do (setsid true & exit); (setsid sleep 0.1 & exit); done; sleep 0.3"
job.add(Task("t", Command(line, shell=True)))
job.add(Task("u", Command("sleep", ["0.1"])))

async def main():
    async with open_engine(jobs=[job]) as engine:
        record = await (await engine.submit("orphans")).wait()
        assert record.state == "successful", record
        states = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            states.append(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0])
        print("zombies", states.count("Z"))

trio.run(main)
"""


def test_the_first_process_of_a_container_takes_the_exits_of_orphans():
    unshare = ["unshare", "--fork", "--pid", "--mount-proc"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to make a PID namespace")
    command = [*unshare, sys.executable, "-W", "error", "-c", FIRST_PROCESS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "zombies 0\n"
