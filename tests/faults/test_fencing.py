"""One engine at a time writes to a store: the second is refused, a dead one is replaced, a stale one can do no harm."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from goflow_trio import Job, State, open_engine
from goflow_trio.actors import keys, lease
from goflow_trio.actors.damage import Damage
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.actors.segments import decode_segments
from goflow_trio.actors.store import open_store
from goflow_trio.core import limits
from goflow_trio.core.messages import ScheduleToggled
from goflow_trio.errors import StoreFenced, StoreInUse
from goflow_trio.stores import Durability
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import FaultyBackend

START = datetime(2026, 1, 1, tzinfo=UTC)
SHARED = Durability(survives_kill=True, survives_power_cut=False, detail="as if others could open it too")


def shared(memory):
    return FaultyBackend(memory, durability=SHARED)


def job() -> Job:
    job = Job("job")

    @job.task
    async def work():
        await trio.sleep(1)

    return job


def world(minute=0):
    return virtual_environment(START.replace(minute=minute), seed=minute)


async def test_a_second_engine_is_refused_and_told_who_holds_the_store(autojump_clock):
    memory, clock = MemoryBackend(), world()
    async with open_engine(shared(memory), jobs=[job()], environment=clock) as engine:
        engine.store.listens_at("http://127.0.0.1:8181")
        await trio.sleep(limits.LEASE_RENEWAL_SECONDS + 1)
        for takeover in (False, True):
            with pytest.raises(StoreInUse, match=r"process \d+ on .* at http://127.0.0.1:8181 \(since 2026"):
                async with open_engine(shared(memory), jobs=[job()], environment=clock, takeover=takeover):
                    pytest.fail("it was opened")
        assert (await (await engine.submit("job")).wait()).state is State.SUCCESSFUL
    async with open_engine(shared(memory), jobs=[job()], environment=world(2)) as engine:
        assert len(await engine.newest()) == 1, "let go of, it can be opened at once"


async def set_holder(memory, epoch=1, **changes):
    key = keys.epoch(epoch)
    record = lease.read_lease(await memory.get(key), key)
    await memory.put({key: evolve(record, released=False, holder=evolve(record.holder, **changes)).encode()})


async def engine_that_died(memory):
    async with open_engine(shared(memory), jobs=[job()], environment=world()) as engine:
        await engine.submit("job")


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 1}, {"process_started": "1"}, {"token": "gone"}], ids=str)
async def test_a_holder_that_died_here_is_replaced_at_once(changes, autojump_clock):
    memory = MemoryBackend()
    await engine_that_died(memory)
    await set_holder(memory, **changes)
    begun = trio.current_time()
    async with open_engine(shared(memory), jobs=[job()], environment=world(1)) as engine:
        assert len(await engine.newest()) == 1
        assert trio.current_time() - begun < 1


async def test_a_holder_elsewhere_is_replaced_only_when_told_and_once_its_lease_has_run_out(autojump_clock):
    memory = MemoryBackend()
    await engine_that_died(memory)
    await set_holder(memory, host="elsewhere")
    environment = virtual_environment(START)
    begun = trio.current_time()
    with pytest.raises(StoreInUse, match=r"on elsewhere .*stop it first, or name another store"):
        await open_store(shared(memory), environment)
    store = await open_store(shared(memory), environment, takeover=True)
    assert trio.current_time() - begun == pytest.approx(limits.LEASE_SECONDS, abs=1)
    await store.close()


async def test_without_the_word_the_lease_that_ran_out_is_only_told(autojump_clock):
    memory = MemoryBackend()
    await engine_that_died(memory)
    await set_holder(memory, host="elsewhere")
    with pytest.raises(StoreInUse, match=r"its lease ran out .* s ago: if it is gone, start with --takeover"):
        await open_store(shared(memory), world(30))


async def test_an_idle_engine_that_was_taken_over_from_notices_and_ends(autojump_clock):
    memory = MemoryBackend()
    begun = trio.current_time()
    with pytest.raises(StoreFenced, match=r"process \d+ on .* took over this store"):
        async with open_engine(shared(memory), jobs=[job()], environment=world()):
            await set_holder(memory, host="elsewhere")
            taken = await open_store(shared(memory), world(30), takeover=True)
            await trio.sleep(60)
            pytest.fail("it went on")
    assert trio.current_time() - begun < limits.LEASE_RENEWAL_SECONDS + 1
    await taken.close()


async def test_one_that_runs_something_ends_without_a_further_effect(autojump_clock):
    memory = MemoryBackend()
    effects = []
    two = Job("job")

    @two.task
    async def first():
        await trio.sleep(1)

    @two.task(upstream=first)
    async def second():
        effects.append("stale")

    with pytest.raises(StoreFenced):
        async with open_engine(shared(memory), jobs=[two], environment=world()) as engine:
            execution = await engine.submit("job")
            await set_holder(memory, host="elsewhere")
            taken = await open_store(shared(memory), world(30), takeover=True)
            await execution.wait()
            pytest.fail("it went on")
    assert not effects
    assert taken.ledger.live[execution.id].tasks["first"].state is State.RUNNING
    await taken.close()


async def test_one_that_ends_without_having_noticed_leaves_the_other_its_checkpoint(autojump_clock):
    memory = MemoryBackend()
    stale = await open_store(shared(memory), world())
    await set_holder(memory, token="taken for dead")
    async with open_engine(shared(memory), jobs=[job()], environment=world(1)) as engine:
        execution = await engine.submit("job")
        await trio.sleep(0.5)  # a checkpoint, with the execution in it
        kept = [key for key, _ in await memory.scan("") if key.startswith(("live/", "checkpoint/"))]
        assert any(execution.id in key for key in kept)
        await stale.close()
        assert {key for key, _ in await memory.scan("")} >= set(kept)


class Gate:
    """Lets the operations of several backends through one at a time, in an order that is given."""

    def __init__(self, order):
        self.order = list(order)
        self.bell = trio.Event()

    async def turn(self, name):
        while self.order and self.order[0] != name:
            await self.bell.wait()

    def took(self, name):
        if self.order and self.order[0] == name:
            del self.order[0]
        self.ring()

    def skip(self, name):
        """Its owner has ended: its turns are nobody's."""
        self.order = [other for other in self.order if other != name]
        self.ring()

    def ring(self):
        self.bell.set()
        self.bell = trio.Event()


class Gated(FaultyBackend):
    def __init__(self, memory, gate, name):
        super().__init__(memory, durability=SHARED)
        self.gate, self.name = gate, name

    async def _do(self, *args):
        await self.gate.turn(self.name)
        try:
            return await super()._do(*args)
        finally:
            self.gate.took(self.name)


async def interleave(order):
    """An engine's store writes three times while another one takes the store and writes twice, in this order."""
    memory = MemoryBackend()
    gate = Gate([])
    old = await open_store(Gated(memory, gate, "old"), world())
    await set_holder(memory, token="taken for dead")
    gate.order = list(order)
    acked, recovered = [], []

    async def write(store, name, turns):
        async with trio.open_nursery() as nursery:

            async def run():
                try:
                    await store._write()
                except StoreFenced:
                    acked.append(f"{name} fenced")
                    nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            for turn in range(turns):
                await store.append((ScheduleToggled(START, f"{name} {turn}", active=True),))
                acked.append(f"{name} {turn}")
            nursery.cancel_scope.cancel()
        gate.skip(name)

    async def take_over():
        new = await open_store(Gated(memory, gate, "new"), world(1))
        recovered.extend(new.ledger.schedules)
        acked.append("taken")
        await write(new, "new", 2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, old, "old", 3)
        nursery.start_soon(take_over)
    events = [event for some in decode_segments(await memory.scan("log/"), Damage()) for event in some]
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "one log, without gap or fork"
    written = [event.job for event in events]
    assert set(written) >= {ack for ack in acked if ack[-1].isdigit()}, "what was acknowledged is in it"
    assert sorted(written) == sorted(set(written))
    assert written == [*recovered, "new 0", "new 1"], "what the new one did not find is never written"
    return "old fenced" in acked


def test_in_every_interleaving_of_two_engines_there_is_one_log_and_nothing_acknowledged_is_lost():
    """Three writes of one engine fall between any of the operations of another that takes its store."""
    fenced = 0
    orders = list(itertools.combinations_with_replacement(range(15), 3))
    for places in orders:
        order = []
        for place in range(15):
            order += ["old"] * places.count(place) + ["new"]
        fenced += trio.run(interleave, order, clock=MockClock(autojump_threshold=0))
    assert 0 < fenced < len(orders)
