"""Whatever is asked, the answer is one that is described: never a 500, never a traceback."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from goflow_trio import Goflow
from goflow_trio.web.app import ROUTES
from goflow_trio.web.openapi import describe
from tests.web.fuzzing import ask, draw_request, is_problem
from tests.web.test_api import jobs, serving, submit
from tests.web.test_tasks import jobs as task_jobs

HERE = Path(__file__).parent
NOT_FOUND = b"404 page not found"


async def fuzz(count, seed):
    """Send so many random requests into the app itself; everything is printed that a failure needs to be repeated."""
    rng = random.Random(seed)
    description = describe(ROUTES)
    gf = Goflow()
    for job in (*jobs(), *task_jobs()):
        gf.add_job(job)
    seen = set()
    async with gf.engine() as engine:
        for name in ("noop-1", "graph", "asking", "fails-once"):
            await engine.submit(name)
        ids = [*engine.jobs, *(record.id for record in await engine.newest()), "t00000", "b", "ask"]
        for number in range(count):
            method, path, query, headers, body, template = draw_request(rng, description, ids)
            status, found, data = await ask(gf.app, method, path, query=query, headers=headers, body=body)
            told = (
                f"seed {seed}, request {number}: {method} {path} {query} {headers} {body[:80]} -> {status} {data[:200]}"
            )
            assert status < 400 or b"Traceback" not in data, told
            engine.drain(draining=False)  # or the rest would all be refused
            operation = description["paths"].get(template, {}).get("get" if method == "HEAD" else method.lower())
            if operation is None:
                assert status < 500, told
                continue
            seen.add((template, status))
            answer = operation["responses"].get(str(status))
            assert answer is not None or status in {301, 304, 307}, told
            if answer is not None and status >= 400 and data != NOT_FOUND:
                kinds = described(answer, description)
                assert found["content-type"].partition(";")[0] in kinds, told
                if found["content-type"] == "application/problem+json":
                    assert is_problem(found, data), told
    return seen


def described(answer, description):
    if "$ref" in answer:
        answer = description["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return answer["content"]


async def test_random_requests_get_answers_that_are_described():
    seen = await fuzz(3_000, seed=random.randrange(10**6))
    assert {200, 400, 404} <= {status for _, status in seen}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
async def test_100000_random_requests_get_answers_that_are_described(part):
    await fuzz(10_000, seed=random.randrange(10**6) * 10 + part)


STREAMS = ("/api/events", "/stream", "/api/ws")
"""Never end; tests of their own are in `test_stream`."""

DRAIN = "/api/drain"
"""Has the server say 503 to all that comes after it, as described; schemathesis takes each for a failure."""


CONFIG = """
[checks.negative_data_rejection]
expected-statuses = ["4xx", "5xx"]  # by default without 414, which a parameter that is too long gets
"""


async def schemathesis(folder, document, *options):
    """Let schemathesis check a live server against a document; print what is wrong."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    async with serving(seconds=30 * 60, more=task_jobs()) as client:
        ids = [await submit(client, name) for name in ("noop-1", "graph", "fails-once", "asking")]
        known = {"job": ["noop-1", "graph", "printing"], "execution": ids, "task": ["t00000", "b", "good", "ask"]}
        known["jobname"] = known["job"]
        excluded = [f"--exclude-path={path}" for path in (*STREAMS, DRAIN)]
        command = [
            *(
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "schemathesis.cli",
                "run",
                document or f"{client.base_url}/api/openapi.json",
            ),
            *("--url", str(client.base_url), "--phases", "coverage,fuzzing", "--no-color", "--request-timeout", "10"),
            # Goflow has no 405: that is a 404 there. Whether a job takes some parameters, no document knows.
            *("--exclude-checks", "unsupported_method,positive_data_acceptance", *excluded),
            *options,
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE.parents[1]),
            "SCHEMATHESIS_HOOKS": "tests.web.schemathesis_hooks",
            "GOFLOW_KNOWN": json.dumps(known),
        }
        done = await trio.run_process(
            command, cwd=folder, env=environment, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        print(done.stdout.decode())
    return done.returncode


async def test_answers_are_as_described(tmp_path):
    assert await schemathesis(tmp_path, "", "--max-examples=3") == 0


async def test_goflows_own_clients_find_what_they_know(tmp_path):
    assert await schemathesis(tmp_path, str(HERE / "goflow_openapi.json"), "--max-examples=4", "--mode=positive") == 0


@pytest.mark.slow
async def test_answers_are_as_described_whatever_is_asked(tmp_path):
    assert await schemathesis(tmp_path, "", "--max-examples=300") == 0
