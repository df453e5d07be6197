"""Finds out, at start, what the store knows: snapshots of the last checkpoint, then the log's tail folded over them.

It costs what is unfinished and what was written since the last checkpoint, not what is finished. It only reads, but
for two writes at its end, each of them made once and only if it is not there: a *fence* behind the last segment of the
epoch before, where that epoch's engine can then write no more, and the claim of a new epoch. So it may be cut off at
any point and begun again, and of several that open a store at once exactly one comes through.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import trio
from attrs import asdict, frozen

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.damage import Damage
from goflow_trio.actors.environment import Environment
from goflow_trio.actors.lease import Holder, Lease, hold, is_dead, let_go, read_lease, this_engine
from goflow_trio.actors.ledger import Ledger, ScheduleState
from goflow_trio.actors.patience import timed
from goflow_trio.actors.segments import decode_segments, fence, is_fence, next_position
from goflow_trio.actors.snapshots import read_snapshot
from goflow_trio.core import limits
from goflow_trio.core.messages import Event, ExecutionReopened
from goflow_trio.errors import CodecError, StoreIncompatible, StoreInUse
from goflow_trio.stores import Backend
from goflow_trio.stores.base import SCAN_LIMIT, can_be_shared

logger = logging.getLogger("goflow_trio.store")

_READ_SECONDS = 60.0
_CACHED_AT_START = 1_000


@frozen
class Recovered:
    """What recovery found.

    Args:
        ledger: the state of everything that is not history.
        damage: what could not be read.
        epoch: the number this engine writes under.
        lease: its claim.
        epochs: first position of each epoch, by number.
        segment: key of the last segment that is in the ledger; empty if there is none.
    """

    ledger: Ledger
    damage: Damage
    epoch: int
    lease: Lease
    epochs: dict[int, int]
    segment: str


@frozen
class _Checkpoint:
    seq: int
    segment: str
    live: tuple[str, ...]
    schedules: dict[str, ScheduleState]


async def recover(backend: Backend, environment: Environment, *, takeover: bool = False) -> Recovered:
    """Read the state, fence off whoever wrote before, and claim the next epoch.

    Args:
        backend: where.
        environment: clock, and randomness for a token.
        takeover: whether to take the store from a holder whose lease has run out, though it may still live.

    Raises:
        StoreInUse: another engine holds it, or opened it at the same moment.
        StoreIncompatible: it was written by a newer version.
        StoreError: it cannot be read.
    """
    damage = Damage()
    await _check_meta(backend, environment, damage)
    leases, firsts = await read_epochs(backend, damage)
    last = max(firsts, default=0)
    if last in leases and can_be_shared(backend):
        await _wait_for_holder(backend, environment, last, leases[last], takeover=takeover)
    ledger, tail_after = await _read_checkpoint(backend, damage)
    tail = await scan_all(backend, keys.LOG, tail_after)
    for events in decode_segments(tail, damage, after=ledger.seq):
        await _apply(backend, ledger, damage, events)
    ledger.seq = next_position(ledger.seq, [key for key, _ in tail], damage) - 1
    reached = max((known.reached for known in leases.values()), default=0)
    if reached > ledger.seq:
        lost = f"events {ledger.seq + 1} to {reached}, which had been acknowledged, are missing from the end of the log"
        damage.note(keys.LOG, lost)
        ledger.seq = reached
    await _read_latest(backend, ledger, damage)
    holder = this_engine(environment.now(), f"{environment.random_bits(64):016x}")
    segment = await _fence_off(backend, last, ledger, damage, holder) if last else ""
    firsts[last + 1] = ledger.seq + 1
    lease = Lease(ledger.seq + 1, holder, environment.now())
    hold(holder.token)
    try:
        await _claim(backend, keys.epoch(last + 1), lease)
    except BaseException:
        let_go(holder.token)
        raise
    return Recovered(ledger, damage, last + 1, lease, firsts, segment)


async def _claim(backend: Backend, key: str, lease: Lease) -> None:
    """Put the record of a new epoch, unless another engine has."""
    if not await timed(backend.put_if_absent, key, lease.encode()):
        winner = await timed(backend.get, key)
        if winner != lease.encode():  # else it is our own, from a try whose outcome was unknown
            raise _in_use(read_lease(winner or b"", key).holder, "it opened it at the same moment")


async def _check_meta(backend: Backend, environment: Environment, damage: Damage) -> None:
    """Mark the store as ours, or see that it is, and of a version that is understood here."""
    if await timed(backend.get, keys.COPYING) is not None:
        raise StoreIncompatible(
            "a copy into this store was begun and not finished: repeat goflow-trio store copy (or import), it goes on "
            "where it was"
        )
    meta = codec.encode_mapping({"format": codec.FORMAT_VERSION, "created": environment.now()})
    if await timed(backend.put_if_absent, keys.META, meta):
        return
    try:
        data = await timed(backend.get, keys.META)
        found = codec.decode_mapping(data or b"", keys.META)
    except StoreIncompatible:
        raise
    except CodecError as error:
        damage.note(keys.META, error)
        return
    if found.get("format", 0) < codec.FORMAT_VERSION:  # what it holds is brought up to date as it is read
        await timed(backend.put, {keys.META: codec.encode_mapping({**found, "format": codec.FORMAT_VERSION})})


async def read_epochs(backend: Backend, damage: Damage) -> tuple[dict[int, Lease], dict[int, int]]:
    """Return the epochs' leases that can be read, and the first position of each epoch that is known, by number."""
    leases: dict[int, Lease] = {}
    firsts: dict[int, int] = {}
    for key, data in await scan_all(backend, keys.EPOCHS):
        try:
            number = keys.number_of(key)
            firsts[number] = 0  # not known: its own first segment tells a reader of the log
            leases[number] = read_lease(data, key)
            firsts[number] = leases[number].first
        except StoreIncompatible:
            raise
        except (CodecError, TypeError, KeyError) as error:
            damage.note(key, error)
    return leases, firsts


async def _wait_for_holder(
    backend: Backend, environment: Environment, epoch: int, lease: Lease, *, takeover: bool
) -> None:
    """Return when the store may be taken: its holder let go, is dead, or has not said for too long that it lives."""
    if lease.released or is_dead(lease.holder):
        return
    if not takeover:
        ago = (environment.now() - lease.renewed).total_seconds()
        mend = (
            f"its lease ran out {ago - limits.LEASE_SECONDS:.0f} s ago: if it is gone, start with --takeover"
            if lease.has_run_out(environment.now())
            else "stop it first, or name another store"
        )
        raise _in_use(lease.holder, mend)
    wait = limits.LEASE_SECONDS - (environment.now() - lease.renewed).total_seconds()
    if wait > 0:  # once only: a lease that is renewed meanwhile is that of an engine which lives
        logger.warning("waiting %.0f s for the lease of %s to run out", wait, lease.holder)
        await trio.sleep(min(wait, limits.LEASE_SECONDS))
        key = keys.epoch(epoch)
        data = await timed(backend.get, key)
        now_there = read_lease(data or b"", key)
        if not now_there.released and now_there.renewed != lease.renewed:
            raise _in_use(now_there.holder, "it lives and renews its lease: stop it first")
    logger.warning("taking the store over from %s", lease.holder)


def _in_use(holder: Holder, mend: str) -> StoreInUse:
    return StoreInUse(f"the store is in use by {holder}; {mend}")


async def _read_checkpoint(backend: Backend, damage: Damage) -> tuple[Ledger, str]:
    """Return the state as of the last checkpoint, and the key of the last segment that is in it."""
    found = await scan_all(backend, keys.CHECKPOINTS)
    checkpoint = None
    for key, data in reversed(found):
        try:
            checkpoint = _decode_checkpoint(key, data)
            break
        except StoreIncompatible:
            raise
        except (CodecError, TypeError, KeyError) as error:
            damage.note(key, error)
    if checkpoint is None:
        return Ledger(), ""
    ledger = Ledger(seq=checkpoint.seq, schedules=checkpoint.schedules)
    values = await timed(backend.get_many, checkpoint.live, seconds=_READ_SECONDS)
    complete = True
    for key in checkpoint.live:
        try:
            record, _ = await read_snapshot(backend, key, values.get(key, b""))
        except CodecError as error:
            damage.note(key, error)
            complete = False
            continue
        (ledger.unsaved if record.state.is_final else ledger.live)[record.id] = record
    if complete:
        return ledger, checkpoint.segment
    # The log may reach back to the beginning of what is damaged: read all of it, and nothing may be lost.
    ledger.seq = 0
    return ledger, ""


def _decode_checkpoint(key: str, data: bytes) -> _Checkpoint:
    values = codec.decode_mapping(data, key)
    epoch = keys.number_of(key)
    live = tuple(keys.live(epoch, execution, version) for execution, version in values["live"])
    schedules = {job: ScheduleState.from_plain(state) for job, state in values["schedules"].items()}
    return _Checkpoint(values["seq"], values["segment"], live, schedules)


def encode_checkpoint(
    seq: int, segment: str, schedules: Mapping[str, Mapping[str, Any]], live: list[tuple[str, int]]
) -> bytes:
    """Return a checkpoint as bytes.

    Args:
        seq: position of the last event that is in it.
        segment: key of the segment that holds that event.
        schedules: what they came to at that event, as plain data by job.
        live: ids and versions of the snapshots that belong to it.
    """
    return codec.encode_mapping({"seq": seq, "segment": segment, "live": live, "schedules": schedules})


async def _read_latest(backend: Backend, ledger: Ledger, damage: Damage) -> None:
    """Put the newest finished executions at hand, so that they can be looked at while the store is away."""
    rows = await timed(backend.scan, keys.EXECUTIONS, "", _CACHED_AT_START, seconds=_READ_SECONDS)
    tasks = 0
    records = []
    for key, data in rows:
        execution = keys.flip(key.removeprefix(keys.EXECUTIONS))
        try:
            record = codec.decode_record(data, key)
        except CodecError as error:
            if not _is_whole(data):  # neither a record nor the head of one in parts
                damage.note(key, error)
            ledger.horizon = max(ledger.horizon, execution)
            continue
        tasks += len(record.tasks)
        if tasks > limits.CACHED_TASKS:
            ledger.horizon = max(ledger.horizon, execution)
            break
        records.append(record)
    if len(rows) == _CACHED_AT_START:
        ledger.horizon = max(ledger.horizon, keys.flip(rows[-1][0].removeprefix(keys.EXECUTIONS)))
    for record in reversed(records):
        if record.id not in ledger.live and record.id not in ledger.unsaved:
            ledger.remember(record)


def _is_whole(data: bytes) -> bool:
    try:
        codec.unseal(data)
    except CodecError:
        return False
    return True


async def _apply(backend: Backend, ledger: Ledger, damage: Damage, events: list[Event]) -> None:
    """Fold events of the tail. Finished executions that they open again are fetched: folding needs them at hand.

    Their snapshot may be older or newer than these events; each of those counts once, by its version. One without a
    snapshot was finished in the tail itself.
    """
    reopened = {event.execution for event in events if isinstance(event, ExecutionReopened)}
    wanted = {keys.execution(execution): execution for execution in reopened if ledger.find(execution) is None}
    for key, data in (await timed(backend.get_many, list(wanted)) if wanted else {}).items():
        try:
            ledger.unsaved[wanted[key]], _ = await read_snapshot(backend, key, data)
        except CodecError as error:
            damage.note(key, error)
    ledger.apply(events)


async def _fence_off(backend: Backend, epoch: int, ledger: Ledger, damage: Damage, holder: Holder) -> str:
    """Put a fence where the last engine would write next, and return its key; fold what was written until then."""
    while True:
        key = keys.segment(epoch, ledger.seq + 1)
        if await timed(backend.put_if_absent, key, fence(asdict(holder))):
            return key
        data = await timed(backend.get, key)
        if data is None or is_fence(data):
            return key
        for events in decode_segments([(key, data)], damage, after=ledger.seq):
            await _apply(backend, ledger, damage, events)
        ledger.seq = next_position(ledger.seq, [key], damage) - 1


async def scan_all(backend: Backend, prefix: str, after: str = "") -> list[tuple[str, bytes]]:
    """Return all pairs under a prefix, in order."""
    pairs: list[tuple[str, bytes]] = []
    while True:
        rows = await timed(backend.scan, prefix, after, seconds=_READ_SECONDS)
        pairs += rows
        if len(rows) < SCAN_LIMIT:
            return pairs
        after = rows[-1][0]
