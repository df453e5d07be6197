"""A name is refused with a reason when the job is made, or right on every route, stream, page and log."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from goflow_trio import Command, DefinitionError, Job, Task
from tests.web.fuzzing import HOSTILE
from tests.web.test_api import ended, listening, serving


def job_of(name):
    job = Job(name, schedule="0 0 1 1 *", params={"day": name})
    job.add(Task(name, Command("printf", ["%s", name])))
    return job


def allowed(name):
    try:
        job_of(name)
    except DefinitionError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in HOSTILE if not allowed(name)], ids=ascii)
def test_a_name_is_refused_with_a_reason_on_one_line(name):
    with pytest.raises(DefinitionError) as caught:
        job_of(name)
    assert "name" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_most_names_are_allowed():
    refused = {name for name in HOSTILE if not allowed(name)}
    assert refused == {
        "..",
        ".",
        "a\r\nSet-Cookie: x=1",
        "nul\0nul",
        "x" * 10_000,
        "e\u0301",
        " leading",
        "\x1b[31mred",
    }


async def test_allowed_names_are_right_everywhere():
    names = [name for name in HOSTILE if allowed(name)]
    async with serving(seconds=60, more=map(job_of, names)) as client:
        assert set(names) <= set((await client.get("/api/jobs")).json()["jobs"])
        for name in names:
            await everywhere(client, name)


async def everywhere(client, name):
    part = quote(name, safe="")
    job = (await client.get(f"/api/jobs/{part}")).json()
    assert (job["job"], job["tasks"], job["dag"], job["params"]) == (name, [name], {name: []}, {"day": name})
    assert (await client.get(f"/api/jobs/{part}/next?n=1")).json()["job"] == name
    submitted = (await client.post(f"/api/jobs/{part}/submit", json={"params": {"day": name}})).json()
    assert (submitted["job"], submitted["success"]) == (name, True)
    record = await ended(client, submitted["id"])
    assert (record["job"], record["tasks"][0]["name"], record["tasks"][0]["result"]) == (name, name, name)
    (listed,) = (await client.get(f"/api/executions?jobname={part}")).json()["executions"]
    assert listed["id"] == record["id"]
    (run,) = (await client.get(f"/api/jobruns?jobname={part}")).json()["jobruns"]
    assert run["state"]["tasks"]["state"] == {name: "successful"}
    log = (await client.get(f"/api/executions/{record['id']}/tasks/{part}/log")).json()
    assert log["text"] == name
    assert (await client.get(f"/api/jobs/{part}/stats")).json()["job"] == name
    assert (await client.post(f"/api/jobs/{part}/toggle")).json() == {"job": name, "success": True, "active": True}
    assert (await client.post(f"/api/jobs/{part}/pause")).json()["job"] == name
    page = await client.get(f"/ui/jobs/{part}")
    assert page.status_code == 200
    assert "<img src=x" not in page.text
    async with listening(client, f"/stream?jobname={part}") as sse:
        event, data = (await sse.frame()).split("\n")
        assert (event, json.loads(data.removeprefix("data:"))["job"]) == ("event:message", name)
        assert "<" not in data
    async with listening(client, f"/api/events?after=0&types=task.started&job={part}") as sse:
        lines = (await sse.frame()).split("\n")
        assert len(lines) == 3
        assert json.loads(lines[2].removeprefix("data: "))["task"] == name


# Clients resolve `.` and `..` themselves before they ask.
@pytest.mark.parametrize("name", [name for name in HOSTILE if name.strip(".")], ids=ascii)
async def test_names_that_nothing_has_are_answered_and_reflect_nothing(name):
    part = quote(name, safe="")
    async with serving() as client:
        for method, path in (
            ("GET", f"/api/jobs/{part}"),
            ("GET", f"/api/jobs/{part}/next"),
            ("GET", f"/api/jobs/{part}/stats"),
            ("POST", f"/api/jobs/{part}/submit"),
            ("POST", f"/api/jobs/{part}/toggle"),
            ("GET", f"/api/executions/{part}"),
            ("GET", f"/api/executions/{part}/tasks/{part}/log"),
            ("POST", f"/api/executions/{part}/cancel"),
            ("POST", f"/api/executions/{part}/retry"),
            ("GET", f"/ui/jobs/{part}"),
        ):
            answer = await client.request(method, path)
            assert answer.status_code in {404, 414}, (path, answer.text)
            assert "<img" not in answer.text
            assert "set-cookie" not in answer.headers
        for path in (
            f"/api/executions?jobname={part}",
            f"/api/executions?state={part}",
            f"/api/jobruns?jobname={part}",
        ):
            answer = await client.get(path)
            assert answer.status_code in {200, 414}
            if answer.status_code == 200:
                assert list(answer.json().values()) == [[]]
        assert (await client.get(f"/api/executions?cursor={part}")).status_code in {200, 400, 414}
