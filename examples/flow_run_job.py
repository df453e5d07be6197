"""A job that runs another for each of several days, two at a time."""

from goflow_trio import Job, RunJob, Task, TaskContext

load = Job("load", params={"day": "today"})


@load.task
async def extract(context: TaskContext) -> list[int]:
    return [len(context.params["day"])] * 3


@load.task(upstream=extract)
async def total(context: TaskContext) -> int:
    return sum(context.results["extract"])


async def days(context: TaskContext) -> list[str]:
    return ["monday", "tuesday", "wednesday"]


async def params(context: TaskContext) -> dict[str, str]:
    return {"day": context.item}


async def report(context: TaskContext) -> int:
    return sum(results["total"] for results in context.results["each-day"])


def week() -> Job:
    job = Job("week")
    job.map("each-day", RunJob(load, params), over=days, max_active=2) >> job.add(Task("report", report))
    return job
