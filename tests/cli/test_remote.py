"""The commands that ask a running server, in this process: what they print, and how they exit."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from goflow_trio import Approve, Goflow, Job, Noop, Security, Task
from goflow_trio.cli import cli, main
from goflow_trio.cli.printing import printable
from tests.patience import SOON
from tests.processes import child

TOKEN = "operate-token-0123456789"
EVIL = "\x1b[31mred\x1b]0;title\x07 \u202egnp.exe"


def jobs():
    job = Job("etl", schedule="@daily", params={"x": 1, "seconds": 0})

    @job.task
    async def load(context):
        for number in range(3):
            context.log(f"{EVIL} {number}\n")
            await trio.sleep(context.params["seconds"])
        if context.params["x"] == 13:
            raise ValueError(f"unlucky {EVIL}\nsecond line")
        return context.params["x"]

    @job.task(upstream=[load])
    def store(context):
        context.log("stored")

    long = Job("long")
    long.add(Task("hang", trio.sleep_forever))
    asking = Job("asking")
    asking.add(Task("ask", Approve("really?")))
    tidy = Job("tidy")
    tidy.add(Task("hang", trio.sleep_forever)) >> tidy.add(Task("clean-up", Noop(), trigger_rule="allDone"))
    unlucky = Job("unlucky", schedule="@daily")
    unlucky.add(Task("load", lambda: 1 / 0))
    return job, long, asking, tidy, unlucky


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    file = tmp_path_factory.mktemp("server") / "tokens"
    file.write_text(f"operate {TOKEN} alice")
    file.chmod(0o600)
    gf = Goflow(security=Security(token_file=file))
    for job in jobs():
        gf.add_job(job)
    started = threading.Event()
    server = {}

    async def serve():
        async with trio.open_nursery() as nursery:
            (server["url"],) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
            server["token"], server["scope"] = trio.lowlevel.current_trio_token(), nursery.cancel_scope
            started.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert started.wait(SOON)
    yield server["url"]
    server["token"].run_sync_soon(server["scope"].cancel)
    thread.join(SOON)


class Typed:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.lines = out.splitlines()


@pytest.fixture
def typed(url, capsys, monkeypatch):
    """Return a function that types a command."""
    monkeypatch.setenv("GOFLOW_URL", url)
    monkeypatch.setenv("GOFLOW_TOKEN", TOKEN)

    def type_it(*args):
        monkeypatch.setattr(sys, "argv", ["goflow-trio", *map(str, args)])
        code = 0
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
        told = capsys.readouterr()
        return Typed(code, told.out, told.err)

    return type_it


def test_jobs_and_schedules(typed):
    assert typed("jobs").lines == [
        "etl      2 tasks  @daily       off",
        "long     1 task   no schedule",
        "asking   1 task   no schedule",
        "tidy     2 tasks  no schedule",
        "unlucky  1 task   @daily       off",
    ]
    assert [job["job"] for job in json.loads(typed("jobs", "--json").out)][:3] == ["etl", "long", "asking"]
    assert typed("toggle", "etl").out == "etl is on\n"
    assert typed("toggle", "etl", "--on").out == "etl is on\n"
    assert json.loads(typed("toggle", "etl", "--off", "--json").out) == {"job": "etl", "active": False}


def test_submit_wait_show_logs_and_retry(typed):
    done = typed("submit", "etl", "--wait", "--param", "x=2")
    assert done.code == 0
    execution, job, state = done.lines[0].split()
    assert (job, state) == ("etl", "successful")
    shown = typed("show", execution)
    assert [line.split() for line in shown.lines[1:]] == [
        ["load", "successful", "attempt", "1"],
        ["store", "successful", "attempt", "1"],
    ]
    record = json.loads(typed("show", execution, "--json").out)
    assert (record["tasks"][0]["result"], record["params"]["x"]) == (2, 2)
    assert typed("logs", execution, "store").out == "stored\n"
    assert typed("logs", execution, "load", "--follow").out == "".join(f"{EVIL} {n}\n" for n in range(3))
    assert typed("logs", execution).lines == [*(f"load | {EVIL} {n}" for n in range(3)), "store | stored"]
    assert json.loads(typed("logs", execution, "store", "--json").out)["log"]["total"] == 7
    assert typed("logs", execution, "store", "--tail", "3").out == "ed\n"
    assert typed("logs", execution, "--grep", "STOR").lines == ["store | 1: stored"]
    assert typed("logs", execution, "load", "--grep", " 2").lines == [f"3: {printable(EVIL)} 2"]
    assert json.loads(typed("logs", execution, "store", "--grep", "o", "--json").out)["found"]["total"] == 1
    nothing = typed("logs", execution, "--grep", "nowhere")
    assert (nothing.code, nothing.out) == (1, "")
    failed = typed("submit", "etl", "--wait", "--param", "x=13")
    assert failed.code == 1
    assert failed.lines[1] == "load: ValueError: unlucky �[31mred�]0;title� �gnp.exe"
    again = typed("retry", failed.lines[0].split()[0], "--wait", "--json")
    assert (again.code, json.loads(again.out)["reopenings"][0]["by"]) == (1, "alice")
    assert typed("retry", execution).code == 1
    listed = typed("executions", "--state", "failed", "--limit", "1")
    assert len(listed.lines) == 1
    assert "failed: load" in listed.out
    listed = json.loads(typed("executions", "--json", "--job", "etl").out)["executions"]
    assert [one["id"] for one in listed[:2]] == [failed.lines[0].split()[0], execution]
    assert {one["job"] for one in listed} == {"etl"}


def test_cancel_and_approve(typed):
    execution = typed("submit", "long").out.strip()
    assert typed("cancel", execution).out.startswith("ended 1 task in 0.")
    shown = typed("show", execution).out
    assert "cancelled by alice" in shown
    assert "submitted by alice" in shown
    one = typed("submit", "long").out.strip()
    done = json.loads(typed("cancel", one, "--task", "hang", "--reason", "too slow", "--json").out)
    assert done["tasks"] == 1
    assert "too slow (cancelled by alice)" in typed("show", one).out
    asked = json.loads(typed("submit", "asking", "--json").out)["id"]
    assert typed("approve", asked, "ask", "--comment", "yes").out == "ask is approved by alice\n"
    assert typed("tail", "--follow", asked).code == 0
    assert typed("tail", "--follow", execution).code == 130


def test_tail_follows_one_execution_with_its_log_from_the_beginning(typed):
    execution = typed("submit", "etl", "--param", "seconds=0.1").out.strip()
    followed = typed("tail", "--follow", execution)
    assert followed.code == 0
    said = [line.split("  ", 1)[1].replace(f"etl …{execution[-8:]}", "E") for line in followed.lines]
    assert said == [
        "E  submitted",
        "E  started",
        "E  load  started",
        *(f"E  load | �[31mred�]0;title� �gnp.exe {n}" for n in range(3)),
        "E  load  succeeded",
        "E  store  started",
        "E  store | stored",
        "E  store  succeeded",
        "E  successful",
    ]
    assert "\x1b" not in followed.out
    events = [json.loads(line) for line in typed("tail", "--follow", execution, "--json").lines]
    assert [events[0]["type"], events[-1]["type"]] == ["execution.submitted", "execution.finished"]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    quiet = typed("tail", "--follow", execution, "--no-output", "--type", "execution.*")
    assert len(quiet.lines) == 3


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["submit", "no"], 1, "the server has no job 'no'"),
        (["submit", "etl", "--param", "y=1"], 1, "its parameters are: "),
        (["submit", "etl", "--param", "y"], 2, "write it as name=value"),
        (["show", "no"], 1, "no execution has the id 'no'"),
        (["cancel", "no"], 1, "no execution has the id 'no'"),
        (["logs", "no", "x"], 1, "no"),
        (["logs", "no", "--follow"], 2, "needs a TASK"),
        (["logs", "no", "x", "--grep", "y", "--follow"], 2, "no --follow or --tail"),
        (["tail", "--follow", "no"], 1, "no execution has the id 'no'"),
        (["tail", "--type", "nonsense"], 1, "nonsense"),
        (["toggle", "long"], 1, "has no schedule"),
        (["jobs", "--token", "wrong"], 1, "not known here"),
        (["jobs", "--token", "@/no/file"], 2, "/no/file cannot be read"),
        (["jobs", "--url", "ftp://x"], 2, "must begin with http"),
        (["jobs", "--url", "http://127.0.0.1:1"], 1, "no server answers at http://127.0.0.1:1"),
        (["tail", "--url", "http://127.0.0.1:1"], 1, "no server answers"),
        (["executions", "--state", "odd"], 2, "odd"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error(typed, args, code, says):
    done = typed(*args)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1 or done.err.startswith("Usage:")


def test_backfill(typed):
    assert typed("backfill", "etl", "--from", "soon", "--until", "2026-01-01").code == 2
    assert typed("backfill", "no", "--from", "2026-01-01", "--until", "2026-01-03").code == 1
    begun = json.loads(typed("backfill", "etl", "--from", "2026-01-01", "--until", "2026-01-03", "--json").out)
    assert (begun["job"], begun["total"], begun["by"]) == ("etl", 2, "alice")


def test_backfill_waits_and_exits_as_it_ended(typed):
    good = typed("backfill", "etl", "--from", "2026-01-10", "--until", "2026-01-13", "--wait")
    assert (good.code, good.lines[0].split("  ")[1]) == (0, "done: 3 of 3 executions are over")
    assert good.err.splitlines()[-1] == "done: 3 of 3 executions are over"
    again = typed("backfill", "etl", "--from", "2026-01-10", "--until", "2026-01-13", "--wait", "--json")
    assert (again.code, json.loads(again.out)["present"]) == (0, 3)
    bad = typed("backfill", "unlucky", "--from", "2026-01-10", "--until", "2026-01-12", "--wait")
    assert (bad.code, bad.lines[0].split("  ")[1]) == (1, "done: 2 of 2 executions are over, 2 of them not successful")


def test_cancel_leaves_clean_up_to_run_unless_forced(typed):
    ends = {}
    for force in ((), ("--force",)):
        execution = typed("submit", "tidy").out.strip()
        while json.loads(typed("show", execution, "--json").out)["tasks"][0]["state"] != "running":
            time.sleep(0.02)
        assert typed("cancel", execution, *force).code == 0
        tasks = json.loads(typed("show", execution, "--json").out)["tasks"]
        ends[force] = [task["state"] for task in tasks]
    assert ends == {(): ["cancelled", "successful"], ("--force",): ["cancelled", "cancelled"]}


def test_submit_at_an_instant(typed):
    execution = typed("submit", "etl", "--at", "2099-01-01").out.strip()
    shown = json.loads(typed("show", execution, "--json").out)
    assert (shown["state"], shown["trigger"], shown["scheduledFor"]) == ("notstarted", "at", "2099-01-01T00:00:00Z")
    assert typed("cancel", execution).code == 0


def test_a_token_out_of_a_file(typed, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert typed("jobs", "--token", f"@{tmp_path}/token").code == 0


def test_every_option_comes_from_the_environment_too(typed, monkeypatch):
    for name, command in cli.commands.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.envvar or parameter.allow_from_autoenv, (name, parameter.name)
        assert command.context_settings["auto_envvar_prefix"] == "GOFLOW"
    monkeypatch.setenv("GOFLOW_LIMIT", "1")
    monkeypatch.setenv("GOFLOW_JSON", "1")
    monkeypatch.setenv("GOFLOW_JOB", "no-such-job")  # what a task finds in its environment is no filter
    typed("submit", "etl")
    assert len(json.loads(typed("executions").out)["executions"]) == 1


def test_help_is_complete(typed):
    for name, command in cli.commands.items():
        done = typed(name, "--help")
        assert done.code == 0
        assert done.out.startswith("Usage: goflow-trio ")
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, (name, parameter.name)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(typed, shell):
    assert "_GOFLOW_TRIO_COMPLETE" in typed("completion", shell).out
    environment = {
        **os.environ,
        "_GOFLOW_TRIO_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "goflow-trio exec",
        "COMP_CWORD": "exec" if shell == "fish" else "1",
    }
    if shell == "bash":
        command = [str(Path(sys.executable).parent / "goflow-trio")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=2 * SOON)
        assert "executions" in done.stdout


def test_bench_runs_from_the_package(typed):
    results = json.loads(typed("bench", "--runs", "1", "--scale", "0.01", "--json").out)
    assert len(results) == 6
    assert all(result["tasks_per_second"] > 0 for result in results)
    assert typed("bench", "--runs", "1", "--scale", "0.001").lines[0].startswith("workload")


def on_a_terminal(args, **environment):
    """Return what a command prints on a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **environment}
    environment.pop("NO_COLOR", None) if "NO_COLOR" not in environment else None
    command = [sys.executable, "-m", "goflow_trio", *args]
    with child(command, stdout=theirs, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        told = b""
        try:
            while data := os.read(ours, 65536):
                told += data
        except OSError:
            pass  # how a terminal ends on Linux
        code = process.wait(SOON)
    os.close(ours)
    return told.decode(), code


def test_colours_on_a_terminal_only_and_no_control_characters_of_others(typed, url):
    execution = typed("submit", "etl", "--wait").lines[0].split()[0]
    asked = {"GOFLOW_URL": url, "GOFLOW_TOKEN": TOKEN}
    told, _ = on_a_terminal(["executions", "--limit", "1"], **asked)
    assert "\x1b[32msuccessful" in told
    told, _ = on_a_terminal(["executions", "--limit", "1"], **asked, NO_COLOR="1")
    assert "\x1b[32m" not in told
    told, _ = on_a_terminal(["logs", execution, "load"], **asked)
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "�[31mred" in told


def test_ctrl_c_ends_tail_with_130(typed, url):
    typed("submit", "etl")
    environment = {**os.environ, "GOFLOW_URL": url, "GOFLOW_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "goflow_trio", "tail", "--after", "0"]
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert "etl" in process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=SOON)
        assert (process.returncode, told) == (130, "\n")  # after the ^C that the terminal shows
