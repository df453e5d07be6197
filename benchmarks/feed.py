"""What subscribers cost: throughput beside a crowd that stopped reading, and how old a pushed event is on arrival.

Run it: `python benchmarks/feed.py [SUBSCRIBERS]`. The subscribers are sockets of another process that ask for
`/api/events` and then never read. Throughput is tasks in a second of this process' CPU time, so that what else the
machine does counts little, and it is taken in turns, with the crowd and without, each time in a fresh server.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

import trio

from goflow_trio import Engine, Goflow, Job, Noop, Task
from goflow_trio.web.fanout import fanout_of

ROUNDS = 3
EXECUTIONS = 150
TASKS = 20
PUSHES = 100

STALL = """
import socket, sys
port, count = map(int, sys.argv[1:])
held = []
for _ in range(count):
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(b"GET /api/events HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
    assert one.recv(12) == b"HTTP/1.1 200"
    held.append(one)
print("stalled", flush=True)
sys.stdin.read()
"""


def fan() -> Job:
    job = Job("fan")
    first = job.add(Task("first", Noop()))
    for number in range(TASKS - 1):
        first >> job.add(Task(f"t{number}", Noop()))
    return job


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Engine, int]]:
    gf = Goflow(dashboard=False)
    gf.add_job(fan)
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(gf.serve, "127.0.0.1:0", grace=0))
        yield gf._running(), urlsplit(url).port or 0  # noqa: SLF001  # the engine behind the server
        nursery.cancel_scope.cancel()


@contextmanager
def started(port: int, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that holds so many subscribers; it writes a line when all are there."""
    command = [sys.executable, "-c", STALL, str(port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@asynccontextmanager
async def crowd(port: int, count: int) -> AsyncIterator[None]:
    if not count:
        yield
        return
    with started(port, count) as process:
        assert process.stdout is not None
        assert await trio.to_thread.run_sync(process.stdout.readline) == b"stalled\n"
        yield


async def run_executions(engine: Engine) -> float:
    """Return the tasks in a second of CPU time."""
    begun = time.process_time()
    executions = [await engine.submit("fan") for _ in range(EXECUTIONS)]
    for execution in executions:
        await execution.wait()
    return EXECUTIONS * TASKS / (time.process_time() - begun)


async def until_stuck(engine: Engine) -> None:
    """Have events written until all buffers are full."""
    await run_executions(engine)
    while fanout_of(engine.store.feed).reading:
        await run_executions(engine)
        await trio.sleep(0.5)


async def throughput(count: int) -> float:
    async with serving() as (engine, port), crowd(port, count):
        await until_stuck(engine)
        return await run_executions(engine)


async def ages(count: int) -> list[float]:
    """Return how old events are when a reader has them, in seconds, beside so many that do not read."""
    found: list[float] = []
    async with serving() as (engine, port), crowd(port, count):
        await until_stuck(engine)
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
    return found


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    alone, beside = [], []
    for _ in range(ROUNDS):
        alone.append(trio.run(throughput, 0))
        beside.append(trio.run(throughput, count))
    ratio = max(beside) / max(alone)  # the least disturbed of each
    print(f"throughput alone:                       {max(alone):8,.0f} tasks/CPU s")
    print(f"beside {count:5,} subscribers that stall:   {max(beside):8,.0f} tasks/CPU s ({ratio - 1:+.1%})")
    for crowded in (0, count):
        found = sorted(trio.run(ages, crowded))
        p99 = found[int(len(found) * 0.99)]
        print(f"push, {crowded:5,} others: median {1000 * statistics.median(found):.1f} ms, p99 {1000 * p99:.1f} ms")


if __name__ == "__main__":
    main()
