"""A client that is cut off again and again, and outlives restarts of the server, sees every event once, in order."""

from __future__ import annotations

import json
import random

import trio

from tests.patience import SOON
from tests.web.test_api import serving, submit

EXECUTIONS = 60
KILLS = 150


class Client:
    """Keeps what it saw, and nothing else, from one connection to the next."""

    def __init__(self):
        self.position = 0
        self.events = []
        self.resets = 0

    async def read(self, client, frames, seconds):
        """Connect, read some frames, and drop the connection in the middle of whatever comes then."""
        before = len(self.events)
        async with await trio.open_tcp_stream("127.0.0.1", client.base_url.port) as socket:
            request = f"GET /api/events HTTP/1.0\r\nHost: 127.0.0.1\r\nLast-Event-ID: {self.position}\r\n\r\n"
            await socket.send_all(request.encode())
            text = b""
            with trio.move_on_after(seconds):
                while len(self.events) - before < frames:
                    data = await socket.receive_some(random.randrange(1, 2000))
                    if not data:
                        break
                    *whole, text = (text + data).split(b"\n\n")
                    for frame in whole:
                        self.take(frame.decode())
            await trio.aclose_forcefully(socket)

    def take(self, frame):
        fields = dict(
            line.split(": ", 1) for line in frame.splitlines() if ": " in line and not line.startswith("HTTP")
        )
        if "data" in fields:
            event = json.loads(fields["data"])
            assert int(fields["id"]) == event["seq"]
            if event["type"] == "task.output":  # told live, and not kept
                return
            self.resets += event["type"] == "reset"
            self.events.append(event)
            self.position = event["seq"]


def fold(events):
    """Return the state of each execution and of its tasks, as events tell it."""
    words = {"started": "running", "succeeded": "successful", "retry_scheduled": "upforretry"}
    states = {}
    for event in events:
        kind, _, what = event["type"].partition(".")
        state = states.setdefault(event["execution"], {"": "notstarted"})
        if kind == "task":
            state[event["task"]] = words.get(what, what)
        elif what in {"started", "finished"}:
            state[""] = event.get("state", "running")
    return states


async def test_each_event_once_and_in_order_through_300_kills_and_a_restart(tmp_path, patient):
    reader = Client()

    async def load(client):
        for number in range(EXECUTIONS):
            await submit(client, ("noop-1", "graph", "fails-once")[number % 3])
            await trio.sleep(0.02)

    for _ in range(2):
        async with (
            serving(seconds=3 * SOON, store=f"sqlite:///{tmp_path}/goflow.db") as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(load, client)
            for _ in range(KILLS):
                await reader.read(client, random.randrange(1, 6), random.random() / 40)
            nursery.cancel_scope.deadline = trio.current_time() + SOON
    async with serving(seconds=3 * SOON, store=f"sqlite:///{tmp_path}/goflow.db") as client:
        while True:
            executions = (await client.get("/api/executions")).json()["executions"]
            if all(one["finished"] for one in executions):
                break
            await trio.sleep(0.05)
        assert len(executions) == 2 * EXECUTIONS
        shown = {
            one["id"]: {"": one["state"], **{task["name"]: task["state"] for task in one["tasks"]}}
            for one in executions
        }
        while fold(reader.events) != shown:
            await reader.read(client, 10_000, 0.5)
    assert reader.resets == 0
    assert [event["seq"] for event in reader.events] == list(range(1, len(reader.events) + 1))
