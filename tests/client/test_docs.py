"""The examples of docs/client.md run."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import trio

from goflow_trio import Goflow, Job
from goflow_trio.client import Client
from tests.patience import SOON

TEXT = (Path(__file__).parents[2] / "docs" / "client.md").read_text()


async def test_the_examples(capsys):
    job = Job("etl", params={"day": "today"})

    @job.task
    def load(context):
        return context.params["day"]

    gf = Goflow()
    gf.add_job(job)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(code.split("\ntrio.run(")[0], names)
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
            await names["main"](url)
            await names["watch"](url)
            nursery.cancel_scope.cancel()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "successful monday"
    assert [line.split()[1] for line in lines[1:]] == [
        "execution.submitted",
        "execution.started",
        "execution.finished",
    ]


def test_the_methods_it_names_exist():
    for name in re.findall(r"`(\w+)\(", TEXT):
        assert hasattr(Client, name) or name in {"open_client", "Submission"}, name
