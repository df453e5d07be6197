"""Tell somebody when an execution failed: which task, and why."""

import trio

from goflow_trio import ExecutionRecord, Job, State, Task, TaskContext, open_engine

sent = []


async def alert(context: TaskContext) -> None:
    """Tell what failed. A real one would send it: `await httpx.AsyncClient().post(…)`, an e-mail, a page."""
    record: ExecutionRecord = context.record
    failed = [task for task in record.tasks.values() if task.state is State.FAILED]
    reasons = "; ".join(f"{task.name}: {task.error.message if task.error else task.reason}" for task in failed)
    sent.append(f"{record.job} of {context.params['day']} {record.state}: {reasons}")


def load() -> None:
    raise OSError("no space left on the disk")


def nightly() -> Job:
    job = Job("nightly", params={"day": "today"}, on_failure=[alert])
    job.add(Task("load", load)) >> job.add(Task("report", lambda: "all is well"))
    return job


async def main() -> list[str]:
    async with open_engine(jobs=[nightly]) as engine:
        await (await engine.submit("nightly", {"day": "monday"})).wait()
    return sent


if __name__ == "__main__":
    print(trio.run(main))
