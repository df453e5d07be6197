"""Goflow's routes answer as Goflow's server did, and ours as documented: over a real socket."""

from __future__ import annotations

import json
import re
import statistics
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import attrs
import pytest
import trio
from httpx2 import AsyncClient
from trio_websocket import open_websocket_url

from goflow_trio import Goflow, Job, Noop, Task
from goflow_trio.errors import UsageError
from goflow_trio.web import wire
from goflow_trio.web.server import parse_bind
from tests.patience import SOON

JSON = "application/json; charset=utf-8"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z"


def jobs():
    noop = Job("noop-1", schedule="* * 1 1 *")
    noop.add(Task("t00000", Noop()))
    graph = Job("graph", params={"day": "today"})
    b, a = graph.add(Task("b", Noop())), graph.add(Task("a", lambda: "<&>"))
    b >> a
    long = Job("long")
    long.add(Task("hang", trio.sleep_forever))
    fails_once = Job("fails-once")
    fails_once.add(Task("good", Noop()))
    fails_once.add(Task("flaky", lambda context: 1 / (context.attempt - 1)))
    return noop, graph, long, fails_once


@asynccontextmanager
async def serving(more=(), seconds=2 * SOON, **options):
    gf = Goflow(**options)
    for job in (*jobs(), *more):
        gf.add_job(job)
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(lambda task_status: gf.serve("127.0.0.1:0", grace=0, task_status=task_status))
            async with AsyncClient(base_url=url) as client:
                yield client
            nursery.cancel_scope.cancel()


async def ended(client, execution):
    while True:
        body = (await client.get(f"/api/executions/{execution}")).json()
        if body["state"] in {"successful", "failed", "cancelled"}:
            return body
        await trio.sleep(0.01)


async def submit(client, job, **options):
    return (await client.post(f"/api/jobs/{job}/submit", **options)).json()["id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "body"),
    [
        ("GET", "/api/health", 200, JSON, '{"health":"OK"}'),
        ("POST", "/api/health", 404, "text/plain", "404 page not found"),
        ("GET", "/api/nothing", 404, "text/plain", "404 page not found"),
        ("GET", "/api/jobs", 200, JSON, '{"jobs":["noop-1","graph","long","fails-once"]}'),
        ("GET", "/api/jobs/nope", 404, JSON, '{"job":"","tasks":null,"dag":null,"schedule":"","active":false}'),
        ("POST", "/api/jobs/nope/submit", 404, JSON, '{"job":"nope","success":false,"submitted":""}'),
        ("POST", "/api/jobs/nope/toggle", 404, JSON, '{"job":"nope","success":false,"active":false}'),
        ("GET", "/api/jobs/noop-1/toggle", 404, "text/plain", "404 page not found"),
        ("GET", "/api/executions?jobname=nope", 200, JSON, '{"executions":[]}'),
        ("GET", "/api/executions?state=Successful", 200, JSON, '{"executions":[]}'),
        ("GET", "/api/jobruns?jobname=nope", 200, JSON, '{"jobruns":[]}'),
        ("GET", "/ui/jobs/nope", 404, "text/plain; charset=utf-8", "Not found"),
        ("GET", "/", 302, "text/html; charset=utf-8", '<a href="/ui/">Found</a>.\n\n'),
    ],
)
async def test_transcripts_of_goflow(method, path, status, kind, body):
    async with serving() as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (status, kind, body)
    assert "server" not in answer.headers


async def test_a_slash_too_many_is_redirected():
    async with serving() as client:
        get = await client.get("/api/health/")
        post = await client.post("/api/jobs/noop-1/submit/")
    assert (get.status_code, get.headers["location"]) == (301, "/api/health")
    assert (post.status_code, post.headers["location"], post.text) == (307, "/api/jobs/noop-1/submit", "")


async def test_an_execution_from_submit_to_its_record():
    async with serving() as client:
        answer = await client.post("/api/jobs/graph/submit", json={"params": {"day": "monday"}})
        assert re.fullmatch(
            rf'{{"job":"graph","success":true,"submitted":"{TIME}","id":"[0-9a-f-]{{36}}"}}', answer.text
        )
        record = await ended(client, answer.json()["id"])
        assert (record["state"], record["params"], record["reason"]) == ("successful", {"day": "monday"}, "")
        assert [(task["name"], task["state"], task["attempt"]) for task in record["tasks"]] == [
            ("b", "successful", 1),
            ("a", "successful", 1),
        ]
        text = (await client.get(f"/api/executions/{record['id']}")).text
        assert r'"result":"\u003c\u0026\u003e"' in text
        (listed,) = (await client.get("/api/executions?jobname=graph&state=successful")).json()["executions"]
        assert listed["tasks"] == [{"name": "b", "state": "successful"}, {"name": "a", "state": "successful"}]
        (run,) = (await client.get("/api/jobruns")).json()["jobruns"]
        assert run == {
            "job": "graph",
            "submitted": record["submitted"],
            "state": {"job": "successful", "tasks": {"state": {"a": "successful", "b": "successful"}}},
        }
        details = (await client.get("/api/jobs/graph")).json()
        assert list(details["dag"].items()) == [("a", []), ("b", ["a"])]
        assert details["tasks"] == ["b", "a"]


async def test_toggle_and_next():
    async with serving() as client:
        answer = await client.post("/api/jobs/noop-1/toggle")
        assert answer.text == '{"job":"noop-1","success":true,"active":true}'
        assert (await client.get("/api/jobs/noop-1")).json()["active"] is True
        upcoming = (await client.get("/api/jobs/noop-1/next?n=2")).json()["next"]
        assert [instant[4:] for instant in upcoming] == ["-01-01T00:00:00Z", "-01-01T00:01:00Z"]
        assert (await client.post("/api/jobs/noop-1/toggle")).json()["active"] is False


async def test_pages_of_executions_newest_first():
    async with serving() as client:
        ids = [await submit(client, "noop-1") for _ in range(5)]
        for execution in ids:
            await ended(client, execution)
        first = (await client.get("/api/executions?limit=3")).json()
        second = (await client.get(f"/api/executions?limit=3&cursor={first['next']}")).json()
        for path in (
            "/api/executions",
            "/api/runs",
        ):  # a wrong one is no first page, which a reader would take for ever
            refused = await client.get(f"{path}?limit=3&cursor=zzz")
            assert (refused.status_code, "cursor" in refused.json()["detail"]) == (400, True)
    assert [item["id"] for item in first["executions"] + second["executions"]] == ids[::-1]
    assert second["next"] is None


@pytest.mark.parametrize(
    "body",
    [b"{bad", b"[]", b'"x"', b'{"params":[]}', b'{"parms":{}}', b"\xff\xfe", b"[" * 5000],
)
async def test_a_malformed_body_is_refused_and_starts_nothing(body):
    async with serving() as client:
        answer = await client.post("/api/jobs/graph/submit", content=body)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        assert set(answer.json()) == {"type", "title", "status", "detail"}
        assert (await client.get("/api/executions")).json() == {"executions": []}


async def test_other_bad_requests_are_named():
    async with serving() as client:
        for path, status in (
            ("/api/executions?limit=0", 400),
            ("/api/executions/no", 404),
            ("/api/events?types=task.exploded", 400),
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert (await client.post("/api/jobs/graph/toggle")).status_code == 409
        assert (await client.post("/api/jobs/graph/submit", content=b" " * 2_000_000)).status_code == 413


async def test_an_idempotency_key_makes_one_execution():
    async with serving() as client:
        ids = {await submit(client, "noop-1", headers={"Idempotency-Key": "k"}) for _ in range(3)}
    assert len(ids) == 1


async def test_cancel_answers_when_nothing_is_left():
    async with serving() as client:
        execution = await submit(client, "long")
        waiting = (await client.get(f"/api/executions/{execution}/waiting")).json()
        assert waiting == {"waiting": []}
        (limit,) = (await client.get("/api/limits")).json()["limits"]
        assert limit == {
            "name": "tasks of the engine",
            "capacity": 1000,
            "used": 1,
            "waiting": 0,
            "heldBy": [f"{execution}/hang"],
        }
        assert (await client.get("/api/executions/nope/waiting")).status_code == 404
        gone = await client.post(f"/api/executions/{execution}/cancel", json={"task": "nope"})
        assert gone.status_code == 404
        receipt = (await client.post(f"/api/executions/{execution}/cancel", json={"reason": "enough"})).json()
        record = (await client.get(f"/api/executions/{execution}")).json()
    assert receipt.pop("seconds") < SOON
    assert receipt == {"tasks": 1, "processes": 0, "killed": 0, "threads_abandoned": 0}
    assert (record["state"], record["tasks"][0]["state"]) == ("cancelled", "cancelled")


class Sse:
    """What a browser's EventSource does, on a bare socket: HTTP/1.0, so that frames come as they were written."""

    def __init__(self, socket):
        self.socket = socket
        self.text = b""

    async def part(self, end):
        while end not in self.text:
            data = await self.socket.receive_some()
            assert data, "the stream ended"
            self.text += data
        part, self.text = self.text.split(end, 1)
        return part.decode()

    async def frame(self):
        frame = await self.part(b"\n\n")
        return await self.frame() if frame.startswith(":") else frame


@asynccontextmanager
async def listening(client, path, **headers):
    async with await trio.open_tcp_stream("127.0.0.1", client.base_url.port) as socket:
        lines = [f"GET {path} HTTP/1.0", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        await socket.send_all("\r\n".join([*lines, "", ""]).encode())
        sse = Sse(socket)
        sse.head = await sse.part(b"\r\n\r\n")
        yield sse


async def test_goflows_stream_is_pushed_in_goflows_frames():
    async with serving() as client, listening(client, "/stream?jobname=noop-1") as sse:
        assert "content-type: text/event-stream\r\n" in sse.head.lower()
        assert "cache-control: no-cache\r\n" in sse.head.lower()
        execution = await submit(client, "noop-1")
        await submit(client, "graph")
        states = []
        while "successful" not in states:
            event, data = (await sse.frame()).split("\n")
            assert event == "event:message"
            body = json.loads(data.removeprefix("data:"))
            assert body["id"] == execution
            states.append(body["state"])


async def test_the_stream_begins_with_what_happened_so_far():
    async with serving() as client:
        ids = [await submit(client, "noop-1") for _ in range(3)]
        for execution in ids:
            await ended(client, execution)
        async with listening(client, "/stream?history=2") as sse:
            seen = [json.loads((await sse.frame()).split("data:")[1])["id"] for _ in range(2)]
    assert seen == ids[1:]


async def test_typed_events_resume_where_a_reader_left_off():
    async with serving() as client:
        await ended(client, await submit(client, "graph"))
        async with listening(client, "/api/events?after=0") as sse:
            frames = [await sse.frame() for _ in range(7)]
        assert [frame.split("\n")[:2] for frame in frames][::6] == [
            ["id: 1", "event: execution.submitted"],
            ["id: 7", "event: execution.finished"],
        ]
        async with listening(client, "/api/events?types=task.*", Last_Event_ID="3") as sse:
            assert (await sse.frame()).startswith("id: 4\nevent: task.succeeded\ndata: {")
        async with listening(client, "/api/events?after=99") as sse:
            frame = await sse.frame()
        assert frame.startswith("id: 7\nevent: reset\n")
        assert len(json.loads(frame.split("data: ")[1])["executions"]) == 1


async def test_the_same_events_over_a_websocket():
    async with serving() as client:
        await ended(client, await submit(client, "graph"))
        url = str(client.base_url).replace("http", "ws") + "/api/ws?after=5"
        async with open_websocket_url(url) as socket:
            events = [json.loads(await socket.get_message()) for _ in range(2)]
    assert [event["seq"] for event in events] == [6, 7]


async def test_shutdown_does_not_wait_for_an_open_stream():
    """It would for ever: `serving` gives up before."""
    async with serving() as client, listening(client, "/stream"):
        pass


async def test_a_change_reaches_a_subscriber_at_once():
    ages = []
    async with serving() as client, listening(client, "/api/events?types=execution.finished") as sse:
        for _ in range(20):
            await submit(client, "noop-1")
            frame = json.loads((await sse.frame()).split("data: ")[1])
            ages.append((datetime.now(UTC) - datetime.fromisoformat(frame["at"])).total_seconds())
    assert statistics.median(ages) < 5, "long before the stream shows that it is there"


async def test_a_port_in_use_is_named_and_the_store_is_left_alone(tmp_path):
    async with serving() as client:
        gf = Goflow(f"sqlite:///{tmp_path}/never.db")
        with pytest.raises(UsageError, match="already in use"):
            await gf.serve(f"127.0.0.1:{client.base_url.port}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "bind"), [("127.0.0.1:80", ("127.0.0.1", 80)), (":8181", ("0.0.0.0", 8181)), ("[::1]:0", ("::1", 0))]
)
def test_addresses(text, bind):
    assert parse_bind(text) == bind


@pytest.mark.parametrize("text", ["", "8181", "host", "host:", "host:x", "host:99999", "::1:80", "a:b:1"])
def test_wrong_addresses(text):
    with pytest.raises(UsageError, match="write host:port"):
        parse_bind(text)


def test_odd_values_are_json_all_the_same():
    assert wire.encode({1: [float("nan"), b"\xff"], "x": (1,)}) == '{"1":[null,"�"],"x":[1]}'.encode()


async def test_a_failed_execution_runs_again_from_what_failed():
    async with serving() as client:
        execution = await submit(client, "fails-once")
        assert (await ended(client, execution))["state"] == "failed"
        for body, status in (({"from": "nowhere"}, 400), ({"task": "nope"}, 404), ({"form": "failed"}, 400)):
            answer = await client.post(f"/api/executions/{execution}/retry", json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        answer = await client.post(f"/api/executions/{execution}/retry")
        assert (answer.status_code, answer.json()["id"]) == (200, execution)
        record = await ended(client, execution)
        assert [(task["name"], task["attempt"]) for task in record["tasks"]] == [("good", 1), ("flaky", 2)]
        assert record["state"] == "successful"
        assert (await client.post(f"/api/executions/{execution}/retry")).status_code == 409
        assert (await client.post(f"/api/executions/{execution}/retry", json={"from": "start"})).status_code == 200
        assert (await client.post("/api/executions/nope/retry")).status_code == 404


async def test_wrong_parameters_are_422_with_an_error_for_each_and_the_schema_is_told():
    @attrs.frozen
    class Params:
        rows: int
        day: str = "today"

    typed = Job("typed", params=Params)
    typed.add(Task("a", Noop()))
    async with serving([typed]) as client:
        details = (await client.get("/api/jobs/typed")).json()
        assert details["paramsSchema"]["required"] == ["rows"]
        assert details["params"] == {"day": "today"}
        answer = await client.post("/api/jobs/typed/submit", json={"params": {"rows": [], "day": 1}})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert answer.json()["errors"] == {
            "rows": "parameter 'rows': expected `int`, got `array`",
            "day": "parameter 'day': expected `str`, got `int`",
        }
        answer = await client.post("/api/jobs/graph/submit", json={"params": {"dya": 1}})
        assert (answer.status_code, set(answer.json()["errors"])) == (422, {"dya"})
        execution = await submit(client, "typed", json={"params": {"rows": 3}})
        assert (await ended(client, execution))["params"] == {"rows": 3, "day": "today"}
