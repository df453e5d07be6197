"""The examples of docs/api.md and docs/events.md run: in a shell, in Python and in JavaScript."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from httpx2 import AsyncClient

from goflow_trio import Goflow, Job, Noop, Task, UsageError
from goflow_trio.core.messages import PAYLOAD_FIELDS
from tests.patience import SOON
from tests.web.test_api import ended, serving, submit

DOCS = Path(__file__).parents[2] / "docs"
EVENTS = (DOCS / "events.md").read_text()
API = (DOCS / "api.md").read_text()


def code(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def etl():
    job = Job("etl", params={"day": "today"})
    job.add(Task("load", Noop()))
    return job


def test_every_type_of_event_is_told_with_its_fields():
    told = {}
    for types, fields in re.findall(r"^\| (`[a-z]+[^|]*) \|[^|]*\|([^|]*)\|$", EVENTS, re.MULTILINE):
        named = set(re.findall(r"`(\w+)`", re.sub(r"\(.*\)", "", fields)))
        told |= dict.fromkeys(re.findall(r"`([\w.]+)`", types), named)
    assert told == {name: set(fields) for name, fields in PAYLOAD_FIELDS.items()} | {"reset": {"reason", "executions"}}


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not on this machine")


async def lines_of(command, count):
    """Return the first lines that a subscriber prints; then end it."""
    lines = b""
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE, check=False))
        with trio.fail_after(SOON):
            while lines.count(b"\n") < count:
                part = await process.stdout.receive_some()
                assert part, lines
                lines += part
        nursery.cancel_scope.cancel()
    return lines.decode().splitlines()[:count]


async def of_an_execution(make_command):
    """Return what a subscriber that begins with the oldest event prints of one execution, and its id."""
    async with serving(seconds=40, more=[etl()]) as client:
        execution = await submit(client, "etl")
        await ended(client, execution)
        return await lines_of(make_command(str(client.base_url).rstrip("/")), 5), execution


@needs("curl")
async def test_curl_subscribes():
    (command,) = code(EVENTS, "shell")
    async with serving(seconds=40, more=[etl()]) as client:
        shell = command.replace("http://127.0.0.1:8181", str(client.base_url).rstrip("/")).replace("?", "?after=0&")
        await ended(client, await submit(client, "etl"))
        lines = await lines_of(["sh", "-c", f"exec {shell} 2>&-"], 8)
    assert next(line for line in lines if line.startswith("event")) == "event: execution.submitted"


@needs("curl")
async def test_the_shell_of_the_api():
    (commands,) = code(API, "shell")
    async with serving(seconds=40, more=[etl()]) as client:
        for line in commands.strip().splitlines():
            command = line.replace("http://127.0.0.1:8181", str(client.base_url).rstrip("/")).replace(
                "curl", "curl -sf"
            )
            done = await trio.run_process(["sh", "-c", command], capture_stdout=True)
            assert isinstance(json.loads(done.stdout), dict)


async def test_python_subscribes():
    (source,) = code(EVENTS, "python")
    loop = "for event in events(sys.argv[1]):\n    print(event['type'], event['job'], flush=True)\n"
    program = f"import sys\n{source}\n{loop}"
    lines, _ = await of_an_execution(lambda url: [sys.executable, "-c", program, url])
    assert lines == [f"{kind} etl" for kind in KINDS]


KINDS = ["execution.submitted", "execution.started", "task.started", "task.succeeded", "execution.finished"]


@needs("node")
async def test_javascript_subscribes():
    (source,) = code(EVENTS, "javascript")
    loop = "for await (const event of events(process.argv[1])) console.log(event.type, event.job);\n"
    lines, _ = await of_an_execution(lambda url: ["node", "--input-type=module", "-e", f"{source}\n{loop}", url])
    assert lines == [f"{kind} etl" for kind in KINDS]


async def test_routes_and_middleware_of_a_host():
    (source,) = code(API, "python")
    names = {"__name__": __name__}
    exec(source, names)
    gf = names["gf"]
    assert isinstance(gf, Goflow)
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
            async with AsyncClient(base_url=url) as client:
                answer = await client.get("/mine/greeting")
                assert (answer.json(), answer.headers["x-powered-by"]) == ({"hello": "there"}, "us")
                assert (await client.get("/api/jobs")).json() == {"jobs": ["nightly"]}
            nursery.cancel_scope.cancel()


def test_middleware_that_comes_too_late_is_refused():
    gf = Goflow()
    gf.app  # noqa: B018  # makes it
    with pytest.raises(UsageError, match="call use before"):
        gf.use(lambda app: app)


def test_every_route_is_in_the_docs():
    from goflow_trio.web.app import ROUTES

    short = API + EVENTS
    for group in ROUTES:
        if group.tag == "description":
            continue
        for route in group.routes:
            path = route.path.replace("{execution}", "{id}")
            last = "/" + path.rpartition("/")[2]
            assert path in short or f"`{last}" in short, f"docs/api.md does not tell of {path}"
