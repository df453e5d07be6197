"""One task for each item of a list that is known only while the job runs."""

from goflow_trio import ConstantDelay, Job, Task, TaskContext


def list_files(context: TaskContext) -> list[str]:
    return [f"part-{number}.csv" for number in range(context.params["parts"])]


async def count_lines(context: TaskContext) -> int:
    if context.item == "part-2.csv" and context.params["broken"]:
        raise ValueError(f"{context.item} is cut off")
    return 10 + context.index


async def total(context: TaskContext) -> int:
    return sum(lines for lines in context.results["count-lines"] if lines is not None)


def count() -> Job:
    job = Job("count", params={"parts": 5, "broken": False})
    files = job.add(Task("files", list_files))
    each = job.map("count-lines", count_lines, over=files, retries=1, retry_delay=ConstantDelay(0.1), max_active=2)
    each >> job.add(Task("total", total, trigger_rule="noneFailed"))
    each >> job.add(Task("at-least", total, trigger_rule="allDone"))
    return job
