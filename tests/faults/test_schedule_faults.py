"""At most once for a job and an instant, and each accounted for: through an end at every operation of the store."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from goflow_trio import Job, open_engine
from goflow_trio.actors.environment import Environment
from goflow_trio.core import limits
from goflow_trio.errors import GoflowError
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import WRITES, FaultyBackend

START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = 8


def jobs(ran: list[tuple[str, datetime]]) -> list[Job]:
    made = []
    for name, misfire in (("latest", "latest"), ("all", "all")):
        job = Job(name, schedule="* * * * * *", active=True, misfire=misfire)

        @job.task
        async def work(context):
            ran.append((context.job, context.scheduled_for))

        made.append(job)
    return made


def clock() -> Environment:
    """The wall clock of this run: it goes on while no engine lives."""
    return Environment(
        now=lambda: START + timedelta(seconds=trio.current_time()), random_bits=random.Random(3).getrandbits
    )


async def until_death(backend, ran):
    async with trio.open_nursery() as nursery:

        async def watch():
            await backend.died.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        async with open_engine(backend, jobs=jobs(ran), environment=clock()):
            await trio.sleep(SECONDS - trio.current_time())
        nursery.cancel_scope.cancel()


async def account(memory, ran):
    """Open it once more, and match every instant so far to one run or one record that it was missed."""
    async with open_engine(FaultyBackend(memory), jobs=jobs(ran), environment=clock()) as engine:
        await trio.sleep(1.5)
        now = engine.now()
        records = await engine.newest(limit=1000)
        log = await engine.store.read_log(0, 10_000)
        begun = {event.job: event.at for event in log if event.type == "schedule.started"}
        for job in ("latest", "all"):
            submitted = Counter(record.scheduled_for for record in records if record.job == job)
            assert max(submitted.values()) == 1, f"{job}: an instant has two executions"
            passed = [event for event in log if event.type == "schedule.missed" and event.job == job]
            instant = begun[job].replace(microsecond=0) + timedelta(seconds=1)
            while instant <= now:
                as_missed = [event for event in passed if event.first <= instant <= event.last]
                assert (instant in submitted) + len(as_missed) == 1, (job, instant, as_missed)
                instant += timedelta(seconds=1)
    assert max(Counter(ran).values()) == 1, "an instant has run twice"


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
def test_an_engine_that_dies_at_any_operation_runs_no_instant_twice_and_loses_none(after):
    async def main():
        memory = MemoryBackend()
        ran: list[tuple[str, datetime]] = []
        backend = FaultyBackend(memory)
        backend.fail(dies_at, "die after" if after else "die")
        await until_death(backend, ran)
        await account(memory, ran)
        return backend.died.is_set()

    for dies_at in range(1, 500):
        if not trio.run(main, clock=MockClock(autojump_threshold=0)):
            assert dies_at > 30
            return
    pytest.fail("the workload never came to its end")


def test_a_submit_whose_outcome_was_unknown_is_not_submitted_again_as_another_execution():
    async def main():
        backend = FaultyBackend(MemoryBackend())
        ran: list[tuple[str, datetime]] = []
        async with open_engine(backend, jobs=jobs(ran), environment=clock()) as engine:
            await trio.sleep(3.5)
            with backend.failing("unknown", operations=WRITES):
                await trio.sleep(45)
            await trio.sleep(10)
            submitted = Counter((record.job, record.scheduled_for) for record in await engine.newest())
        assert max(submitted.values()) == 1
        assert max(Counter(ran).values()) == 1
        assert len(ran) > 20

    trio.run(main, clock=MockClock(autojump_threshold=0))


class Stoppable(FaultyBackend):
    """Memory that does not answer while `stopped`: as after SIGSTOP, its engine gets nowhere."""

    stopped = False

    async def _do(self, name, key, operation, *args):
        while self.stopped:  # noqa: ASYNC110  # it is the clock that jumps
            await trio.sleep(0.5)
        return await super()._do(name, key, operation, *args)


def test_an_engine_that_was_taken_over_from_runs_nothing_when_it_wakes_up():
    """Two engines on one store: what the second one has run or recorded, the first one does not run."""

    async def main():
        memory = MemoryBackend()
        ran: list[tuple[str, datetime]] = []
        first = Stoppable(memory)

        async def live(backend, seconds, **options):
            try:
                async with open_engine(backend, jobs=jobs(ran), environment=clock(), **options):
                    await trio.sleep(seconds)
            except GoflowError as error:
                ends.append(type(error).__name__)

        ends = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live, first, 300)
            await trio.sleep(5.2)
            first.stopped = True
            await trio.sleep(2 * limits.LEASE_SECONDS)
            nursery.start_soon(partial(live, FaultyBackend(memory), 60, takeover=True))
            await trio.sleep(10.7)
            before = trio.current_time()
            first.stopped = False
            await trio.sleep(30)
            assert ends[:1] == ["StoreFenced"]
            nursery.cancel_scope.cancel()
        assert max(Counter(ran).values()) == 1
        assert sum(instant > START + timedelta(seconds=before) for _, instant in ran) > 50, "the second one goes on"

    trio.run(main, clock=MockClock(autojump_threshold=0))
