"""A browser signs in, is held to its role, and signs out; a whole server never tells a secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import httpx2
import pytest
from httpx2 import AsyncClient

from goflow_trio import Goflow, Job, Noop, Security, Task
from tests.patience import SOON
from tests.processes import child

OPERATE, READ = "operate-token-0123456789", "read-token-0123456789"


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(f"operate {OPERATE} alice 2099-01-01\nread {READ} bob\n")
    file.chmod(0o600)
    return file


@pytest.fixture
async def client(file, nursery):
    gf = Goflow(security=Security(token_file=file, root_path="/flow"))
    gf.add_job(Job("noop")).add(Task("t", Noop()))
    (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
    async with AsyncClient(base_url=url) as client:
        yield client
    nursery.cancel_scope.cancel()


async def test_a_session_by_the_api(client):
    assert (await client.get("/api/session")).status_code == 401
    answer = await client.post("/api/login", json={"token": "wrong"})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert (await client.post("/api/login", json={"tokn": "x"})).status_code == 400
    answer = await client.post("/api/login", json={"token": READ})
    assert answer.json() == {"name": "bob", "role": "read", "expires": None, "authentication": True}
    (cookie,) = answer.headers.get_list("set-cookie")
    assert re.fullmatch(
        r"goflow_session=[\w-]{43}; (Expires=[^;]+; )?Max-Age=43200; HttpOnly; Path=/flow/; SameSite=Strict", cookie
    )
    assert READ not in cookie
    session = {"Cookie": cookie.split(";")[0]}
    assert (await client.get("/flow/api/session", headers=session)).json()["name"] == "bob"
    refused = await client.post("/api/jobs/noop/submit", headers=session)
    assert (refused.status_code, "role operate" in refused.json()["detail"]) == (403, True)
    gone = await client.post("/api/logout", headers=session)
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert (await client.get("/api/session", headers=session)).status_code == 401


async def test_a_session_by_the_page(client):
    page = await client.get("/flow/ui/jobs/noop?x=1", headers={"Accept": "text/html"})
    assert page.status_code == 401
    action = re.search(r'action="([^"]*)"', page.text)[1]
    after = re.search(r'name="next" value="([^"]*)"', page.text)[1]
    assert (action, after) == ("/flow/ui/sign-in", "/flow/ui/jobs/noop?x=1")
    wrong = await client.post(action, data={"token": "wrong", "next": after})
    assert (wrong.status_code, "the token is not known here" in wrong.text) == (401, True)
    right = await client.post(action, data={"token": OPERATE, "next": after})
    assert (right.status_code, right.headers["location"]) == (303, after)
    answer = await client.post("/api/jobs/noop/submit", headers={"Cookie": right.headers["set-cookie"].split(";")[0]})
    assert answer.status_code == 200


@pytest.mark.parametrize("after", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y", "", "é"])
async def test_signing_in_leads_nowhere_else(client, after):
    answer = await client.post("/ui/sign-in", data={"token": OPERATE, "next": after})
    assert (answer.status_code, answer.headers["location"]) == (303, "/flow/")


JOBS = """
from goflow_trio import Job, Task, Noop
job = Job("noop")
job.add(Task("t", Noop()))
broken = Job("broken")
@broken.task
def fail(): raise ValueError("broken")
"""


def wait_for(text, path, meanwhile=lambda: None):
    deadline = time.monotonic() + SOON
    while text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        meanwhile()
        time.sleep(0.05)


def test_secrets_appear_nowhere(tmp_path):
    """Tokens, right and wrong ones, and the passwords of stores are in no answer, log, file or process list."""
    canaries = {name: f"canary-{name}-7d1f0c9e55" for name in ("plain", "wrong", "bad-line", "login", "url", "session")}
    (tmp_path / "jobs.py").write_text(JOBS)
    file = tmp_path / "tokens"
    file.write_text(f"operate {canaries['plain']} alice\n")
    environment = {**os.environ, "GOFLOW_TOKEN_FILE": str(file), "GOFLOW_AUDIT_FILE": "audit.jsonl"}
    command = [sys.executable, "-m", "goflow_trio", "serve", "jobs.py", "--port", "0", "--grace", "0"]
    out = tmp_path / "out.log"
    with (
        out.open("w") as log,
        child(command, stdout=log, stderr=log, cwd=tmp_path, env=environment) as process,
    ):
        wait_for("store ", out)
        url = re.search(r"http://\S+", out.read_text())[0]
        # A kept-alive connection may be closed as it is used again, on a machine busy enough.
        with httpx2.Client(base_url=url, limits=httpx2.Limits(max_keepalive_connections=0)) as client:
            right = {"Authorization": f"Bearer {canaries['plain']}"}
            wrong = {"Authorization": f"Bearer {canaries['wrong']}"}
            cookie = {"Cookie": f"goflow_session={canaries['session']}"}
            answers = [
                client.request(method, path, headers=headers, json=body)
                for headers in (right, wrong, cookie, {})
                for method, path, body in (
                    ("GET", "/api/jobs", None),
                    ("GET", f"/nothing?token={canaries['url']}", None),
                    ("POST", "/api/jobs/broken/submit", {}),
                    ("POST", "/api/login", {"token": canaries["login"]}),
                    ("POST", "/api/login", {"token": canaries["plain"], "more": canaries["login"]}),
                    ("POST", "/ui/sign-in", None),
                    ("GET", "/api/executions", None),
                    ("GET", "/api/openapi.json", None),
                )
            ]
            file.write_text(f"operate {canaries['plain']} alice\nreed {canaries['bad-line']} bob\n")
            wait_for("left out line 2", out, lambda: client.get("/api/jobs", headers=right))
        told = [Path(f"/proc/{process.pid}/cmdline").read_text()] if Path("/proc/self/cmdline").exists() else []
        process.terminate()
        assert process.wait(SOON) == 0
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 404}
    audit = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert {"sign-in", "refused sign-in", "refused", "request"} >= {line["event"] for line in audit} >= {"request"}
    told += [str(answer.headers) + answer.text for answer in answers]
    told += [
        path.read_bytes().decode("latin1") for path in tmp_path.rglob("*") if path.is_file() and path.name != "tokens"
    ]
    assert [name for name, canary in canaries.items() if canary in "\n".join(told)] == []
    for store in ("foo://user:{}@host/db", "postgresql://user:{}@127.0.0.1:1/db"):
        done = subprocess.run(
            [*command, "--store", store.format(canaries["url"])],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=2 * SOON,
            check=False,
        )
        assert done.returncode
        assert canaries["url"] not in done.stdout + done.stderr
