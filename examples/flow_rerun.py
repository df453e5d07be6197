"""Run an execution again from what failed: what was good keeps its result."""

import trio

from goflow_trio import ExecutionRecord, Job, TaskContext, open_engine

job = Job("nightly")
disk = {"full": True}


@job.task
async def extract(context: TaskContext) -> list[int]:
    return [1, 2, 3]


@job.task(upstream=extract)
async def load(context: TaskContext) -> int:
    if disk["full"]:
        raise OSError("no space left")
    return sum(context.results["extract"])


async def main() -> ExecutionRecord:
    async with open_engine(jobs=[job]) as engine:
        failed = await (await engine.submit("nightly")).wait()
        disk["full"] = False
        execution = await engine.retry(failed.id, by="ada", reason="made room on the disk")
        return await execution.wait()


if __name__ == "__main__":
    record = trio.run(main)
    print(record.state, record.results, record.reopenings)
