"""While the store fails: work is refused at once and says why, tasks go on, reads are served, and nothing is lost."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
import trio

from goflow_trio import Job, State, StoreError, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.core import limits
from goflow_trio.core.record import fold
from goflow_trio.errors import StoreFull, StoreReadOnly, StoreUnavailable
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import READS, WRITES, FaultyBackend

START = datetime(2026, 1, 1, tzinfo=UTC)


def world(minute=0):
    return virtual_environment(START.replace(minute=minute))


def job_of(ended=None) -> Job:
    job = Job("job", schedule="0 0 1 1 *")

    @job.task
    async def work(context):
        await trio.sleep(5)
        if ended is not None:
            ended.append(context.execution_id)
        return "done"

    @job.task(upstream=work)
    async def after():
        pass

    return job


FAULTS = {
    "fails": ({"mode": "before"}, "degraded", "store unavailable"),
    "fails after it wrote": ({"mode": "after"}, "degraded", "store unavailable"),
    "outcome unknown": ({"mode": "unknown"}, "degraded", "store unavailable"),
    "hangs": ({"mode": "hang"}, "stalled", "store stalled"),
    "hangs after it wrote": ({"mode": "hang after"}, "stalled", "store stalled"),
    "full": ({"error": StoreFull("no space left"), "operations": WRITES}, "degraded", "store full"),
    "read-only": ({"error": StoreReadOnly("read-only disk"), "operations": WRITES}, "read-only", "store read-only"),
    "raises what is not mapped": ({"error": OSError("driver")}, "degraded", "store unavailable"),
}


async def refused(operation):
    begun = trio.current_time()
    with pytest.raises(StoreUnavailable):
        await operation()
    assert trio.current_time() - begun <= 2


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_an_outage(fault, autojump_clock):
    options, state, name = fault
    backend, ended = FaultyBackend(MemoryBackend()), []
    async with open_engine(backend, jobs=[job_of(ended)], environment=world()) as engine:
        assert engine.health().ready
        first = await engine.submit("job")
        await trio.sleep(1)
        with backend.failing(**options):
            await refused(lambda: engine.submit("job"))
            await refused(lambda: engine.submit("job", idempotency_key="k"))
            await refused(lambda: engine.toggle("job"))
            await trio.sleep(30)
            assert ended == [first.id], "what runs goes on"
            health = engine.health()
            assert (health.state, health.causes[0].name, health.ready) == (state, name, False)
            assert health.causes[0].since is not None
            for _ in range(50):
                await refused(lambda: engine.submit("job"))
            assert (await engine.find(first.id)).state is State.RUNNING, "what is not durable is not told"
            assert first.id in [record.id for record in await engine.newest()]
        back = trio.current_time()
        assert (await first.wait()).state is State.SUCCESSFUL
        assert trio.current_time() - back < 5
        second = await engine.submit("job", idempotency_key="k")
        assert (await second.wait()).state is State.SUCCESSFUL
        await trio.sleep(10)
        assert engine.health().state == "ok"
        records = await engine.newest()
        assert len(records) <= 3, "of the refused only what was being written at that moment may have come to be"
        assert fold(await engine.store.read_log(0, 1_000)) == {record.id: record for record in records}


async def test_what_was_refused_before_it_was_written_never_comes_to_be(autojump_clock):
    backend = FaultyBackend(MemoryBackend())
    async with open_engine(backend, jobs=[job_of()], environment=world()) as engine:
        with backend.failing("hang"):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(refused, lambda: engine.submit("job"))
                    await trio.sleep(0.01)  # the first is being written when the others come
        await trio.sleep(20)
        assert len(await engine.newest()) == 1
        assert engine.health().state == "ok"


async def test_a_claim_that_was_given_up_blocks_nobody_after_the_outage(autojump_clock):
    backend = FaultyBackend(MemoryBackend())
    async with open_engine(backend, jobs=[job_of()], environment=world()) as engine:
        await trio.sleep(5)
        for mode in ("before", "hang"):
            with backend.failing(mode):
                await refused(lambda: engine.submit("job", idempotency_key="k"))
                await trio.sleep(10)
            await trio.sleep(1)
            assert engine.health().ready
        assert (await engine.submit("job", idempotency_key="k")).id


async def test_a_slow_store_is_waited_for_as_long_as_it_gets_on(autojump_clock):
    backend = FaultyBackend(MemoryBackend())
    async with open_engine(backend, jobs=[job_of()], environment=world()) as engine:
        with backend.failing("slow", seconds=0.7):
            execution = await engine.submit("job")
        with backend.failing("slow", seconds=2):
            await refused(lambda: engine.submit("job"))
            assert engine.health().state == "stalled"
        assert (await execution.wait()).state is State.SUCCESSFUL


async def test_reads_that_need_the_store_fail_and_do_not_hang(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "SAVE_EVENTS", 1)
    backend = FaultyBackend(MemoryBackend())
    async with open_engine(backend, jobs=[job_of()], environment=world()) as engine:
        execution = await engine.submit("job")
        await execution.wait()
        await trio.sleep(1)
        engine.store.ledger.forget(execution.id)
        engine.store.ledger.horizon = execution.id
        for mode in ("before", "hang"):
            with backend.failing(mode, operations=READS):
                begun = trio.current_time()
                for read in (lambda: engine.find(execution.id), engine.newest):
                    with pytest.raises(StoreUnavailable):
                        await read()
                assert trio.current_time() - begun < 10
        assert [record.id for record in await engine.newest()] == [execution.id]


async def test_after_a_restart_the_latest_executions_are_at_hand_without_the_store(autojump_clock):
    memory = MemoryBackend()
    async with open_engine(FaultyBackend(memory), jobs=[job_of()], environment=world()) as engine:
        ids = [(await engine.submit("job")).id for _ in range(3)]
        await trio.sleep(10)
    backend = FaultyBackend(memory)
    async with open_engine(backend, jobs=[job_of()], environment=world(1)) as engine:
        with backend.failing("hang"):
            assert [record.id for record in await engine.newest()] == ids[::-1]
            assert [record.id for record in await engine.newest("job", "successful", 2)] == ids[:0:-1]
            assert (await engine.find(ids[0])).state is State.SUCCESSFUL


@pytest.mark.parametrize("mode", ["before", "hang"])
async def test_a_store_that_is_down_at_the_start_is_an_error_soon(mode, autojump_clock):
    backend = FaultyBackend(MemoryBackend())
    begun = trio.current_time()
    with backend.failing(mode), pytest.raises(StoreUnavailable):
        async with open_engine(backend, jobs=[job_of()], environment=world()):
            pytest.fail("it was opened")
    assert trio.current_time() - begun < 10


async def test_an_engine_ends_though_its_store_hangs(autojump_clock):
    backend = FaultyBackend(MemoryBackend())
    with ExitStack() as outage:
        async with open_engine(backend, jobs=[job_of()], environment=world()) as engine:
            execution = await engine.submit("job")
            outage.enter_context(backend.failing("hang"))
            await trio.sleep(7)
            begun = trio.current_time()
        assert trio.current_time() - begun < 10
    async with open_engine(FaultyBackend(backend.inner), jobs=[job_of()], environment=world(1)) as engine:
        assert execution.id in [record.id for record in await engine.newest()]


async def test_a_store_that_comes_back_without_what_it_acknowledged_ends_the_engine(autojump_clock):
    memory = MemoryBackend()
    backend = FaultyBackend(memory)
    with pytest.raises(StoreError, match=r"came back without log/.*lost its latest writes"):
        async with open_engine(backend, jobs=[job_of()], environment=world()) as engine:
            await engine.submit("job")
            with backend.failing("before"):
                await refused(lambda: engine.submit("job"))
                (*_, (last, _)) = await memory.scan("log/")
                await memory.delete([last])
            await trio.sleep(10)
            pytest.fail("it went on")


async def test_an_instant_whose_submission_was_in_doubt_runs_once(autojump_clock):
    """The scheduler tries again what was refused; the store decides later that the first try came through."""
    job = Job("minutely", schedule="* * * * *", active=True)
    backend = FaultyBackend(MemoryBackend())
    async with open_engine(backend, jobs=[job], environment=world()) as engine:
        await trio.sleep(59)
        for mode in ("hang", "hang after", "unknown", "before", "after"):
            with backend.failing(mode, operations=WRITES):
                await trio.sleep(20)
            await trio.sleep(40)
        instants = sorted(record.scheduled_for for record in await engine.newest())
        assert instants == [START + timedelta(minutes=minute) for minute in range(1, 1 + len(instants))]
        assert len(instants) == 5
