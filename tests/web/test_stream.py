"""The streams are exact: who comes back gets what it missed, once and in order, or is told. A crowd costs little."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest
import trio
from trio_websocket import open_websocket_url

from goflow_trio.core import limits
from goflow_trio.core.messages import TaskOutput, TaskStarted
from goflow_trio.web import stream
from goflow_trio.web.fanout import Fanout
from tests.web.test_api import ended, listening, serving, submit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def data(frame):
    return json.loads(frame.split("data: ")[1])


async def test_a_reader_that_saw_nothing_yet_knows_where_to_go_on():
    async with serving() as client:
        await ended(client, await submit(client, "noop-1"))
        async with listening(client, "/api/events") as sse:
            first = await sse.part(b"\n\n")
        assert first.split("\n") == [":", "id: 5", "retry: 1000"]


async def test_a_heartbeat_says_where_to_go_on_past_what_is_not_wanted(monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.2)
    async with serving() as client, listening(client, "/api/events?job=graph") as sse:
        await sse.part(b"\n\n")
        await ended(client, await submit(client, "noop-1"))
        while (beat := await sse.part(b"\n\n")) == ":\nid: 0":
            pass
        assert beat == ":\nid: 5"


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30, "%D9%A1", "99", "%00", "%F0%9F%98%80", "<img>"])
async def test_a_position_that_is_none_is_answered_with_a_reset(after):
    async with serving() as client:
        for job in ("noop-1", "graph"):
            await ended(client, await submit(client, job))
        async with listening(client, f"/api/events?after={after}&job=graph") as sse:
            assert "id:" not in (await sse.part(b"\n\n")) or after == "99"
            frame = await sse.frame()
            assert frame.startswith("id: 12\nevent: reset\n")
            assert [one["job"] for one in data(frame)["executions"]] == ["graph"]
            assert data(frame)["reason"]
        url = str(client.base_url).replace("http", "ws") + f"/api/ws?after={after}"
        async with open_websocket_url(url) as socket:
            body = json.loads(await socket.get_message())
            assert (body["type"], body["seq"], len(body["executions"])) == ("reset", 12, 2)


async def test_a_garbled_last_event_id_is_a_reset_too():
    async with serving() as client:
        await ended(client, await submit(client, "noop-1"))
        async with listening(client, "/api/events?after=0", Last_Event_ID="garbage") as sse:
            assert (await sse.frame()).startswith("id: 5\nevent: reset\n")


async def test_one_subscriber_too_many_is_turned_away(monkeypatch):
    monkeypatch.setattr(limits, "SUBSCRIBERS", 1)
    async with serving() as client:
        async with listening(client, "/api/events") as sse:
            await sse.part(b"\n\n")
            for path in ("/api/events", "/stream"):
                answer = await client.get(path)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert "subscriptions are open" in answer.json()["detail"]
        while True:  # the server notices that the reader left
            async with listening(client, "/stream") as sse:
                if " 200 " in sse.head:
                    break


async def test_readers_that_are_few_are_written_to_at_once(autojump_clock):
    pace = Fanout().pace()
    with pace.reading():
        for _ in range(3):
            await trio.sleep(1)
            begun = trio.current_time()
            await pace.wait()
            assert trio.current_time() == begun
        await pace.wait()
        assert trio.current_time() - begun == pytest.approx(0.002)


async def test_a_crowd_is_written_to_in_turns_and_seldom(autojump_clock):
    fanout = Fanout()
    paces = [fanout.pace() for _ in range(1000)]
    times = []

    async def read(pace):
        with pace.reading():
            await trio.sleep(1)
            for _ in range(3):
                await pace.wait()
                times.append(trio.current_time())

    begun = trio.current_time() + 1
    async with trio.open_nursery() as nursery:
        for pace in paces:
            nursery.start_soon(read, pace)
    assert max(times[:1000]) - begun < 0.51
    assert 9 < max(times) - begun < 16  # three writes each, five seconds between on the average
    spread = sorted(times[:1000])
    assert max(following - one for one, following in pairwise(spread)) < 0.01


async def test_who_is_stuck_does_not_slow_down_others(autojump_clock):
    fanout = Fanout()
    stuck = [fanout.pace() for _ in range(1000)]
    for pace in stuck:
        pace.reading().__enter__()
        pace.writing().__enter__()
    pace = fanout.pace()
    with pace.reading():
        begun = trio.current_time()
        for _ in range(10):
            await pace.wait()
        assert trio.current_time() - begun < 0.1


@pytest.mark.parametrize("kind", ["events", "frames"])
def test_events_are_joined_as_they_are_one_by_one(kind):
    form = getattr(Fanout(), kind)
    events = [TaskStarted(NOW, "j", "x", 1, f"t{number}", 1) for number in range(300)]
    for seq, event in enumerate(events, start=1):
        event.seq = seq
    live = TaskOutput(NOW, "j", "x", 0, "t", 1, text="hi")
    live.seq = 300
    alone = [form.one(event) for event in events]
    for first in (0, 1, 62, 63, 64, 127):
        for last in (128, 129, 192, 300):
            assert form.many(events[first:last]) == b"".join(alone[first:last])
    assert form.many(events[::2]) == b"".join(alone[::2])
    assert form.many([*events, live]) == b"".join([*alone, form.one(live)])
    assert form.many([events[-1], live]) == alone[-1] + form.one(live)
