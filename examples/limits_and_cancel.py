"""Limits, the question why something does not run, time-outs, and a cancel that says what it ended."""

from __future__ import annotations

import trio

from goflow_trio import Command, Job, Task, TaskContext, open_engine

job = Job("import", timeout=60, params={"day": "mon"})
for number in range(3):
    job.add(Task(f"load-{number}", Command('echo "loading $GOFLOW_PARAM_DAY"; sleep 600', shell=True), pool="db"))
job.add(Task("urgent", Command("echo", ["first of those that wait"]), pool="db", priority=1))


@job.task(timeout=0.2, retries=1, total_timeout=10)
async def slow(context: TaskContext) -> None:
    context.log(f"attempt {context.attempt} ends in {context.deadline - trio.current_time():.1f} s")
    await trio.sleep_forever()


async def main() -> None:
    async with open_engine(jobs=[job], max_active_tasks=50, pools={"db": 2}) as engine:
        execution = await engine.submit("import", {"day": "tue"})
        while not (await engine.output(execution.id, "load-1")).total:  # noqa: ASYNC110
            await trio.sleep(0.1)
        for waits in engine.waiting(execution.id):
            print(f"{waits.task} waits: {waits.detail}")
        await execution.cancel("not this one", task="load-0")
        while not execution.record.tasks["urgent"].state.is_final:  # noqa: ASYNC110
            await trio.sleep(0.1)
        print("urgent is", execution.record.tasks["urgent"].state)
        receipt = await execution.cancel("enough")
        print(f"ended {receipt.tasks} tasks and {receipt.processes} processes in {receipt.seconds:.1f} s")
        output = await engine.output(execution.id, "load-1")
        print(output.data.decode().rstrip())


if __name__ == "__main__":
    trio.run(main)
