"""The command line as a user types it: output, errors in one line, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import click
import pytest

from goflow_trio.cli import cli
from tests.patience import SOON
from tests.processes import child

JOBS = """
import time
from goflow_trio import Job, TaskContext

good = Job("good", schedule="30 2 * * *", timezone="Europe/Berlin", params={"x": 1})

@good.task
async def first(context: TaskContext):
    context.log("hello \\x1b[31m")
    return context.params["x"]

@good.task(upstream=first)
def second(context):
    assert context.results["first"] != 13, "unlucky"

def slow() -> Job:
    job = Job("slow")

    @job.task
    async def nap():
        import trio
        await trio.sleep(60)

    return job
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def environment(**extra):
    return {**os.environ, "PYTHONWARNINGS": "error", **extra}


def goflow(folder, *args, **extra):
    command = [sys.executable, "-m", "goflow_trio", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, timeout=2 * SOON, check=False, env=environment(**extra)
    )


def test_run_prints_plain_lines_and_exits_by_the_outcome(folder):
    done = goflow(folder, "run", "jobs.py", "--job", "good")
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 1)[1] for line in done.stdout.splitlines()[:-1]]
    assert lines[:4] == ["good  submitted", "good  started", "first  started", "first | hello �[31m"]
    assert done.stdout.splitlines()[-1].startswith("good successful after")
    done = goflow(folder, "run", "jobs.py", "--job", "good", "--param", "x=13")
    assert done.returncode == 1
    assert "second: AssertionError: unlucky" in done.stdout


def test_ctrl_c_cancels_and_exits_with_130(folder):
    command = [sys.executable, "-m", "goflow_trio", "run", "jobs.py", "--job", "slow"]
    with child(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment()) as process:
        for line in process.stdout:
            if "nap  started" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 130


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["run", "nope.py"], 2, "there is no file nope.py"),
        (["run", "no-module"], 2, "neither a file"),
        (["run", "jobs.py"], 2, "choose one with --job: good, slow"),
        (["run", "jobs.py", "--job", "x"], 2, "no job 'x'; it has: good, slow"),
        (["run", "jobs.py:nope"], 2, "has no 'nope'"),
        (["run", "jobs.py:good", "--param", "x"], 2, "write it as name=value"),
        (["run", "jobs.py:good", "--param", "y=1"], 2, "its parameters are: x"),
        (["run", "jobs.py:good", "--store", "foo://x"], 2, "no store is called 'foo'"),
        (["run", "jobs.py:good", "--store", "sqlite:///no/where/x.db"], 2, "no/where"),
        (["serve"], 2, "nothing to serve"),
        (["serve", "--examples", "--port", "99999"], 2, "99999"),
        (["serve", "--examples", "--host", "nowhere.invalid"], 2, "cannot listen"),
        (["check", "broken.py"], 2, "broken.py:2: ZeroDivisionError"),
        (["check", "cycle.py"], 1, "a -> b -> a"),
        (["check", "stuck.py"], 1, "task 'square': "),
        (["check", "loop.py"], 1, "job 'j': it would run after itself: j -> k -> j; remove one of these edges"),
        (["next", "jobs.py", "--from", "soon"], 2, "2026-03-28T00:00:00Z"),
        (["next", "jobs.py", "--tz", "Mars"], 2, "'Mars' is unknown"),
        (["jobs", "--url", "http://127.0.0.1:1"], 1, "no server answers"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(folder, args, code, says):
    (folder / "broken.py").write_text("x = 0\ny = 1 / x\n")
    (folder / "cycle.py").write_text(
        "from goflow_trio import Job, Noop, Task\n"
        "j = Job('j')\na = j.add(Task('a', Noop()))\nb = j.add(Task('b', Noop()))\na >> b >> a\n"
    )
    (folder / "stuck.py").write_text(
        "from goflow_trio import Job\nj = Job('j')\n@j.task(executor='process')\nasync def square(): pass\n"
    )
    (folder / "loop.py").write_text(
        "from goflow_trio import Job\nj = Job('j', after=['k'])\nk = Job('k', after=['j'])\n"
    )
    done = goflow(folder, *args)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert says in done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert told[0].startswith("Usage:") or len(told) == 1


def test_a_file_of_another_program_is_refused_and_left_untouched(folder):
    (folder / "notes.db").write_text("my notes")
    done = goflow(folder, "run", "jobs.py:good", "--store", "sqlite:///notes.db")
    assert done.returncode == 69
    assert "notes.db" in done.stderr
    assert (folder / "notes.db").read_text() == "my notes"


def test_check_and_next_show_graph_and_clock_changes(folder):
    done = goflow(folder, "check", "jobs.py")
    assert done.returncode == 0
    assert "schedule 30 2 * * * (Europe/Berlin), not active: At 02:30 (Europe/Berlin)\n  first -> sec" in done.stdout
    done = goflow(folder, "next", "jobs.py", "--job", "good", "-n", "2", "--from", "2026-03-28")
    assert "2026-03-29 03:00:00 +0200 Europe/Berlin  2026-03-29T01:00:00Z  (clocks go forward" in done.stdout


@pytest.mark.parametrize("task", ["Task('t', lambda a, b: 1)", "Task('t', Noop(), when=lambda a, b: 1)"])
def test_check_names_the_job_of_a_task_that_could_not_be_called(folder, task):
    """What the engine would refuse at its start, in a file of many jobs."""
    (folder / "many.py").write_text(
        f"from goflow_trio import Job, Noop, Task\ngood, bad = Job('good'), Job('bad')\nbad.add({task})\n"
    )
    done = goflow(folder, "check", "many.py")
    assert done.returncode == 1
    assert done.stderr.startswith("goflow-trio: job 'bad': task 't': ")
    assert "needs more" in done.stderr


def test_a_server_its_clients_and_its_end(folder):
    command = [sys.executable, "-m", "goflow_trio", "serve", "jobs.py", "--examples", "--port", "0", "--grace", "0"]
    with child(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment()) as process:
        first, second = process.stdout.readline(), process.stdout.readline()
        assert first.startswith("goflow-trio serves 4 jobs on http://127.0.0.1:")
        assert "after a kill: kept" in second
        url = first.split()[-1]
        listed = goflow(folder, "jobs", GOFLOW_URL=url).stdout.splitlines()
        assert ["good", "2", "tasks", "30", "2", "*", "*", "*", "off"] in [line.split() for line in listed]
        assert goflow(folder, "submit", "good", "--wait", "--url", url).returncode == 0
        assert goflow(folder, "submit", "good", "--wait", "--param", "x=13", "--url", url).returncode == 1
        assert goflow(folder, "submit", "nope", "--url", url).returncode == 1
        assert goflow(folder, "toggle", "good", "--url", url).stdout == "good is on\n"
        execution = goflow(folder, "submit", "slow", "--url", url).stdout.strip()
        assert goflow(folder, "cancel", execution, "--url", url).stdout.startswith("ended 1 task in")
        listed = json.loads(goflow(folder, "executions", "--json", "--url", url).stdout)["executions"]
        assert [item["state"] for item in listed] == ["cancelled", "failed", "successful"]
        busy = goflow(folder, "serve", "--examples", "--port", url.rsplit(":", 1)[1])
        assert (busy.returncode, len(busy.stderr.splitlines())) == (2, 1)
        assert "already in use" in busy.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON) == 0


def test_run_prints_the_execution_as_json_and_what_happens_elsewhere(folder):
    done = goflow(folder, "run", "jobs.py:good", "--param", "x=13", "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, record["state"], record["params"]) == (1, "failed", {"x": 13})
    assert [(task["name"], task["state"]) for task in record["tasks"]] == [
        ("first", "successful"),
        ("second", "failed"),
    ]
    assert record["tasks"][1]["error"]["message"] == "unlucky"
    assert "first | hello" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")  # noqa: PTH110
def test_an_output_that_cannot_be_written_is_told_in_a_line_and_cuts_no_run(folder):
    (folder / "one.py").write_text(
        "from goflow_trio import Command, Job, Task\njob = Job('one')\n"
        "job.add(Task('a', Command('echo hi', shell=True))) >> job.add(Task('b', Command('touch ran', shell=True)))\n"
    )
    with open("/dev/full", "w") as full:  # noqa: PTH123  # no file
        for command, code in ("run", 0), ("check", 1):
            done = subprocess.run(
                [sys.executable, "-m", "goflow_trio", command, "one.py"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
                env=environment(),
                check=False,
            )
            assert done.returncode == code, done.stderr
    assert (folder / "ran").exists()
    assert done.stderr == "goflow-trio: the output cannot be written: No space left on device\n"


def test_run_runs_one_execution_and_no_schedule(folder):
    """Its own schedule would start others beside it, which the end of the one that was asked for would cut off."""
    (folder / "often.py").write_text(
        "from goflow_trio import Command, Job, Task\n"
        "job = Job('often', schedule='* * * * * *', active=True)\n"
        "job.add(Task('t', Command('echo once >> ran; sleep 1.2', shell=True)))\n"
    )
    assert goflow(folder, "run", "often.py").returncode == 0
    assert (folder / "ran").read_text() == "once\n"


def test_the_help_tells_each_command_in_a_whole_line():
    """Also in a narrow terminal's default of 80 columns, nothing of it is cut off."""
    with click.Context(cli, max_content_width=80, terminal_width=80) as context:
        text = cli.get_help(context)
    assert "..." not in text.split("On this machine:")[1]
    local, remote = text.split("On this machine:")[1].split("Of a running server:")
    assert {line.split()[0] for line in (local + remote).splitlines() if line.strip()} == set(cli.commands)
    store = cli.commands["store"]
    with click.Context(store, max_content_width=80, terminal_width=80) as context:
        assert "..." not in store.get_help(context).split("Commands:")[1]


def test_the_version(folder):
    assert "0.1.0" in goflow(folder, "--version").stdout


def test_a_job_finds_the_jobs_of_its_target_that_it_runs(folder):
    (folder / "family.py").write_text(
        "from goflow_trio import Job, Noop, RunJob, Task\n"
        "child, parent = Job('child'), Job('parent')\n"
        "child.add(Task('one', Noop()))\n"
        "parent.add(Task('run', RunJob('child')))\n"
    )
    done = goflow(folder, "run", "family.py", "--job", "parent")
    assert (done.returncode, "waiting for job 'child'" in done.stdout) == (0, True)
    assert goflow(folder, "check", "family.py").returncode == 0
    (folder / "orphan.py").write_text((folder / "family.py").read_text().replace("RunJob('child')", "RunJob('chidl')"))
    done = goflow(folder, "check", "orphan.py")
    assert done.returncode == 1
    assert "task 'run' runs job 'chidl', which is not registered; add it" in done.stderr
