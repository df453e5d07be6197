"""Who did what: every route that changes something says so in the audit log, and keeps it where it is recorded."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from functools import partial

import httpx2
import pytest
import trio
import trio.testing

from goflow_trio import Approve, Goflow, Job, Noop, Security, Task
from goflow_trio.web.app import ROUTES
from tests.patience import SOON

TOKEN = "operate-token-0123456789"
NOT_RECORDED = {
    "drain": "it is nothing that lasts; the audit log tells",
    "login": "nobody is known before it; the audit log tells of the sign-in",
    "logout": "it ends a session, and changes nothing else",
    "run_by_webhook": "whoever has the token of a job says no name; the trigger is `webhook`",
}


def jobs():
    etl = Job("etl", schedule="@daily")
    etl.add(Task("load", Noop()))
    fails = Job("fails")
    fails.add(Task("load", lambda: 1 / 0))
    long = Job("long")
    long.add(Task("hang", trio.sleep_forever))
    asking = Job("asking")
    asking.add(Task("ask", Approve("really?")))
    return etl, fails, long, asking


@pytest.fixture
async def world(tmp_path, nursery):
    """Return a client of alice's, and the engine behind the server."""
    file = tmp_path / "tokens"
    file.write_text(f"operate {TOKEN} alice")
    file.chmod(0o600)
    gf = Goflow(security=Security(token_file=file))
    for job in jobs():
        gf.add_job(job)
    (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with trio.fail_after(2 * SOON):
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=SOON) as client:
            yield client, gf._running()
    nursery.cancel_scope.cancel()


def operations():
    return [route for group in ROUTES for route in group.routes if route.method not in {"GET", "WEBSOCKET"}]


def test_every_operation_takes_who_calls_or_has_a_reason_not_to():
    assert {route.name for route in operations() if "caller" not in route.wants} == set(NOT_RECORDED)


async def test_every_operation_is_told_in_the_audit_log(world, caplog):
    client, _ = world
    wanted = [route for route in operations() if route.role == "operate"]
    assert len(wanted) > 10
    for route in wanted:
        path = route.path.replace("{job}", "etl").replace("{execution}", "x").replace("{task}", "load")
        path = path.replace("{backfill}", "x")
        caplog.clear()
        with caplog.at_level(logging.INFO, "goflow_trio.audit"):
            answer = await client.post(path, json=[] if route.name == "submit_batch" else {})
            while not (told := [one for one in caplog.records if one.name == "goflow_trio.audit"]):
                await trio.testing.wait_all_tasks_blocked(0.01)  # it is written after the answer was sent
        (line,) = [json.loads(one.getMessage()) for one in told]
        told = line["event"], line["by"], line["path"], line["status"]
        assert told == ("request", "alice", path, answer.status_code), route.name


@asynccontextmanager
async def following(engine):
    """Yield the events since the block began, as a function that returns them by type."""
    begun = engine.seq

    async def events():
        found = {}
        async with engine.subscribe(after=begun) as subscription:
            while subscription.position < engine.seq:
                for event in await subscription.receive_batch():
                    found[event.type] = event
        return found

    yield events


async def ended(client, execution):
    while True:
        body = (await client.get(f"/api/executions/{execution}")).json()
        if body["finished"] is not None:
            return body


async def test_who_submitted_is_in_the_event_the_record_and_the_answers(world):
    client, engine = world
    async with following(engine) as events:
        one = (await client.post("/api/jobs/etl/submit")).json()
        (many,) = (await client.post("/api/executions", json=[{"job": "etl"}])).json()["executions"]
        assert (one["by"], many["by"]) == ("alice", "alice")
        assert (await events())["execution.submitted"].by == "alice"
    assert (await ended(client, one["id"]))["by"] == "alice"
    assert {each["by"] for each in (await client.get("/api/executions")).json()["executions"]} == {"alice"}
    assert (await engine.find(many["id"])).by == "alice"
    nobody = await engine.submit("etl")
    assert nobody.record.by == ""


async def test_who_cancelled_is_told_with_the_reason(world):
    client, engine = world
    reasons = []
    for body in ({}, {"reason": "too slow"}, {"reason": "stuck", "force": True}):
        one = (await client.post("/api/jobs/long/submit")).json()["id"]
        async with following(engine) as events:
            await client.post(f"/api/executions/{one}/cancel", json=body)
            told = (await events())["execution.cancelling"].reason
        reasons.append((await ended(client, one))["reason"])
        assert told == reasons[-1]
    assert reasons == ["cancelled by alice", "too slow (cancelled by alice)", "stuck (cancelled by alice)"]
    one = (await client.post("/api/jobs/long/submit")).json()["id"]
    await client.post(f"/api/executions/{one}/cancel", json={"task": "hang"})
    assert (await ended(client, one))["tasks"][0]["reason"] == "cancelled by alice"


async def test_who_approved_and_who_ran_again(world):
    client, engine = world
    one = (await client.post("/api/jobs/asking/submit")).json()["id"]
    while True:
        answer = await client.post(f"/api/executions/{one}/tasks/ask/approve")
        if answer.status_code != 409:  # the task has begun
            break
    assert answer.json()["by"] == "alice"
    assert (await ended(client, one))["tasks"][0]["result"]["by"] == "alice"
    other = (await client.post("/api/jobs/fails/submit")).json()["id"]
    await ended(client, other)
    async with following(engine) as events:
        await client.post(f"/api/executions/{other}/retry")
        assert (await events())["execution.reopened"].by == "alice"
    assert (await ended(client, other))["reopenings"][0]["by"] == "alice"


async def test_who_switched_a_schedule(world):
    client, engine = world
    for path in ("jobs/etl/toggle", "jobs/etl/pause", "jobs/etl/resume", "schedules/pause", "schedules/resume"):
        async with following(engine) as events:
            assert (await client.post(f"/api/{path}")).status_code == 200
            toggled = (await events()).get("schedule.toggled")
            assert toggled is None or toggled.by == "alice", path


async def test_who_backfilled_and_who_ended_it(world):
    client, engine = world
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-03T00:00:00Z"}
    async with following(engine) as events:
        begun = (await client.post("/api/jobs/etl/backfill", json=span)).json()
        (backfill,) = engine.backfills()
        await backfill.wait()
        assert begun["by"] == "alice"
        found = await events()
    assert (found["backfill.started"].by, found["execution.submitted"].by) == ("alice", "alice")
    (listed,) = (await client.get("/api/jobs/etl/backfills")).json()["backfills"]
    assert listed["by"] == "alice"
    span["until"] = "2026-01-31T00:00:00Z"
    async with following(engine) as events:
        second = (await client.post("/api/jobs/etl/backfill", json=span)).json()["id"]
        await client.post(f"/api/backfills/{second}/cancel")
        assert (await events())["backfill.finished"].by in {"alice", ""}  # empty if it was over before
