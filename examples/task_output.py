"""What a task prints, logs and fails with is kept: followed while it runs, and read by ranges afterwards."""

from __future__ import annotations

import logging

import trio

from goflow_trio import Command, Job, Task, TaskContext, open_engine

job = Job("talkative")
job.add(Task("shell", Command('echo out; echo err >&2; head -c 5000000 /dev/zero | tr "\\0" .', shell=True)))


@job.task
def python(context: TaskContext) -> None:
    context.log("a line of my own")
    logging.getLogger("some.library").warning("what a library logs is kept as well")
    raise ValueError("and why it failed")


async def main() -> None:
    async with open_engine(jobs=[job]) as engine, engine.subscribe(types=["task.output"]) as events:
        execution = await engine.submit("talkative")
        async for event in events:  # live
            print("live:", event.task, event.stream, event.text[:40].rstrip())
            if event.stream == "error":
                break
        await execution.wait()

        part = await engine.output(execution.id, "python")
        for piece in part.pieces:
            text = part.data[piece.offset : piece.offset + piece.size].decode()
            print(f"{piece.at:%H:%M:%S} {piece.stream}: {text.splitlines()[-1]}")

        flood = await engine.output(execution.id, "shell", tail=10)
        print(f"{flood.total} bytes printed, kept {flood.kept}, the last ten: {flood.data.decode()}")


if __name__ == "__main__":
    trio.run(main)
