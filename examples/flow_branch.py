"""Choose at run time which tasks run: a branch, and a condition on one task."""

from goflow_trio import Branch, Job, Noop, Task, TaskContext, TriggerRule


def count(context: TaskContext) -> int:
    return context.params["rows"]


def which(context: TaskContext) -> str:
    return "in-batches" if context.results["count"] > 1000 else "at-once"


def asked_for(context: TaskContext) -> bool:
    return context.params["notify"]


def load() -> Job:
    job = Job("load", params={"rows": 10, "notify": False})
    counted = job.add(Task("count", count))
    branch = job.add(Task("which", Branch(which)))
    arms = [job.add(Task("at-once", Noop())), job.add(Task("in-batches", Noop()))]
    join = job.add(Task("join", Noop(), trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESSFUL))
    counted >> branch >> arms >> join >> job.add(Task("notify", Noop(), when=asked_for))
    return job
