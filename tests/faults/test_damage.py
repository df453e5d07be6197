"""Bit rot: whatever byte of a store is changed or lost, nothing crashes, nothing is silently wrong, the rest works."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from goflow_trio import Job, State, StoreError, open_engine
from goflow_trio.actors import keys
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.actors.segments import is_fence
from goflow_trio.errors import CodecError, StoreIncompatible
from goflow_trio.stores import Durability
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import FaultyBackend

START = datetime(2026, 1, 1, tzinfo=UTC)
SHARED = Durability(survives_kill=True, survives_power_cut=False, detail="as if others could open it too")


def jobs(hang=True):
    job = Job("job", schedule="0 0 1 1 *")

    @job.task
    async def work(context):
        return "done"

    long = Job("long")

    @long.task(idempotent=True)
    async def nap(context):
        await trio.sleep(1_000_000 if hang else 1)

    return [job, long]


async def small_store():
    """Return the values of a store in which something is of every kind, and its records."""
    memory = MemoryBackend()
    backend = FaultyBackend(memory)
    async with open_engine(backend, jobs=jobs(), environment=virtual_environment(START)) as engine:
        await engine.toggle("job")
        for number in range(3):
            await (await engine.submit("job", idempotency_key=f"key {number}")).wait()
        await engine.submit("long")
        await trio.sleep(1)  # a checkpoint
        await engine.submit("long")
        await (await engine.submit("job")).wait()
        backend.fail(backend.operations + 1, "die")  # and a tail of the log
        records = {record.id: record for record in await engine.newest()}
    return dict(await memory.scan("")), records


async def look(values, records):
    """Open a store and see that what it shows is true. Returns what it says of its health."""
    memory = MemoryBackend()
    await memory.put(values)
    environment = virtual_environment(START.replace(minute=30))
    async with open_engine(FaultyBackend(memory), jobs=jobs(hang=False), environment=environment) as engine:
        found = {record.id: record for record in await engine.newest()}
        listed = {record.id: record for job in ("job", "long") for record in await engine.newest(job)}
        for execution in records:
            try:
                record = await engine.find(execution)
            except CodecError:
                assert not engine.health().ready or engine.health().causes
                continue
            assert (record is None) == (execution not in found)
        for execution in engine._executions:
            await execution.wait()
        health = engine.health()
        for records_shown in (found, listed):
            for execution, record in records_shown.items():
                was = records[execution]
                assert record.state.is_final
                assert (record.job, record.submitted, record.params) == (was.job, was.submitted, was.params)
                if record.state is not State.SUCCESSFUL or (was.state.is_final and record != was):
                    assert health.causes, "its latest events are lost, and nothing says so"
        active = engine.is_active("job")
        await (await engine.submit("job")).wait()  # it works
        if set(found) != set(records) or set(listed) != set(records) or not active:
            assert health.causes, "something is missing, and nothing says so"
            assert health.causes[0].name == "damaged record"
            assert health.ready
        return health


def check(values, records):
    try:
        return trio.run(look, values, records, clock=MockClock(autojump_threshold=0))
    except StoreIncompatible as error:
        pytest.fail(f"damage was taken for another version: {error}")


@pytest.fixture(scope="module")
def stored():
    logging.disable()
    yield trio.run(small_store, clock=MockClock(autojump_threshold=0))
    logging.disable(logging.NOTSET)


def test_the_store_as_it_is_shows_everything(stored):
    values, records = stored
    assert len(records) == 6
    assert not check(values, records).causes
    kinds = {key.split("/")[0] for key in values}
    assert kinds >= {"meta", "epoch", "log", "checkpoint", "live", "executions", "definitions", "idempotency"}


def flip_each(stored, step):
    values, records = stored
    for key, value in values.items():
        for place in range(0, len(value), step):
            changed = bytearray(value)
            changed[place] ^= 1 << (place % 8)
            check({**values, key: bytes(changed)}, records)


def test_a_changed_byte_anywhere(stored):
    flip_each(stored, 41)


@pytest.mark.slow
def test_every_changed_byte(stored):
    flip_each(stored, 1)


def test_each_value_cut_short_emptied_or_gone(stored):
    values, records = stored
    for key, value in values.items():
        if not value:
            continue  # a place in a listing
        for cut in (b"", value[:1], value[:8], value[:-1], value + b"\0"):
            check({**values, key: cut}, records)


@pytest.mark.parametrize("kind", ["live/", "log/", "definitions/", "checkpoint/", "epoch/"])
def test_a_value_that_is_gone_is_missed_or_was_not_needed(stored, kind):
    values, records = stored
    some = sorted(key for key in values if key.startswith(kind))
    for key in some[:-1] if kind == "log/" else some:  # an end that is cut off cleanly is a shorter log
        check({name: value for name, value in values.items() if name != key}, records)


async def still_works(values):
    memory = MemoryBackend()
    await memory.put(values)
    environment = virtual_environment(START.replace(minute=30))
    async with open_engine(FaultyBackend(memory), jobs=jobs(hang=False), environment=environment) as engine:
        await engine.newest()
        await (await engine.submit("job")).wait()
        await trio.sleep(1)
        assert engine.health().ready


def test_a_changed_key_anywhere_stops_nothing(stored):
    """A file of bytes does not know which of them are keys; what cannot be found any more, `store info` counts."""
    values, _ = stored
    for key in values:
        for place in range(0, len(key), 9):
            changed = {name: value for name, value in values.items() if name != key}
            changed[key[:place] + "!" + key[place + 1 :]] = values[key]
            trio.run(still_works, changed, clock=MockClock(autojump_threshold=0))


def test_a_damaged_claim_refuses_its_key_and_no_other(stored):
    values, _ = stored

    async def main():
        memory = MemoryBackend()
        await memory.put({**values, keys.idempotency("job", "key 1"): b"damaged"})
        async with open_engine(FaultyBackend(memory), jobs=jobs(), environment=virtual_environment(START)) as engine:
            with pytest.raises(StoreError, match="idempotency/job/"):
                await engine.submit("job", idempotency_key="key 1")
            await engine.submit("job", idempotency_key="key 4")
            assert "idempotency" in engine.health().causes[0].detail

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_an_end_of_the_log_that_was_acknowledged_and_is_gone_is_missed():
    """As after a failover to a replica that had not got it: the holder's record says how far the log had come."""

    async def main():
        memory = MemoryBackend()
        for minute in range(2):
            backend = FaultyBackend(memory, durability=SHARED)
            environment = virtual_environment(START.replace(minute=minute))
            async with open_engine(backend, jobs=jobs(), environment=environment) as engine:
                await engine.submit("long")
        *_, (before, _), (last, _) = await memory.scan("log/00000001/")
        assert not is_fence(await memory.get(before))
        assert is_fence(await memory.get(last))
        await memory.delete([key for key, _ in await memory.scan("log/00000002/")])
        await memory.delete([key for key, _ in await memory.scan("checkpoint/")])
        async with open_engine(
            FaultyBackend(memory), jobs=jobs(), environment=virtual_environment(START.replace(minute=2))
        ) as engine:
            assert "missing from the end of the log" in engine.health().causes[0].detail
            await engine.submit("long")
        async with open_engine(
            FaultyBackend(memory), jobs=jobs(), environment=virtual_environment(START.replace(minute=3))
        ) as engine:
            assert len(await engine.newest()) == 2

    trio.run(main, clock=MockClock(autojump_threshold=0))
