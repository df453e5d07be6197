"""The jobs of Goflow's README, one step after the other; `goflow-trio check examples/readme_jobs.py` reads them all."""

import os

from goflow_trio import Command, ConstantDelay, Get, Job, Task, TaskContext

URL = os.environ.get("EXAMPLE_URL", "https://example.org/")


def one_task() -> Job:
    """Jobs and tasks: a single task that sleeps for one second, each minute."""
    job = Job("my-job", schedule="* * * * *", active=True)
    job.add(Task("sleep-for-one-second", Command("sleep", ["1"])))
    return job


class PositiveAddition:
    """Custom operators: any object with `run`."""

    def __init__(self, a: int, b: int) -> None:
        self.a, self.b = a, b

    async def run(self, context: TaskContext) -> int:
        if self.a < 0 or self.b < 0:
            raise ValueError("can't add negative numbers")
        return self.a + self.b


def with_retries() -> Job:
    """Retries: five more attempts, a second apart."""
    job = Job("my-job-with-retries", schedule="* * * * *")
    job.add(Task("sleep-for-one-second", Command("sleep", ["1"]), retries=5, retry_delay=ConstantDelay(1)))
    return job


def with_dependencies() -> Job:
    """Task dependencies: two tasks after one."""
    job = Job("my-job-with-dependencies", schedule="* * * * *")
    nap = job.add(Task("sleep-for-one-second", Command("sleep", ["1"]), retries=5, retry_delay=ConstantDelay(1)))
    get = job.add(Task("get-example", Get(URL)))
    add = job.add(Task("add-two-plus-three", PositiveAddition(2, 3)))
    job.set_downstream(nap, get)
    job.set_downstream(nap, add)
    return job


def with_a_trigger_rule() -> Job:
    """Trigger rules: a task that runs whatever became of those before it."""
    job = Job("my-job-with-a-trigger-rule")
    fail = job.add(Task("fail", PositiveAddition(-1, 1)))
    clean = job.add(Task("sleep-for-one-second", Command("sleep", ["1"]), retries=5, trigger_rule="allDone"))
    fail >> clean
    return job
