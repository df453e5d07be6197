"""Makes the golden store of the format of today: `python -m tests.golden.make`. Done once for each format, then kept.

The store has something of every kind in it. What an engine of then saw in it is written down beside it, as far as a
later one has to see the same.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import trio
from trio.testing import MockClock

from goflow_trio import ConstantDelay, Job, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.codec import FORMAT_VERSION
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import FaultyBackend

FOLDER = Path(__file__).parent
START = datetime(2026, 1, 1, tzinfo=UTC)


def jobs(nap=1_000_000.0):
    job = Job("golden", schedule="0 0 1 1 *", params={"day": "today"})

    @job.task
    async def good(context):
        context.log("printed")
        return {"bytes": b"\xff", "when": START, "number": 1.5}

    @job.task(upstream=good, retries=1, retry_delay=ConstantDelay(1))
    async def bad(context):
        raise ValueError(f"attempt {context.attempt}")

    @job.task(upstream=bad)
    async def skipped():
        pass

    @job.task(upstream=bad, trigger_rule="allDone")
    async def cleaned():
        return "clean"

    long = Job("long")

    @long.task(idempotent=True)
    async def sleep():
        await trio.sleep(nap)

    return [job, long]


async def fill(memory) -> None:
    backend = FaultyBackend(memory)
    async with open_engine(backend, jobs=jobs(), environment=virtual_environment(START)) as engine:
        await (await engine.submit("golden", idempotency_key="once", params={"day": "then"})).wait()
        cancelled = await engine.submit("long")
        await trio.sleep(1)
        await cancelled.cancel("not needed")
        await engine.toggle("golden")
        await trio.sleep(1)  # a checkpoint
        await engine.submit("long")
        backend.fail(backend.operations + 1, "die")  # and a tail of the log


async def seen(memory) -> dict:
    """Return what an engine sees, in words that do not change with the code."""
    environment = virtual_environment(START.replace(month=3))  # before anything is too old to be kept
    async with open_engine(FaultyBackend(memory), jobs=jobs(1.0), environment=environment) as engine:
        again = await engine.submit("golden", idempotency_key="once")
        for execution in engine._executions:
            await execution.wait()
        return {
            "health": str(engine.health().state),
            "active": engine.is_active("golden"),
            "claimed": again.id,
            "executions": [execution_seen(record) for record in await engine.newest()],
        }


def execution_seen(record) -> dict:
    return {
        "id": record.id,
        "job": record.job,
        "state": str(record.state),
        "submitted": record.submitted.isoformat(),
        "params": dict(record.params),
        "trigger": record.trigger,
        "reason": record.reason,
        "tasks": {
            task.name: {
                "state": str(task.state),
                "result": repr(task.result),
                "reason": task.reason,
                "attempts": [
                    [attempt.number, str(attempt.state), attempt.error.message if attempt.error else ""]
                    for attempt in task.attempts
                ],
            }
            for task in record.tasks.values()
        },
    }


def main() -> None:
    memory = MemoryBackend()
    trio.run(fill, memory, clock=MockClock(autojump_threshold=0))
    rows = trio.run(memory.scan, "", "", 10_000)
    values = {key: base64.b64encode(value).decode() for key, value in rows}
    expected = trio.run(seen, memory, clock=MockClock(autojump_threshold=0))
    path = FOLDER / f"format-{FORMAT_VERSION}.json"
    path.write_text(json.dumps({"values": values, "seen": expected}, indent=1) + "\n")
    print(f"{path}: {len(values)} keys")


if __name__ == "__main__":
    main()
