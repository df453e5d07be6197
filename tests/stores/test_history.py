"""One seeded workload has the same history on every store: the same facts at the same instants.

The clock is virtual and stands still while an operation of the store is under way, so that a store over a network
costs no virtual time either. Facts of one instant may be written in another order, because what queues up while a
store writes differs; so each instant's facts are compared as a set.
"""

import random
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from goflow_trio import ConstantDelay, ExponentialBackoff, Job, TriggerRule, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.stores import open_backend

START = datetime(2026, 3, 1, tzinfo=UTC)
SEED = 20260301
KINDS = ["sqlite", "file", "postgresql", "redis", "s3", "dynamodb", "kv+redis"]


class Watched:
    """Passes operations on, and knows whether one is under way."""

    def __init__(self, inner):
        self.inner = inner
        self.durability = inner.durability
        self.busy = 0
        self.changed = trio.Event()

    def __getattr__(self, name):
        async def operation(*args, **kwargs):
            self._count(1)
            try:
                return await getattr(self.inner, name)(*args, **kwargs)
            finally:
                self._count(-1)

        return operation

    async def put_if_absent(self, key, value):  # what tells a backend from other objects
        return await self.__getattr__("put_if_absent")(key, value)

    def _count(self, step):
        self.busy += step
        self.changed.set()
        self.changed = trio.Event()


async def advance(clock, backend):
    """Jump to the next deadline whenever all wait and the store does not work."""
    while True:
        await wait_all_tasks_blocked()
        seconds = trio.lowlevel.current_statistics().seconds_to_next_deadline
        if backend.busy or seconds == float("inf"):
            await backend.changed.wait()
        elif seconds > 0:
            clock.jump(seconds)


def workload(seed):
    """Return jobs whose tasks take time, fail, are tried again and are skipped, as the seed will have it."""
    choice = random.Random(seed)
    jobs = []
    for number in range(3):
        job = Job(f"job-{number}", schedule="@every 7s" if number == 0 else None, active=number == 0)
        tasks = []
        for position in range(choice.randrange(4, 8)):
            failures = choice.choice([0, 0, 1, 2, 9])
            seconds = choice.choice([0, 0.25, 1, 3])

            @job.task(
                name=f"task-{position}",
                upstream=choice.sample(tasks, min(len(tasks), choice.randrange(3))),
                retries=choice.randrange(3),
                retry_delay=choice.choice([ConstantDelay(2), ExponentialBackoff(jitter=0.5)]),
                trigger_rule=choice.choice([TriggerRule.ALL_SUCCESSFUL, TriggerRule.ALL_DONE, TriggerRule.ONE_FAILED]),
            )
            async def work(context, failures=failures, seconds=seconds):
                await trio.sleep(seconds)
                if context.attempt <= failures:
                    raise ValueError(f"attempt {context.attempt}")
                return {"slept": seconds, "saw": sorted(context.results)}

            tasks.append(work)
        jobs.append(job)
    return jobs


def history_on(url):
    """Run the workload; return its normalised history: of each instant, the facts."""
    clock = MockClock()

    async def main():
        backend = Watched(await open_backend(url))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(advance, clock, backend)
            environment = virtual_environment(START, seed=SEED)
            async with open_engine(backend, jobs=workload(SEED), environment=environment) as engine:
                for job in ("job-1", "job-2", "job-1"):
                    execution = await engine.submit(job, params={"seed": SEED})
                    await trio.sleep(1)
                    await engine.submit("job-2", idempotency_key="once")
                    await execution.wait()
                cancelled = await engine.submit("job-1")
                await trio.sleep(0.5)
                await cancelled.cancel()
                events = await engine.store.read_log(0, 10_000)
            await backend.inner.aclose()
            nursery.cancel_scope.cancel()
        return events

    events = trio.run(main, clock=clock)
    facts = [
        (str(event.at - START), event.execution, event.task, event.attempt, event.type, repr(event.payload()))
        for event in events
    ]
    return sorted(facts)


@pytest.fixture(scope="module")
def expected():
    return history_on("memory://")


def test_the_workload_has_something_of_everything(expected):
    kinds = {kind for *_, kind, _ in expected}
    assert {"task.failed", "task.retry_scheduled", "task.skipped", "task.succeeded", "task.cancelled"} <= kinds
    assert len({execution for _, execution, *_ in expected}) > 6
    assert history_on("memory://") == expected, "the same seed gives another history"


@pytest.mark.parametrize("kind", KINDS)
def test_every_store_has_the_same_history(kind, new_store, expected):
    assert history_on(new_store(kind)) == expected
