"""The subscribers that README shows run: curl, the Python client, JavaScript."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from goflow_trio import Job, Noop, Task
from tests.web.test_api import ended, serving, submit
from tests.web.test_docs import code, lines_of, needs

README = (Path(__file__).parents[2] / "README.md").read_text()
HERE = "http://127.0.0.1:8181"


def my_job():
    job = Job("my-job")
    job.add(Task("load", Noop()))
    return job


async def first_lines(make_command, count):
    """Return what a subscriber prints about a server on which a job has run."""
    async with serving(seconds=40, more=[my_job()]) as client:
        await ended(client, await submit(client, "my-job"))
        return await lines_of(make_command(str(client.base_url).rstrip("/")), count)


@needs("curl")
async def test_curl_subscribes():
    (command,) = [line for line in README.splitlines() if line.startswith("curl -N") and "after=0" in line]
    lines = await first_lines(lambda url: ["sh", "-c", f"exec {command.replace(HERE, url)} 2>&-"], 8)
    assert "event: execution.submitted" in lines


@needs("node")
async def test_javascript_subscribes():
    (source,) = code(README, "javascript")
    lines = await first_lines(lambda url: ["node", "--input-type=module", "-e", source.replace(HERE, url)], 8)
    assert "event: execution.submitted" in lines


async def test_the_python_client_subscribes():
    (source,) = [block for block in code(README, "python") if "client.events" in block]
    told = source.replace("...", "print(event.type, event.job, flush=True)")

    def program(url):
        body = textwrap.indent(told.replace(HERE, url), "    ")
        return f"import trio\nfrom goflow_trio.client import open_client\nasync def main():\n{body}\ntrio.run(main)\n"

    lines = await first_lines(lambda url: [sys.executable, "-c", program(url)], 3)
    assert all(line.endswith(" my-job") for line in lines)
