"""The client against a real server: every method, every error, and events that come once whatever breaks."""

from __future__ import annotations

import gc
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import httpx2
import pytest
import trio
from msgspec.structs import fields

import goflow_trio.client
from goflow_trio import Approve, Goflow, Job, Security, Task, UsageError
from goflow_trio.client import (
    Client,
    Forbidden,
    Missing,
    Ready,
    Refused,
    Submission,
    Unauthorized,
    Unavailable,
    Unreachable,
    open_client,
    records,
)
from goflow_trio.client.asking import Asking, error_of
from goflow_trio.errors import GoflowError, NotFound
from goflow_trio.web import operating, shapes
from goflow_trio.web.app import ROUTES
from goflow_trio.web.guard import routes as guard
from tests.patience import SOON


def jobs():
    etl = Job("etl/ü", schedule="@daily", params={"x": 1})

    @etl.task
    def load(context):
        context.log("loading\n" * 3)
        if context.params["x"] == 13:
            raise ValueError("unlucky")
        return context.params["x"]

    long = Job("long")
    long.add(Task("hang", trio.sleep_forever))
    asking = Job("asking")
    asking.add(Task("ask", Approve("really?")))
    return etl, long, asking


def make_goflow(store="memory://", **options):
    gf = Goflow(store, **options)
    for job in jobs():
        gf.add_job(job)
    return gf


@asynccontextmanager
async def serving(gf, bind="127.0.0.1:0"):
    with trio.fail_after(3 * SOON):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(partial(gf.serve, bind, grace=0))
            yield url
            nursery.cancel_scope.cancel()


@pytest.fixture
async def client(nursery):
    (url,) = await nursery.start(partial(make_goflow().serve, "127.0.0.1:0", grace=0))
    with trio.fail_after(SOON):
        async with open_client(url + "/") as client:
            yield client
    nursery.cancel_scope.cancel()


async def test_jobs(client):
    assert await client.jobs() == ["etl/ü", "long", "asking"]
    job = await client.job("etl/ü")
    assert (job.name, job.tasks, job.schedule, job.active, job.params) == ("etl/ü", ["load"], "@daily", False, {"x": 1})
    first, second = await client.next("etl/ü", 2)
    assert datetime.now(UTC) < first < second
    assert await client.toggle("etl/ü") is True
    assert (await client.pause("etl/ü", datetime(2099, 1, 1, tzinfo=UTC))).paused_until.year == 2099
    assert (await client.resume("etl/ü")).active
    assert (await client.health()).health == "OK"
    assert (await client.session()).role == "operate"


async def test_executions(client):
    good = await client.run("etl/ü", {"x": 2})
    assert (good.state, good["load"].result, good["load"].attempts[0].number) == ("successful", 2, 1)
    with pytest.raises(KeyError):
        good["nope"]
    bad = await client.run("etl/ü", {"x": 13})
    assert (bad.state, bad["load"].error.message) == ("failed", "unlucky")
    again = await client.retry(bad.id)
    assert (await client.wait(again.id)).reopenings
    submitted = await client.submit("etl/ü", idempotency_key="k")
    assert (await client.submit("etl/ü", idempotency_key="k")).id == submitted.id
    many = await client.submit_many([Submission("etl/ü", {"x": n}) for n in range(5)])
    for one in many:
        await client.wait(one.id)
    listed = [execution.id async for execution in client.executions("etl/ü")]
    assert listed[:5] == sorted((one.id for one in many), reverse=True)
    assert [execution.id async for execution in client.executions(state="failed")] == [bad.id]
    assert len([execution async for execution in client.executions(limit=3)]) == 3
    stats = await client.stats("etl/ü")
    assert (stats.executions, stats.states["failed"]) == (8, 1)


async def test_listings_go_from_page_to_page(client, monkeypatch):
    monkeypatch.setattr("goflow_trio.client.client._PAGE", 3)
    many = await client.submit_many([Submission("etl/ü")] * 8)
    for limit in (None, 8, 7, 3, 2):
        found = [execution.id async for execution in client.executions(limit=limit)]
        assert found == sorted((one.id for one in many), reverse=True)[:limit]


async def test_cancel_approve_and_logs(client):
    execution = (await client.submit("long")).id
    assert await client.waiting(execution) == []
    receipt = await client.cancel(execution)
    assert (receipt.tasks, receipt.processes, receipt.killed, receipt.threads_abandoned) == (1, 0, 0, 0)
    assert (await client.execution(execution)).reason == "cancelled over the API"
    asked = (await client.submit("asking")).id
    async with client.events(after=0, execution=asked, types="task.*") as events:
        await anext(events)
    assert (await client.approve(asked, "ask", comment="yes")).approved
    assert (await client.wait(asked)).state == "successful"
    done = await client.run("etl/ü")
    log = await client.log(done.id, "load")
    assert (log.total, log.finished, log.attempt) == (24, True, 1)
    assert (await client.log(done.id, "load", tail=8)).text == "loading\n"
    found = await client.search_log(done.id, "load", "LOAD", limit=2)
    assert (found.total, [(hit.line, hit.text) for hit in found.hits]) == (3, [(1, "loading"), (2, "loading")])
    assert "".join([part.text async for part in client.follow_log(done.id, "load")]) == "loading\n" * 3


async def test_what_the_server_refuses_is_an_error_with_its_reason(client):
    for call in (client.job("no"), client.submit("no"), client.execution("no"), client.cancel("no"), client.next("no")):
        with pytest.raises(Missing, match="no") as error:
            await call
        assert isinstance(error.value, NotFound)
    with pytest.raises(Refused, match="its parameters are: x"):
        await client.submit("etl/ü", {"y": 1})
    with pytest.raises(Refused):
        async with client.events(types=["nonsense"]):
            pass
    with pytest.raises(RuntimeError, match="mine"):  # bare, not in a group
        async with open_client(client._asking.url):
            raise RuntimeError("mine")


async def test_where_no_server_is():
    async with open_client("http://127.0.0.1:1") as client:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
            await client.jobs()
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
            async with client.events():
                pass
        with pytest.raises(Unreachable):
            await anext(client.events())
    for url, token in (("127.0.0.1:80", None), ("ftp://x", None), ("http://x", "a\nb"), ("http://x", "")):
        with pytest.raises(UsageError):
            async with open_client(url, token):
                pass


async def test_what_answers_may_be_none_of_ours(nursery):
    async def something_else(stream):
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    (listener,) = await nursery.start(partial(trio.serve_tcp, something_else, 0, host="127.0.0.1"))
    async with open_client(f"http://127.0.0.1:{listener.socket.getsockname()[1]}") as client:
        with pytest.raises(Unreachable, match="no server of ours"):
            await client.jobs()
        with pytest.raises(GoflowError):
            async with client.events():
                pass
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed before there was an answer"),
        (b"H", "closed before there was an answer"),
        (b"HTTP/1.1 101 \r\nupgrade: WebSo", "closed before there was an answer"),
        (b"HTTP/1.1 503 x\r\ncontent-length: 9\r\n\r\nha", "closed before there was an answer"),
        (b"HTTP/1.1 101 x\r\nupgrade: websocket\r\n\r\n", "no server answers"),
        (b"SSH-2.0-server\r\n\r\n", "no server answers"),
    ],
)
async def test_a_server_that_leaves_in_the_middle_of_its_answer_is_noticed_at_once(nursery, answer, says):
    """So is one whose answer is none: what h11 raises about it ends nothing but this connection."""
    asked = 0

    async def cut_short(stream):
        nonlocal asked
        asked += 1
        await stream.receive_some()
        await stream.send_all(answer)
        await trio.aclose_forcefully(stream)

    (listener,) = await nursery.start(partial(trio.serve_tcp, cut_short, 0, host="127.0.0.1"))
    async with open_client(f"http://127.0.0.1:{listener.socket.getsockname()[1]}") as client:
        with trio.fail_after(SOON):
            with pytest.raises(Unreachable, match=says):
                async with client.events():
                    pass
            with pytest.raises((Unreachable, Unavailable)):
                await client.jobs()
    assert asked == 2
    nursery.cancel_scope.cancel()


async def test_tokens(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("read read-token-0123456789 bob\noperate operate-token-0123456789 alice")
    file.chmod(0o600)
    async with serving(make_goflow(security=Security(token_file=file))) as url:
        for token in (None, "wrong"):
            async with open_client(url, token) as client:
                with pytest.raises(Unauthorized):
                    await client.jobs()
                with pytest.raises(Unauthorized):
                    async with client.events():
                        pass
        async with open_client(url, "read-token-0123456789") as client:
            assert (await client.session()).name == "bob"
            with pytest.raises(Forbidden, match="operate"):
                await client.submit("long")
            async with client.events():
                pass
        async with open_client(url, "operate-token-0123456789") as client:
            execution = (await client.submit("long")).id
            await client.cancel(execution)
            assert (await client.execution(execution)).reason == "cancelled by alice"


async def test_events_that_nobody_holds_end(client):
    events = client.events()
    async with events:
        pass
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    forgotten = client.events(after=0)
    execution = await client.submit("etl/ü")
    assert (await anext(forgotten)).execution == execution.id
    del forgotten
    gc.collect()
    await client.run("etl/ü")
    with trio.fail_after(SOON):
        while client._nursery.child_tasks:  # noqa: ASYNC110
            await trio.sleep(0.01)


class Cutting:
    """A proxy that cuts its connections on demand."""

    def __init__(self):
        self.port = 0
        self.scopes = []
        self.opened = trio.Event()
        self.connections = 0

    async def run(self, task_status):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, self.serve, 0, host="127.0.0.1"))
            self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            task_status.started()

    async def serve(self, stream):
        self.connections += 1
        self.opened.set()
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            try:
                async with stream, await trio.open_tcp_stream("127.0.0.1", self.port) as other:
                    await self.join(stream, other)
            except* OSError:
                pass

    async def join(self, one, other):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.copy, one, other, nursery)
            nursery.start_soon(self.copy, other, one, nursery)

    async def copy(self, source, sink, nursery):
        try:
            async for data in source:
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass
        nursery.cancel_scope.cancel()

    def cut(self):
        self.opened = trio.Event()
        for scope in self.scopes:
            scope.cancel()
        self.scopes.clear()


@pytest.mark.parametrize("cuts", [40, pytest.param(300, marks=pytest.mark.slow)])
async def test_each_event_comes_once_in_order_whatever_breaks(tmp_path, cuts, monkeypatch, patient):
    """Killed connections during load, and a restart of the server; then its fold is what the API says."""
    monkeypatch.setattr("goflow_trio.client.events._FIRST_DELAY", 0.01)
    monkeypatch.setattr("goflow_trio.client.events._LONGEST_DELAY", 0.2)
    store = f"sqlite:///{tmp_path}/x.db"
    proxy = Cutting()
    seen, ids = [], []

    async def follow(events):
        async for event in events:
            seen.append(event)

    async def load(direct):
        for _ in range(cuts // 2):
            ids.extend(one.id for one in await direct.submit_many([Submission("etl/ü")] * 3))
            with trio.fail_after(SOON):
                await proxy.opened.wait()
            await trio.sleep(0.01)
            proxy.cut()

    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        async with open_client(proxy.url) as client:
            for run in range(2):
                async with serving(make_goflow(store)) as url, open_client(url) as direct:
                    proxy.port = int(url.rsplit(":", 1)[1])
                    if run == 0:
                        nursery.start_soon(follow, client.events(after=0))
                    await load(direct)
                    if run == 1:
                        api = {}  # what ran when the first server ended was cut off, and has failed
                        while not api or set(api.values()) - {"successful", "failed"}:
                            await trio.sleep(0.1)
                            api = {one.id: one.state async for one in direct.executions()}
                        with trio.fail_after(SOON):
                            while sum(event.type == "execution.finished" for event in seen) < len(ids):  # noqa: ASYNC110
                                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    durable = [event.seq for event in seen if event.type not in {"task.output", "task.progress"}]
    assert durable == list(range(1, len(durable) + 1)), "each once, in order, none missing"
    fold = {event.execution: event.details["state"] for event in seen if event.type == "execution.finished"}
    assert fold == api
    assert set(api) == set(ids)
    print(f"{proxy.connections} connections, {len(durable)} events, {len(ids)} executions")
    assert proxy.connections >= cuts


async def test_a_position_the_log_does_not_have_is_a_reset(client):
    execution = await client.run("etl/ü")
    async with client.events(after=10**9) as events:
        reset = await anext(events)
        assert (reset.type, [one.id for one in reset.executions]) == ("reset", [execution.id])
        again = await client.submit("etl/ü")
        assert (await anext(events)).execution == again.id


async def test_backfills():
    asked = []
    body = {"id": "b", "job": "etl", "since": "2026-01-01T00:00:00Z", "until": "2026-01-03T00:00:00Z", "total": 2}

    def answer(request):
        asked.append((request.method, request.url.path, json.loads(request.content or b"null")))
        return httpx2.Response(
            202 if request.method == "POST" else 200, json=body if len(asked) == 1 else {"backfills": [body]}
        )

    http = httpx2.AsyncClient(base_url="http://x", transport=httpx2.MockTransport(answer))
    async with http, trio.open_nursery() as nursery:
        client = Client(Asking(http, "http://x"), {}, None, nursery)
        begun = await client.backfill("etl", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
        assert await client.backfills("etl") == [begun]
    assert (begun.total, begun.present, begun.state) == (2, 0, "running")
    wish = {"since": "2026-01-01T00:00:00+00:00", "until": "2026-01-03T00:00:00+00:00", "limit": None}
    assert asked == [("POST", "/api/jobs/etl/backfill", wish), ("GET", "/api/jobs/etl/backfills", None)]


def test_errors_by_status():
    assert isinstance(error_of(503, "x", "7"), goflow_trio.client.Unavailable)
    assert error_of(503, "x", "7").retry_after == 7
    assert (type(error_of(409, "x")), error_of(409, "x").status) == (Refused, 409)


METHODS = {
    "health": "health",
    "ready": "ready",
    "list_limits": "limits",
    "metrics": "metrics",
    "drain": "drain",
    "session": "session",
    "list_jobs": "jobs",
    "job_details": "job",
    "next_instants": "next",
    "job_stats": "stats",
    "toggle": "toggle",
    "pause": "pause",
    "resume": "resume",
    "pause_schedules": "pause_schedules",
    "resume_schedules": "resume_schedules",
    "backfill": "backfill",
    "list_backfills": "backfills",
    "cancel_backfill": "cancel_backfill",
    "submit": "submit",
    "submit_batch": "submit_many",
    "list_executions": "executions",
    "execution_details": "execution",
    "waiting": "waiting",
    "cancel": "cancel",
    "retry": "retry",
    "approve": "approve",
    "read_log": "log",
    "search_log": "search_log",
    "events_over_websocket": "events",
}
NO_METHOD = {
    "list_job_runs": "Goflow's older form of what `executions` gives",
    "goflow_stream": "Goflow's form of what `events` gives",
    "events": "as `events`, which comes over the WebSocket",
    "login": "for browsers; the client sends its token",
    "logout": "for browsers",
    "run_by_webhook": "for programs that have nothing but the token of one job, and no client",
    "openapi": "for programs that write clients",
    "docs_page": "for people",
    "docs_script": "part of that page",
    "docs_style": "part of that page",
    "overview": "made for the dashboard, and changes with it",
    "system": "made for the dashboard, and changes with it",
    "list_runs": "made for the dashboard, and changes with it",
    "job_grid": "made for the dashboard, and changes with it",
    "job_calendar": "made for the dashboard, and changes with it",
    "execution_context": "made for the dashboard, and changes with it",
}


def test_the_client_has_a_method_for_each_operation_or_a_reason_not_to():
    operations = {route.name for group in ROUTES for route in group.routes}
    assert operations == {*METHODS, *NO_METHOD}
    assert not METHODS.keys() & NO_METHOD.keys()
    assert [name for name in METHODS.values() if not hasattr(Client, name)] == []


ANSWERS = {
    name: (getattr(server, theirs), getattr(records, name))
    for server, names in {shapes: vars(shapes), operating: ["Draining"], guard: ["Session"]}.items()
    for theirs in names
    if hasattr(records, name := {"JobDetails": "Job", "TaskSummary": "Task"}.get(theirs, theirs))
    and getattr(getattr(server, theirs), "__module__", "") == server.__name__
}
SAID_BY_AN_ERROR = {"Submitted": {"success"}}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_client_has_each_field_of_an_answer(name):
    told, known = ({field.encode_name for field in fields(shape)} for shape in ANSWERS[name])
    assert told - SAID_BY_AN_ERROR.get(name, set()) == known


async def test_the_server(client):
    assert await client.ready() == Ready(ready=True, cause=None)
    (engine, *_) = await client.limits()
    assert (engine.name, engine.used, engine.waiting) == ("tasks of the engine", 0, 0)
    assert "goflow_subscribers 0" in await client.metrics()
    submitted = await client.submit("long")
    drained = await client.drain()
    assert (drained.draining is not None, drained.executions) == (True, 1)
    assert not (await client.ready()).ready
    with pytest.raises(Unavailable):
        await client.submit("long")
    assert (await client.drain(draining=False)).draining is None
    await client.cancel(submitted.id, force=True)


async def test_schedules_of_many_jobs(client):
    assert await client.resume_schedules() == ["etl/ü"]
    assert await client.pause_schedules(["etl/ü"], datetime(2099, 1, 1, tzinfo=UTC)) == ["etl/ü"]
    assert await client.pause_schedules() == []


async def test_a_submit_for_later_and_listings_of_a_time(client):
    instant = datetime(2099, 1, 1, tzinfo=UTC)
    later = await client.execution((await client.submit("etl/ü", at=instant)).id)
    (many,) = await client.submit_many([Submission("etl/ü", at=instant)])
    assert (later.trigger, later.scheduled_for) == ("at", instant)
    now = datetime.now(UTC)
    assert [one.id async for one in client.executions(until=now)] == [many.id, later.id]
    assert [one.id async for one in client.executions(since=now)] == []
    for one in (later, many):
        await client.cancel(one.id)


async def test_a_backfill_is_followed_to_its_end_or_ended(client):
    begun = await client.backfill("etl/ü", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC))
    *_, last = [one async for one in client.follow_backfill(begun)]
    assert (last.state, last.successful, last.total) == ("done", 3, 3)
    assert await client.cancel_backfill(begun.id) == last
    with pytest.raises(Missing):
        await client.cancel_backfill("nope")
