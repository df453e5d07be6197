"""What answers have in common, and the routes that count: ETags, compression, batches, statistics, metrics."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta

import trio

from goflow_trio.actors.statistics import job_statistics
from goflow_trio.core import limits
from goflow_trio.core.messages import (
    ExecutionFinished,
    ExecutionStarted,
    ExecutionSubmitted,
    TaskError,
    TaskFailed,
    TaskRetryScheduled,
    TaskStarted,
    TaskSucceeded,
)
from goflow_trio.core.record import fold
from goflow_trio.core.states import State
from tests.web.test_api import ended, serving, submit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_what_did_not_change_is_not_sent_again():
    async with serving() as client:
        first = await client.get("/api/executions")
        tag = first.headers["etag"]
        again = await client.get("/api/executions", headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-type" not in again.headers
        await submit(client, "long")
        changed = await client.get("/api/executions", headers={"If-None-Match": f'"other", {tag}'})
        assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)
        assert "etag" not in (await client.get("/api/health")).headers
        assert "etag" not in (await client.get("/api/executions/nope")).headers


async def test_large_answers_are_compressed_for_who_takes_it():
    async with serving() as client:
        answer = await client.post("/api/executions", json=[{"job": "noop-1"}] * 300)
        assert answer.status_code == 200
        for taken in ("gzip", "identity", "gzip;q=0", ""):
            async with client.stream("GET", "/api/executions", headers={"Accept-Encoding": taken}) as answer:
                raw = b"".join([part async for part in answer.aiter_raw()])
            assert answer.headers["vary"] == "Accept-Encoding"
            if taken == "gzip":
                assert answer.headers["content-encoding"] == "gzip"
                compressed = raw
            else:
                assert "content-encoding" not in answer.headers
        assert len(compressed) < len(raw) / 4
        assert gzip.decompress(compressed).startswith(b'{"executions":[')
        tag = answer.headers["etag"]
        again = await client.get("/api/executions", headers={"If-None-Match": tag, "Accept-Encoding": "gzip"})
        assert again.status_code in {200, 304}  # executions may have gone on meanwhile
        assert again.headers["vary"] == "Accept-Encoding"
        tag = (await client.get("/api/openapi.json")).headers["etag"]
        same = await client.get("/api/openapi.json", headers={"If-None-Match": tag})
        assert (same.status_code, same.headers["vary"]) == (304, "Accept-Encoding")
        assert "content-encoding" not in (await client.get("/api/health")).headers


async def test_a_batch_is_submitted_in_order_and_durably():
    async with serving() as client:
        batch = [{"job": "noop-1"}, {"job": "graph", "params": {"day": "x"}}, {"job": "noop-1", "idempotencyKey": "k"}]
        first = (await client.post("/api/executions", json=batch)).json()["executions"]
        assert [(one["job"], one["success"]) for one in first] == [("noop-1", True), ("graph", True), ("noop-1", True)]
        assert (await ended(client, first[1]["id"]))["params"] == {"day": "x"}
        second = (await client.post("/api/executions", json=batch)).json()["executions"]
        assert second[2] == first[2]
        assert second[0]["id"] != first[0]["id"]


async def test_a_batch_with_one_wrong_entry_submits_nothing(monkeypatch):
    async with serving() as client:
        for batch, status in (
            ([{"job": "noop-1"}, {"job": "nope"}], 404),
            ([{"job": "noop-1"}, {"job": "graph", "params": {"dya": 1}}], 422),
            ([{"job": "noop-1"}, {}], 400),
            ([{"job": "noop-1", "parms": {}}], 400),
            ([{"job": "noop-1"}] * (limits.BATCH + 1), 400),
            ({"job": "noop-1"}, 400),
        ):
            answer = await client.post("/api/executions", json=batch)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        monkeypatch.setattr(limits, "ACTIVE_EXECUTIONS", 2)
        assert (await client.post("/api/executions", json=[{"job": "noop-1"}] * 3)).status_code == 429
        assert (await client.post("/api/executions", content=b"[]", headers={"Content-Type": "a/b"})).status_code == 415
        assert (await client.get("/api/executions")).json() == {"executions": []}
        assert (await client.post("/api/executions", json=[])).json() == {"executions": []}


def record(number, *, seconds, failed=False):
    """Return an execution of one task that needed two tries, the second as long as said."""
    at, job, execution = NOW + timedelta(minutes=number), "j", f"x{number}"
    end = at + timedelta(seconds=seconds)
    error = TaskError("E", "e")
    last = (
        TaskFailed(end, job, execution, 6, "t", 2, error=error)
        if failed
        else TaskSucceeded(end, job, execution, 6, "t", 2)
    )
    state = State.FAILED if failed else State.SUCCESSFUL
    events = [
        ExecutionSubmitted(at, job, execution, 1, tasks=("t",)),
        ExecutionStarted(at, job, execution, 2),
        TaskStarted(at, job, execution, 3, "t", 1),
        TaskRetryScheduled(at, job, execution, 4, "t", 1, error=error, retry_at=at),
        TaskStarted(at, job, execution, 5, "t", 2),
        last,
        ExecutionFinished(end, job, execution, 7, state=state),
    ]
    return fold(events)[execution]


def test_statistics_of_executions():
    records = [record(number, seconds=number + 1) for number in range(20)] + [record(20, seconds=99, failed=True)]
    found = job_statistics(records)
    assert (found.executions, found.oldest) == (21, NOW)
    assert found.states == {State.SUCCESSFUL: 20, State.FAILED: 1}
    assert found.success_rate == 20 / 21
    assert (found.durations.count, found.durations.mean, found.durations.longest) == (20, 10.5, 20)
    assert (found.durations.median, found.durations.p95) == (10, 19)
    task = found.tasks["t"]
    assert (task.attempts, task.retried, task.durations.longest) == (42, 21, 20)
    nothing = job_statistics([])
    assert (nothing.success_rate, nothing.durations, nothing.oldest) == (None, None, None)


async def test_statistics_over_http():
    async with serving() as client:
        for _ in range(3):
            await ended(client, await submit(client, "graph"))
        stats = (await client.get("/api/jobs/graph/stats?limit=2")).json()
        assert (stats["executions"], stats["states"], stats["successRate"]) == (2, {"successful": 2}, 1.0)
        assert set(stats["tasks"]) == {"a", "b"}
        assert stats["durations"]["count"] == 2
        assert (await client.get("/api/jobs/nope/stats")).status_code == 404


async def test_metrics():
    async with serving() as client:
        await ended(client, await submit(client, "graph"))
        await submit(client, "long")
        while True:
            answer = await client.get("/metrics")
            if 'goflow_events_total{type="task.started",job="long"} 1' in answer.text:
                break
            await trio.sleep(0.01)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert 'goflow_executions_finished_total{job="graph",state="successful"} 1' in lines
    assert 'goflow_executions_unfinished{job="long",state="running"} 1' in lines
    assert 'goflow_events_total{type="task.succeeded",job="graph"} 2' in lines
    assert "goflow_store_up 1" in lines
