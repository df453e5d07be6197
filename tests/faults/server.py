"""A program with an engine on SQLite, to be killed or stopped: `python -m tests.faults.server DB LOG MODE`.

MODE is `submit` (one execution, which takes an hour), `resume` (wait for what is unfinished, print everything) or
`takeover` (take the store from an engine whose lease has run out, and submit one execution after the other). A lease
lasts 2 s here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from goflow_trio import Job, open_engine
from goflow_trio.core import limits
from goflow_trio.errors import StoreFenced, StoreUnavailable


def job(log: Path, seconds: float) -> Job:
    diamond = Job("diamond", schedule="0 0 1 1 *")

    def note(text: str) -> None:
        with log.open("a") as file:
            file.write(text + "\n")

    @diamond.task
    async def a():
        note("a")

    @diamond.task(upstream=a, idempotent=True)
    async def b(context):
        note(f"b {context.attempt}")
        await trio.sleep(seconds if context.attempt == 1 else 0)

    @diamond.task(upstream=a)
    async def c(context):
        note(f"c {context.attempt}")
        await trio.sleep(seconds)

    @diamond.task(upstream=[b, c], trigger_rule="allDone")
    async def d():
        note("d")

    return diamond


limits.LEASE_SECONDS = 2.0  # type: ignore[misc]
limits.LEASE_RENEWAL_SECONDS = 0.5  # type: ignore[misc]


async def main(database: str, log: str, mode: str) -> None:
    try:
        await run(database, log, mode)
    except StoreFenced as error:
        print("fenced", error, flush=True)
        sys.exit(69)


async def run(database: str, log: str, mode: str) -> None:
    store = f"sqlite:///{database}"
    seconds = 3600.0 if mode == "submit" else 1.0  # who submits is killed in the middle
    async with open_engine(store, jobs=[job(Path(log), seconds)], takeover=mode == "takeover") as engine:
        while mode == "takeover":
            try:
                told = (await engine.submit("diamond")).id
            except StoreUnavailable:  # stopped in the middle of a write, it seems to have waited for long
                told = "refused"
            print(told, flush=True)
            await trio.sleep(0.05)
        if mode == "submit":
            await engine.toggle("diamond")
            execution = await engine.submit("diamond")
            print(execution.id, flush=True)
            await trio.sleep_forever()
        print(engine.is_active("diamond"), flush=True)
        for execution in engine._executions:
            await execution.wait()
        for record in await engine.newest():
            tasks = ",".join(f"{task.name}={task.state}:{task.reason}" for task in record.tasks.values())
            print(record.id, record.state, tasks, flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
