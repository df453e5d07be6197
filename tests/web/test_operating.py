"""Draining and switching all schedules over HTTP, and that the audit tells who did it."""

from __future__ import annotations

import json
import logging

from goflow_trio import Job, Noop, Task
from tests.web.test_api import serving


def scheduled(name, *, active):
    job = Job(name, schedule="0 3 * * *", active=active)
    job.add(Task("t", Noop()))
    return job


async def test_a_server_drains_until_told_otherwise(caplog):
    caplog.set_level(logging.INFO, "goflow_trio.audit")
    async with serving(more=[scheduled("on", active=True)]) as client:
        assert (await client.post("/api/drain")).json()["draining"].endswith("Z")
        refused = await client.post("/api/jobs/on/submit")
        assert refused.status_code == 503
        assert "takes on nothing new" in refused.json()["detail"]
        assert (await client.get("/api/ready")).status_code == 503
        health = (await client.get("/api/health")).json()
        assert (health["health"], health["causes"][0]["name"]) == ("draining", "draining")
        assert (await client.get("/api/system")).json()["draining"] is not None
        assert (await client.post("/api/drain", json={"draining": False})).json() == {
            "draining": None,
            "executions": 0,
            "tasks": 0,
        }
        assert (await client.post("/api/jobs/on/submit")).status_code < 300
        assert (await client.post("/api/drain", json={"drain": True})).status_code == 400
    told = [json.loads(record.message) for record in caplog.records if record.name == "goflow_trio.audit"]
    assert [line["path"] for line in told].count("/api/drain") == 3


async def test_all_schedules_are_switched_at_once_and_back():
    more = [scheduled("on", active=True), scheduled("off", active=False), scheduled("also on", active=True)]
    async with serving(more=more) as client:

        async def active():
            return [(await client.get(f"/api/jobs/{name}")).json()["active"] for name in ("on", "off", "also on")]

        paused = (await client.post("/api/schedules/pause")).json()["jobs"]
        assert paused[-2:] == ["on", "also on"]
        assert await active() == [False, False, False]
        assert (await client.post("/api/schedules/pause")).json() == {"jobs": []}
        assert (await client.post("/api/schedules/resume", json={"jobs": paused})).json() == {"jobs": paused}
        assert await active() == [True, False, True]
        assert "off" in (await client.post("/api/schedules/resume")).json()["jobs"]
        assert (await client.post("/api/schedules/pause", json={"jobs": ["no"]})).status_code == 404


async def test_the_system_tells_its_lag_and_its_limits():
    async with serving() as client:
        answer = (await client.get("/api/system")).json()
        assert (answer["draining"], answer["missed"]) == (None, 0)
        assert set(answer["lag"]) == {"median", "p99", "minutes"}
        assert [limit["name"] for limit in answer["limits"] if limit["used"]] == []
