"""Looks at a whole store without changing it: what it holds, who holds it, and what of it is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import Factory, define

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.damage import Damage
from goflow_trio.actors.history import instant_of
from goflow_trio.actors.lease import Lease, is_dead
from goflow_trio.actors.patience import timed
from goflow_trio.actors.recovery import read_epochs
from goflow_trio.actors.segments import is_fence
from goflow_trio.actors.snapshots import read_snapshot
from goflow_trio.errors import CodecError, StoreIncompatible, StoreInUse
from goflow_trio.stores import Backend

PAGE = 100
"""Pairs read at a time; a value has some megabytes at most."""

_READ_SECONDS = 60.0
_LISTINGS = (keys.BY_JOB, keys.BY_STATE, keys.BY_BOTH, keys.PARTS)


@define
class Inspection:
    """What a store holds.

    Args:
        lease: of the engine that opened it last.
        records: how many keys, by the first part of the key.
        size: how many bytes of values, likewise.
        executions: finished executions by job and state.
        events: events in the log.
        oldest: when the oldest finished execution was submitted.
        newest: when the newest one was.
        damage: what cannot be read.
    """

    lease: Lease | None = None
    records: Counter[str] = Factory(Counter)
    size: Counter[str] = Factory(Counter)
    executions: Counter[tuple[str, str]] = Factory(Counter)
    events: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    damage: Damage = Factory(Damage)


async def next_page(backend: Backend, after: str) -> Sequence[tuple[str, bytes]]:
    """Return the pairs that follow a key, whatever they are; none at the end of the store."""
    return await timed(backend.scan, "", after, PAGE, seconds=_READ_SECONDS)


async def inspect_store(backend: Backend, progress: Callable[[int], None] = lambda _: None) -> Inspection:
    """Read a whole store and check every record of it.

    Args:
        backend: which.
        progress: told how many more keys were read.

    Raises:
        StoreIncompatible: it was written by a newer version.
        StoreError: it cannot be read.
    """
    found = Inspection()
    leases, _ = await read_epochs(backend, found.damage)
    found.lease = leases[max(leases)] if leases else None
    after = ""
    while rows := await next_page(backend, after):
        for key, data in rows:
            kind = key.partition("/")[0]
            found.records[kind] += 1
            found.size[kind] += len(data)
            if not key.startswith(_LISTINGS):
                await _check(backend, key, data, found)
        progress(len(rows))
        after = rows[-1][0]
    missing = found.records["by-job"] - found.records["executions"]
    if missing:
        which = "are listed and missing" if missing > 0 else "are there and not listed"
        found.damage.note("by-job/", f"{abs(missing)} executions {which}")
    return found


async def _check(backend: Backend, key: str, data: bytes, found: Inspection) -> None:
    try:
        if key.startswith(keys.EXECUTIONS):
            record, _ = await read_snapshot(backend, key, data)
            found.executions[record.job, record.state] += 1
            at = instant_of(record.id)
            found.newest = found.newest or at
            found.oldest = at
        elif key.startswith(keys.LIVE):
            await read_snapshot(backend, key, data)
        elif key.startswith(keys.LOG):
            found.events += 0 if is_fence(data) else len(codec.decode_segment(data, keys.segment_first(key)))
        else:
            codec.unseal(data, key)
    except StoreIncompatible:
        raise
    except CodecError as error:
        found.damage.note(key, error)


async def check_not_in_use(backend: Backend, now: datetime) -> Lease | None:
    """See that no engine works on a store; return what the last one left as its lease.

    Raises:
        StoreInUse: one does, as far as can be seen.
    """
    leases, _ = await read_epochs(backend, Damage())
    lease = leases[max(leases)] if leases else None
    if lease is not None and not lease.released and not is_dead(lease.holder) and not lease.has_run_out(now):
        raise StoreInUse(f"the store is in use by {lease.holder}; stop it first")
    return lease
