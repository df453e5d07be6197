"""A program with an engine on SQLite, to be killed: `python -m tests.faults.server DB LOG submit|resume`."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from goflow_trio import Job, open_engine


def job(log: Path) -> Job:
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
        await trio.sleep(1.0 if context.attempt == 1 else 0)

    @diamond.task(upstream=a)
    async def c(context):
        note(f"c {context.attempt}")
        await trio.sleep(1.0)

    @diamond.task(upstream=[b, c], trigger_rule="allDone")
    async def d():
        note("d")

    return diamond


async def main(database: str, log: str, mode: str) -> None:
    async with open_engine(f"sqlite:///{database}", jobs=[job(Path(log))]) as engine:
        if mode == "submit":
            await engine.toggle("diamond")
            execution = await engine.submit("diamond")
            print(execution.id, flush=True)
            await trio.sleep_forever()
        print(engine.is_active("diamond"), flush=True)
        for execution in list(engine._executions.values()):
            await execution.wait()
        for record in await engine.newest():
            tasks = ",".join(f"{task.name}={task.state}:{task.reason}" for task in record.tasks.values())
            print(record.id, record.state, tasks, flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
