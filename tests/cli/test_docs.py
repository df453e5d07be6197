"""docs/cli.md names every command, and its examples run."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import trio

from goflow_trio import Goflow, Job
from goflow_trio.cli import cli

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_every_command_is_named():
    named = set(re.findall(r"`(\w+)", TEXT))
    assert set(cli.commands) - named == set()


async def test_the_examples_run():
    job = Job("etl", schedule="@daily", params={"day": "today"})

    @job.task
    def load(context):
        return context.params["day"]

    gf = Goflow()
    gf.add_job(job)
    (script,) = re.findall(r"```shell\n(.*?)```", TEXT, re.DOTALL)
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
            here = script.replace("http://127.0.0.1:8181", url).replace(
                "goflow-trio ", f"{sys.executable} -m goflow_trio "
            )
            done = await trio.run_process(["sh", "-euc", here], capture_stdout=True, capture_stderr=True, check=False)
            nursery.cancel_scope.cancel()
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "etl  1 task  @daily  off"
    assert lines[1].endswith("etl  successful")
    assert lines[2].startswith('{"executions": [{')
