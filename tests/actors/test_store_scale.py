"""What a start and a page cost does not grow with the history: counted in operations of the store, not in seconds."""

from __future__ import annotations

import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from goflow_trio import Job, Task, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.actors.history import first_id_at
from goflow_trio.core import limits
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import FaultyBackend

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "store_scale.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("store_scale", BENCHMARK)
    module = sys.modules["store_scale"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["store_scale"]


@pytest.mark.parametrize("total", [3_000, 10_000])
async def test_a_start_and_a_page_take_as_many_operations_on_a_long_history_as_on_a_short_one(scale, total):
    memory = MemoryBackend()
    async with open_engine(FaultyBackend(memory), jobs=scale.make_jobs()):
        pass
    await scale.fill(memory, total)
    backend = FaultyBackend(memory)
    async with open_engine(backend, jobs=scale.make_jobs()) as engine:
        assert backend.operations < 20 + 2 * scale.JOBS
        assert len(engine.store.ledger.recent) == limits.LIST_EXECUTIONS
        middle = engine.now() - timedelta(days=scale.DAYS / 2)
        for options in (
            {},
            {"before": first_id_at(middle)},
            {"job": "job-7", "until": middle},
            {"state": "failed", "before": first_id_at(middle)},
            {"job": "job-10", "state": "failed", "until": middle},
        ):
            before = backend.operations
            page = await engine.newest(limit=50, **options)
            assert len(page) == 50
            assert backend.operations - before <= 2
            assert [record.id for record in page] == sorted((record.id for record in page), reverse=True)
            assert all(record.submitted < middle for record in page) or not options


async def test_since_and_until_cut_a_listing_and_its_cursor_goes_on(scale):
    memory = MemoryBackend()
    total = 3_000
    async with open_engine(FaultyBackend(memory), jobs=scale.make_jobs()):
        pass
    await scale.fill(memory, total)
    async with open_engine(FaultyBackend(memory), jobs=scale.make_jobs()) as engine:
        everything = await engine.newest(limit=total + 1)
        assert len(everything) == total
        since, until = everything[2_000].submitted, everything[500].submitted
        for job in (None, "job-3"):
            for state in (None, "failed", "successful"):
                expected = [
                    record.id
                    for record in everything
                    if since <= record.submitted < until
                    and (job is None or record.job == job)
                    and (state is None or record.state == state)
                ]
                found, cursor = [], None
                while True:
                    page = await engine.newest(job, state, 37, cursor, since, until)
                    found += [record.id for record in page]
                    if len(page) < 37:
                        break
                    cursor = page[-1].id
                assert found == expected


async def test_the_log_does_not_outgrow_its_bound_though_the_engine_is_never_idle(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "LOG_EVENTS", 200)
    monkeypatch.setattr(limits, "CHECKPOINT_EVENTS", 100)
    memory = MemoryBackend()
    job = Job("busy")
    job.add(Task("work", trio.lowlevel.checkpoint))
    async with open_engine(FaultyBackend(memory), jobs=[job]) as engine:
        most = 0
        for _ in range(600):
            await engine.submit("busy")
            await trio.sleep(0.05)
            most = max(most, len(await memory.scan("log/", "", 10_000)))
        assert engine.seq > 2_000
        assert most < 500
        assert len(engine.store.ledger.unsaved) < 100


async def test_starts_long_ago_leave_nothing_behind(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "EPOCHS", 3)
    monkeypatch.setattr(limits, "LOG_EVENTS", 10)
    memory = MemoryBackend()
    job = Job("job")
    job.add(Task("work", trio.lowlevel.checkpoint))
    for start in range(12):
        environment = virtual_environment(datetime(2026, 1, 1, start, tzinfo=UTC))
        async with open_engine(FaultyBackend(memory), jobs=[job], environment=environment) as engine:
            for _ in range(3):
                await (await engine.submit("job")).wait()
            await trio.sleep(5)
            assert len(await engine.newest()) == 3 * (start + 1)
    kept = [key for key, _ in await memory.scan("")]
    assert len([key for key in kept if key.startswith("epoch/")]) <= 4
    assert len({key.split("/")[1] for key in kept if key.startswith("log/")}) <= 4
    assert len([key for key in kept if key.startswith(("checkpoint/", "live/"))]) <= 1


async def test_an_execution_now_and_then_costs_two_operations_of_the_store_and_few_more(autojump_clock):
    backend = FaultyBackend(MemoryBackend())
    job = Job("hourly")
    job.add(Task("work", trio.lowlevel.checkpoint))
    world = virtual_environment(datetime(2026, 1, 1, tzinfo=UTC))
    async with open_engine(backend, jobs=[job], environment=world) as engine:
        await trio.sleep(60)
        before = backend.operations
        for _ in range(400):
            await (await engine.submit("hourly")).wait()
            await trio.sleep(60)
        assert backend.operations - before < 2.2 * 400


async def test_what_the_log_alone_has_in_bytes_is_bounded_too(autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 10_000)
    job = Job("large")

    @job.task
    async def work():
        return "x" * 4_000

    async with open_engine(FaultyBackend(MemoryBackend()), jobs=[job]) as engine:
        for _ in range(20):
            await (await engine.submit("large")).wait()
            await trio.sleep(1)
        assert len(engine.store.ledger.unsaved) < 5
