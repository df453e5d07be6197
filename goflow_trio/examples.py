"""Goflow's two example jobs, under their names: the same tasks, edges, retries and rules."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ConstantDelay, ExponentialBackoff
from goflow_trio.jobs.task import Task
from goflow_trio.jobs.trigger_rules import TriggerRule
from goflow_trio.operators import Command


@frozen
class PositiveAddition:
    """Adds two numbers that are not negative: Goflow's example of an operator of one's own."""

    a: int
    b: int

    async def run(self) -> int:
        """Return the sum.

        Raises:
            ValueError: a number is negative.
        """
        if self.a < 0 or self.b < 0:
            raise ValueError("can't add negative numbers")
        return self.a + self.b


def complex_analytics() -> Job:
    """Return a job with a bit of everything; it fails on purpose, cleaning up after itself."""
    job = Job(
        "example-complex-analytics",
        schedule="* * * * * *",
        description="Retries that do not help, a task that is skipped, and a clean-up that runs all the same.",
    )
    sleep_one = job.add(Task("sleep-one", Command("sleep", ["1"])))
    add_one_one = job.add(Task("add-one-one", PositiveAddition(1, 1)))
    sleep_two = job.add(Task("sleep-two", Command("sleep", ["2"])))
    add_two_four = job.add(Task("add-two-four", PositiveAddition(2, 4)))
    add_three_four = job.add(Task("add-three-four", PositiveAddition(3, 4)))
    constant = job.add(Task("whoops-with-constant-delay", Command("whoops"), retries=5, retry_delay=ConstantDelay(1)))
    backoff = job.add(
        Task("whoops-with-exponential-backoff", Command("whoops"), retries=1, retry_delay=ExponentialBackoff())
    )
    skippable = job.add(
        Task(
            "totally-skippable",
            Command("sh", ["-c", "echo 'everything succeeded'"]),
            trigger_rule=TriggerRule.ALL_SUCCESSFUL,
        )
    )
    clean_up = job.add(
        Task("clean-up", Command("sh", ["-c", "echo 'cleaning up now'"]), trigger_rule=TriggerRule.ALL_DONE)
    )
    sleep_one >> [add_one_one, constant, backoff]
    add_one_one >> [sleep_two, add_three_four]
    sleep_two >> add_two_four
    [constant, backoff] >> skippable
    skippable >> clean_up
    return job


def custom_operator() -> Job:
    """Return a job of one task with an operator of one's own."""
    job = Job("example-custom-operator", schedule="* * * * * *", description="Adds two numbers.")
    job.add(Task("posAdd", PositiveAddition(5, 6)))
    return job


EXAMPLE_JOBS: tuple[Callable[[], Job], ...] = (complex_analytics, custom_operator)
"""The examples, in Goflow's order."""
