"""docs/cli.md names every command, and its examples run."""

from __future__ import annotations

import re
import shlex
import sys
from functools import partial
from pathlib import Path

import click
import pytest
import trio

from goflow_trio import Goflow, Job
from goflow_trio.cli import cli

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "cli.md").read_text()


def test_every_command_is_named():
    named = set(re.findall(r"`(\w+)", TEXT))
    assert set(cli.commands) - named == set()


def command_lines():
    """Return every command line of ours in a block of README or docs, without what a shell does with it."""
    for page in [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]:
        for block in re.findall(r"```[a-z]*\n(.*?)```", page.read_text(), re.DOTALL):
            for line in re.findall(r"(?:^|[/ ])goflow-trio ([a-z].*)", block, re.MULTILINE):
                yield pytest.param(shlex.split(re.split(r" [|;&>]|\"$|  #", line)[0]), id=f"{page.stem}: {line[:40]}")


@pytest.mark.parametrize("words", list(command_lines()))
def test_each_command_line_of_the_docs_is_one(words):
    """Its command and its options are there and take what they are given; nothing is run."""
    context, command = None, cli
    while isinstance(command, click.Group):
        context = command.make_context(words[0], words, parent=context, resilient_parsing=False)
        name, command, words = command.resolve_command(context, words)
    with command.make_context(name, words, parent=context):
        pass


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
