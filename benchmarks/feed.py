"""What subscribers cost: throughput beside a crowd that stopped reading, and how old a pushed event is on arrival.

Run it: `python benchmarks/feed.py [SUBSCRIBERS] [PAIRS]`.

The cost is measured in pairs, because a machine that does other things too is faster at one moment than at the next.
Two servers of the same kind, each a process of its own, run the same block of executions in turns, one right after the
other; one of them has the crowd, and after half of the pairs the other one has it, so that what is special about a
process (some percent) falls out. What counts is the server's own CPU time a task; the time by the clock is told
beside it. A pair gives a ratio; told is the median of these with its notch, 1.57 times the middle half by the root of
their number: what lies within is noise. Beside times, the steps of the loop are counted, which no other program
disturbs: a subscriber that is woken for an event takes some.

The crowd is sockets of a third process that ask for the events, every other one as a WebSocket, and never read. The
buffers of all are full before anything is measured, and the times after which they would be cut off are raised so that
they stay. Usually they would be gone after 20 s.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import trio

from goflow_trio import Engine, Goflow, Job, Noop, Task
from goflow_trio.cli.serving import collect_seldom
from goflow_trio.core import limits
from goflow_trio.web import server
from goflow_trio.web.fanout import fanout_of

EXECUTIONS = 120
AT_ONCE = 60
TASKS = 20
PUSHES = 100
LONG = 3600.0
NAMES = {"cpu": "CPU time", "rest": "the same without collecting", "clock": "time by the clock"}

STALL = """
import socket, sys
port, count = map(int, sys.argv[1:])
asked = "GET /api/events HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n"
upgrade = "Upgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
asked = asked, asked.replace("events", "ws").replace("Host", upgrade + key + "Host")
held = []
for number in range(count):
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(asked[number % 2].encode())
    held.append(one)
for one in held:
    assert one.recv(9) == b"HTTP/1.1 "
print("stalled", flush=True)
sys.stdin.read()
"""


def fan() -> Job:
    job = Job("fan")
    first = job.add(Task("first", Noop()))
    for number in range(TASKS - 1):
        first >> job.add(Task(f"t{number}", Noop()))
    return job


# The server, in a process of its own ------------------------------------------------------------------


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Engine, int]]:
    gf = Goflow(dashboard=False)
    gf.add_job(fan)
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
        yield gf._running(), urlsplit(url).port or 0  # noqa: SLF001  # the engine behind the server
        nursery.cancel_scope.cancel()


class Collector:
    """Adds up the CPU time that Python's collector of cycles takes."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.process_time()
        else:
            self.seconds += time.process_time() - self._begun


collector = Collector()


async def run_block(engine: Engine) -> dict[str, float]:
    """Run a block of executions; return the seconds that a task took: of CPU, of that without collecting, of the clock.

    Collecting is Python's, of what refers to itself in circles. It looks at many objects, seldom; a block has such a
    look or has none, so that is most of what pairs differ by.
    """
    cpu, clock, collecting = time.process_time(), time.perf_counter(), collector.seconds
    for _ in range(EXECUTIONS // AT_ONCE):
        executions = [await engine.submit("fan") for _ in range(AT_ONCE)]
        for execution in executions:
            await execution.wait()
    tasks = EXECUTIONS * TASKS
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return {"cpu": cpu / tasks, "rest": (cpu - collector.seconds + collecting) / tasks, "clock": clock / tasks}


class Steps(trio.abc.Instrument):
    """Counts how often the loop runs a task of its own."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count one."""
        self.count += 1


async def count_steps(engine: Engine) -> dict[str, float]:
    """Return how many steps of the loop a task takes."""
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    await run_block(engine)
    trio.lowlevel.remove_instrument(steps)
    return {"steps": steps.count / EXECUTIONS / TASKS}


async def meet(engine: Engine, count: int) -> dict[str, float]:
    """Run one execution after the other until so many have subscribed; return what was the slowest."""
    cpu, begun = time.process_time(), trio.current_time()
    slowest = lag = 0.0
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def watch_loop() -> None:
            nonlocal lag
            while True:
                due = trio.current_time() + 0.005
                await trio.sleep_until(due)
                lag = max(lag, trio.current_time() - due)

        while engine.store.feed.subscribers < count:
            before = trio.current_time()
            await (await engine.submit("fan")).wait()
            slowest = max(slowest, trio.current_time() - before)
        nursery.cancel_scope.cancel()
    return {
        "cpu": time.process_time() - cpu,
        "clock": trio.current_time() - begun,
        "slowest": slowest,
        "lag": lag,
    }


async def push(engine: Engine, port: int) -> dict[str, float]:
    """Return how old events are when a reader in this process has them."""
    found: list[float] = []
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /api/events?types=execution.finished HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        text = b""
        while b"retry: " not in text:
            text += bytes(await stream.receive_some())
        while len(found) < PUSHES:
            await engine.submit("fan")
            text = b""
            while b"data: " not in text:
                text += bytes(await stream.receive_some())
            now = datetime.now(UTC)
            body = json.loads(text.split(b"data: ")[1].split(b"\n")[0])
            found.append((now - datetime.fromisoformat(body["at"])).total_seconds())
    return {"median": statistics.median(found), "p99": sorted(found)[int(len(found) * 0.99)]}


async def obey() -> None:
    """Do what the lines of standard input say, and answer each with one."""
    limits.SEND_SECONDS = LONG  # type: ignore[misc]  # see above
    server._DEAD_PEER_MILLISECONDS = int(1000 * LONG)  # type: ignore[misc]  # noqa: SLF001  # by the system
    limits.SUBSCRIBERS += 1  # type: ignore[misc]  # the one that does read
    collect_seldom()  # as `goflow-trio serve` does
    async with serving() as (engine, port):
        print(port, flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            order, count = line.split()
            match order:
                case "block":
                    done = await run_block(engine)
                case "steps":
                    done = await count_steps(engine)
                case "state":
                    feed = engine.store.feed
                    done = {"subscribers": feed.subscribers, "reading": fanout_of(feed).reading}
                case "meet":
                    done = await meet(engine, int(count))
                case _:
                    done = await push(engine, port)
            print(json.dumps(done), flush=True)


# What orders it ---------------------------------------------------------------------------------------


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


class Server:
    """A server in another process, which may have a crowd."""

    def __init__(self, stack: ExitStack) -> None:
        self._process = stack.enter_context(started(__file__, "serve"))
        self._port = self._answer()
        self._crowd = ExitStack()
        stack.callback(self._crowd.close)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def _order(self, order: str, count: int = 0) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order} {count}\n")
        self._process.stdin.flush()

    def do(self, order: str, count: int = 0) -> dict[str, float]:
        """Have something done; return what it found."""
        self._order(order, count)
        return self._answer()

    def meet(self, count: int) -> dict[str, float]:
        """Give it a crowd; return what that cost."""
        self._order("meet", count)
        crowd = self._crowd.enter_context(started("-c", STALL, str(self._port), str(count)))
        met = self._answer()
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "stalled\n"
        return met

    def part(self) -> None:
        """Take its crowd away."""
        self._crowd.close()


def settle(servers: Sequence[Server], crowded: Server, count: int) -> None:
    """Run blocks until the buffers of so many subscribers are full.

    All servers run the same: one with more behind it has more to look after, and is a little slower for it.
    """
    while crowded.do("state") != {"subscribers": count, "reading": 0}:
        for one in servers:
            one.do("block")
        time.sleep(0.5)


def compare(crowded: Server, alone: Server, pairs: int) -> list[dict[str, float]]:
    """Return by how much the first is dearer than the second, as ratios, for each pair of blocks."""
    found = []
    for number in range(pairs):
        first, second = (crowded, alone) if number % 2 else (alone, crowded)
        done = {first: first.do("block"), second: second.do("block")}
        found.append({what: done[crowded][what] / done[alone][what] - 1 for what in NAMES})
    return found


def tell(title: str, *turns: list[dict[str, float]]) -> None:
    """Print the median of each turn's pairs, and of several turns the mean of those."""
    for what, name in NAMES.items():
        medians, notches = [], []
        for found in turns:
            low, median, high = statistics.quantiles([one[what] for one in found], n=4, method="inclusive")
            medians.append(median)
            notches.append(1.57 * (high - low) / len(found) ** 0.5)
        notch = math.hypot(*notches) / len(notches)
        count = sum(map(len, turns))
        print(f"{title}: {name} {statistics.mean(medians):+.1%} ± {notch:.1%}, {count} pairs", flush=True)


def main(count: int, pairs: int) -> None:
    with ExitStack() as stack:
        servers = Server(stack), Server(stack)
        for one in servers:
            for _ in range(20):
                used = one.do("block")
        print(f"a task takes {1e6 * used['cpu']:.0f} µs of CPU; {EXECUTIONS * TASKS:,} of them are a block")
        tell("two servers alone", compare(*servers, pairs))
        turns = []
        for crowded, alone in (servers, servers[::-1]):
            met = crowded.meet(count)
            settle(servers, crowded, count)
            print(
                f"{count:,} subscribers came in {met['clock']:.1f} s ({1e6 * met['cpu'] / count:.0f} µs of CPU each); "
                f"slowest execution meanwhile {1e3 * met['slowest']:.0f} ms, lag of the loop {1e3 * met['lag']:.0f} ms",
                flush=True,
            )
            turns.append(compare(crowded, alone, (pairs + 1) // 2))
            steps = [one.do("steps")["steps"] for one in (crowded, alone)]
            print(f"steps of the loop a task: {steps[0]:.2f} beside the crowd, {steps[1]:.2f} alone", flush=True)
            assert crowded.do("state")["subscribers"] == count  # they are all there still
            age = crowded.do("push")
            print(f"push beside them: median {1e3 * age['median']:.1f} ms, p99 {1e3 * age['p99']:.1f} ms", flush=True)
            crowded.part()
            settle(servers, crowded, 0)
        tell(f"beside {count:,} that stall", *turns)
        age = servers[0].do("push")
        print(f"push alone: median {1e3 * age['median']:.1f} ms, p99 {1e3 * age['p99']:.1f} ms")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        trio.run(obey)
    else:
        given = [int(text) for text in sys.argv[1:]]
        main(*given, *(1000, 80)[len(given) :])
