"""What a task printed, by ranges; and answering what a task asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio

from goflow_trio import Approve, Command, Job, Task
from goflow_trio.core.output import OutputPiece, OutputSlice
from goflow_trio.web.tasks import _cut_apart, find_lines, find_marks
from tests.web.test_api import ended, serving, submit

TEXT = "äöü " * 200


def jobs():
    printing = Job("printing")
    printing.add(Task("say", Command("printf", ["%s", TEXT])))
    asking = Job("asking")
    asking.add(Task("ask", Approve("Go?")))
    return printing, asking


@pytest.fixture
async def log():
    """A function that reads the log of an execution that printed `TEXT`."""
    async with serving(more=jobs()) as client:
        execution = await submit(client, "printing")
        await ended(client, execution)

        async def read(query="", **headers):
            path = f"/api/executions/{execution}/tasks/say/log{query}"
            return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

        yield read


async def test_the_whole_log(log):
    body = (await log()).json()
    size = len(TEXT.encode())
    (mark,) = body.pop("marks")
    assert (mark["line"], mark["stream"]) == (1, "stdout")
    assert body == {
        "attempt": 1,
        "offset": 0,
        "nextOffset": size,
        "total": size,
        "kept": [[0, size]],
        "truncated": False,
        "finished": True,
        "line": 1,
        "text": TEXT,
    }


async def test_ranges_never_cut_a_character_apart(log):
    text, offset = "", 0
    while offset < len(TEXT.encode()):
        body = (await log(f"?offset={offset}&limit=6")).json()
        assert "\ufffd" not in body["text"]
        text += body["text"]
        offset = body["nextOffset"]
    assert text == TEXT
    for tail in range(1, 9):
        body = (await log(f"?tail={tail}")).json()
        assert TEXT.endswith(body["text"])
        assert body["offset"] + len(body["text"].encode()) == body["nextOffset"] == body["total"]


async def test_the_bytes_themselves(log):
    answer = await log("?format=text&offset=1&limit=3")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == TEXT.encode()[1:4]
    assert (answer.headers["goflow-offset"], answer.headers["goflow-next-offset"]) == ("1", "4")


async def test_all_of_a_long_log_is_searched_by_line_and_a_flood_tells_what_is_gone():
    lines = [f"line {number} {'Needle' if number % 1000 == 0 else 'hay'} äöü" for number in range(1, 200_001)]
    job = Job("wordy")
    job.add(Task("say", lambda context: context.write(("\n".join(lines) + "\n").encode())))
    async with serving(more=[job]) as client:
        execution = await submit(client, "wordy")
        await ended(client, execution)
        path = f"/api/executions/{execution}/tasks/say/log"
        answer = (await client.get(f"{path}/search?search=needle&limit=3")).json()
        assert (answer["attempt"], answer["truncated"], answer["finished"]) == (1, True, True)
        assert [(hit["line"], hit["text"]) for hit in answer["hits"]] == [(n, lines[n - 1]) for n in (1000, 2000, 3000)]
        assert 60 < answer["total"] < 100
        hits = (await client.get(f"{path}/search?search=needle")).json()["hits"]
        assert len(hits) == answer["total"]
        for hit in (hits[0], hits[-1]):  # on either side of what is gone
            part = (await client.get(f"{path}?offset={hit['offset']}&limit=60")).json()
            assert (part["line"], part["text"].split("\n")[0]) == (hit["line"], hit["text"])
        assert (await client.get(f"{path}/search?search=nowhere")).json()["hits"] == []
        assert (await client.get(f"{path}/search")).status_code == 400
        assert (await client.get(f"{path}/search?search=x&attempt=9")).status_code == 400


@pytest.mark.parametrize(
    ("data", "wanted", "found"),
    [
        (b"", b"x", []),
        (b"one\ntwo x X\n\nx", b"X", [(1, 4, "two x X"), (3, 13, "x")]),
        (b"y" * 2000 + b"Z" + b"y" * 2000, b"z", [(0, 0, "y" * 125 + "Z" + "y" * 374)]),
    ],
)
def test_a_line_is_found_once_and_cut_around_what_was_looked_for(data, wanted, found):
    assert find_lines(data, wanted, 9) == (found, len(found))


@pytest.mark.parametrize(
    ("asked", "begin", "end"), [("bytes=0-9", 0, 10), ("bytes=1390-", 1390, 1400), ("bytes=-5", 1395, 1400)]
)
async def test_ranges_as_http_has_them(log, asked, begin, end):
    answer = await log(Range=asked)
    assert (answer.status_code, answer.content) == (206, TEXT.encode()[begin:end])
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/1400"


@pytest.mark.parametrize("asked", ["bytes=1400-", "bytes=5-2"])
async def test_ranges_where_nothing_is(log, asked):
    answer = await log(Range=asked)
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */1400")


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=-", "bytes=0-1,3-4", "x" * 1000])
async def test_a_range_that_is_none_is_ignored(log, asked):
    assert (await log(Range=asked)).status_code == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [("?attempt=7", 400), ("?attempt=0", 400), ("?offset=-1", 400), ("?limit=x", 400), ("?offset=9999999", 200)],
)
async def test_what_cannot_be_asked_for(log, query, status):
    assert (await log(query)).status_code == status


async def test_logs_of_nothing():
    async with serving(more=jobs()) as client:
        execution = await submit(client, "noop-1")
        assert (await client.get(f"/api/executions/{execution}/tasks/nope/log")).status_code == 404
        assert (await client.get("/api/executions/nope/tasks/t00000/log")).status_code == 404


@pytest.mark.parametrize(
    ("data", "cut"),
    [(b"", 0), (b"a", 0), ("ä".encode(), 0), (b"a\xc3", 1), (b"\xe2\x82", 2), (b"\xf0\x9f\x98", 3), (b"\x80" * 9, 0)],
)
def test_a_character_cut_apart(data, cut):
    assert _cut_apart(data) == cut


async def test_an_approval():
    async with serving(more=jobs()) as client:
        execution = await submit(client, "asking")
        path = f"/api/executions/{execution}/tasks/ask/approve"
        while True:
            details = (await client.get(f"/api/executions/{execution}")).json()
            if details["tasks"][0]["waiting"] == "approval":
                break
            await trio.sleep(0.01)
        assert (await client.post(path, json={"aproved": True})).status_code == 400
        answer = await client.post(path, json={"approved": True, "comment": "go"})
        assert answer.json() == {"execution": execution, "task": "ask", "approved": True, "by": ""}
        assert (await ended(client, execution))["state"] == "successful"
        assert (await client.post(path)).status_code == 409
        assert (await client.post(path.replace("ask/", "nope/"))).status_code == 404


async def test_a_schedule_is_paused_and_resumed():
    async with serving() as client:
        await client.post("/api/jobs/noop-1/toggle")
        answer = await client.post("/api/jobs/noop-1/pause", json={"until": "2100-01-01T00:00:00+01:00"})
        assert answer.json() == {"job": "noop-1", "active": False, "pausedUntil": "2099-12-31T23:00:00Z"}
        answer = await client.post("/api/jobs/noop-1/resume")
        assert answer.json() == {"job": "noop-1", "active": True, "pausedUntil": None}
        for body in ({"until": "2100-01-01T00:00:00"}, {"until": "soon"}, {"until": "2001-01-01T00:00:00Z"}, {"x": 1}):
            assert (await client.post("/api/jobs/noop-1/pause", json=body)).status_code == 400
        assert (await client.post("/api/jobs/graph/pause")).status_code == 409
        assert (await client.post("/api/jobs/nope/resume")).status_code == 404


async def test_a_backfill_over_the_api():
    async with serving() as client:
        wish = {"since": "2025-01-01T00:00:00Z", "until": "2025-01-01T00:03:00Z", "limit": 3}
        answer = await client.post("/api/jobs/noop-1/backfill", json=wish)
        assert (answer.status_code, answer.json()["total"]) == (200, 3)
        while True:
            (one,) = (await client.get("/api/jobs/noop-1/backfills")).json()["backfills"]
            if one["state"] != "running":
                break
            await trio.sleep(0.02)
        assert (one["id"], one["successful"], one["since"]) == (answer.json()["id"], 3, "2025-01-01T00:00:00Z")
        again = (await client.post(f"/api/backfills/{one['id']}/cancel")).json()
        assert again["state"] == "done"
        assert (await client.post("/api/backfills/nope/cancel")).status_code == 404
        for wrong in ({}, {**wish, "until": "2024-01-01T00:00:00Z"}, {**wish, "limit": 0}, {**wish, "since": "x"}):
            assert (await client.post("/api/jobs/noop-1/backfill", json=wrong)).status_code == 400
        assert (await client.post("/api/jobs/nope/backfill", json=wish)).status_code == 404


async def test_a_submit_at_an_instant_waits_for_it():
    async with serving() as client:
        execution = await submit(client, "noop-1", json={"at": "2100-01-01T00:00:00+01:00"})
        record = (await client.get(f"/api/executions/{execution}")).json()
        assert (record["state"], record["scheduledFor"]) == ("notstarted", "2099-12-31T23:00:00Z")
        assert (await client.post("/api/jobs/noop-1/submit", json={"at": "2100-01-01"})).status_code == 400


def test_lines_have_the_time_and_the_stream_of_their_first_byte():
    parts = [
        (b"one\ntw", "stdout", 0.0),
        (b"o", "stderr", 0.1),  # no line begins in it
        (b"\n", "stderr", 0.2),
        (b"three\nfour\n", "stderr", 0.3),
        (b"five\n", "stderr", 0.9),  # the same second
        (b"six\n", "stderr", 1.0),
        (b"sev", "stdout", 1.1),
        (b"en\neight", "stderr", 1.2),
    ]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    pieces, data = [], b""
    for text, stream, at in parts:
        pieces.append(OutputPiece(100 + len(data), len(text), start + timedelta(seconds=at), stream))
        data += text
    kept = ((100, 100 + len(data)),)
    found = OutputSlice(1, 100, 100 + len(data), kept, finished=True, data=data, pieces=tuple(pieces), line=41)
    marks = [(mark.line, mark.at, mark.stream) for mark in find_marks(found)]
    assert marks == [
        (41, "2026-01-01T00:00:00Z", "stdout"),
        (43, "2026-01-01T00:00:00.3Z", "stderr"),
        (46, "2026-01-01T00:00:01Z", "stderr"),
        (47, "2026-01-01T00:00:01.1Z", "stdout"),
        (48, "2026-01-01T00:00:01.2Z", "stderr"),
    ]
    flood = [OutputPiece(2 * n, 2, start + timedelta(seconds=n), "log") for n in range(3000)]
    found = OutputSlice(1, 0, 6000, ((0, 6000),), finished=True, data=b"x\n" * 3000, pieces=tuple(flood))
    assert [mark.line for mark in find_marks(found)] == list(range(1001, 3001)), "the last ones"
