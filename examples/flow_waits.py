"""Waits that hold no slot and survive a restart: for a time, for a condition, for a person."""

import trio

from goflow_trio import Approve, ExecutionRecord, Job, Sleep, Task, TaskContext, WaitFor, open_engine

arrived = []


async def file_is_there(context: TaskContext) -> str | None:
    return arrived[0] if arrived else None


def release() -> Job:
    job = Job("release", max_active_tasks=1)
    soak = job.add(Task("soak", Sleep(2)))
    artifact = job.add(Task("artifact", WaitFor(file_is_there, every=0.5, timeout=3600)))
    ask = job.add(Task("ask", Approve("Deploy to production?", timeout=86_400)))
    deploy = job.add(Task("deploy", lambda context: f"deployed, says {context.results['ask']['by']}"))
    [soak, artifact] >> ask >> deploy
    return job


async def main() -> ExecutionRecord:
    async with open_engine(jobs=[release]) as engine, engine.subscribe(types=["task.started"]) as events:
        execution = await engine.submit("release")
        arrived.append("app.tar.gz")
        async for event in events:
            if event.task == "ask":
                break
        print(execution.record.tasks["ask"].reason)
        await engine.approve(execution.id, "ask", by="ada", comment="after the backup")
        return await execution.wait()


if __name__ == "__main__":
    print(trio.run(main).results)
