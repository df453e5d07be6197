"""Finds out, at start, what the store knows: snapshots of the last checkpoint, then the log's tail folded over them.

It costs what is unfinished and what was written since the last checkpoint, not what is finished. It only reads, but
for the claim of a new epoch, so it may be cut off at any point and begun again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.environment import Environment
from goflow_trio.actors.ledger import Ledger, ScheduleState
from goflow_trio.actors.snapshots import read_snapshot
from goflow_trio.core.messages import Event, ExecutionReopened
from goflow_trio.errors import CodecError, StoreError
from goflow_trio.stores import Backend
from goflow_trio.stores.base import SCAN_LIMIT


@frozen
class Recovered:
    """What recovery found.

    Args:
        ledger: the state of everything that is not history.
        epoch: the number this engine writes under.
        epochs: first position of each epoch, by number.
        checkpoint: key of the last segment that the checkpoint covers; empty without one.
        saved_live: the keys of each snapshot under `live/`, by execution.
    """

    ledger: Ledger
    epoch: int
    epochs: dict[int, int]
    checkpoint: str
    saved_live: dict[str, list[str]]


async def recover(backend: Backend, environment: Environment) -> Recovered:
    """Read the state and claim the next epoch.

    Raises:
        StoreError: the store cannot be read, is damaged, or another engine claimed the epoch meanwhile.
    """
    await _check_meta(backend, environment)
    epochs = {
        int(key.removeprefix(keys.EPOCHS)): codec.decode_mapping(data, key)["first"]
        for key, data in await scan_all(backend, keys.EPOCHS)
    }
    ledger, checkpoint = await _read_checkpoint(backend)
    saved_live = {}
    for key, data in await scan_all(backend, keys.LIVE):
        record, its_keys = await read_snapshot(backend, key, data)
        saved_live[record.id] = its_keys
        ledger.live[record.id] = record
    await _drop_finished(backend, ledger)
    for key, data in await scan_all(backend, keys.JOBS):
        known = codec.decode_mapping(data, key)
        ledger.schedules[known["job"]] = ScheduleState.from_plain(known)
    tail = await scan_all(backend, keys.LOG, checkpoint)
    events = list(decode_segments(tail, epochs))
    await _fetch_reopened(backend, ledger, events)
    ledger.apply(events)
    epoch = max(epochs, default=0) + 1
    epochs[epoch] = ledger.seq + 1
    claim = codec.encode_mapping(
        {"first": epochs[epoch], "pid": os.getpid(), "host": socket.gethostname(), "since": environment.now()}
    )
    if not await backend.put_if_absent(keys.epoch(epoch), claim):
        raise StoreError("another goflow-trio opened this store at the same moment; let only one use it")
    return Recovered(ledger, epoch, epochs, checkpoint, saved_live)


async def _check_meta(backend: Backend, environment: Environment) -> None:
    meta = codec.encode_mapping({"format": codec.FORMAT_VERSION, "created": environment.now()})
    if not await backend.put_if_absent(keys.META, meta):
        codec.decode_mapping(await backend.get(keys.META) or b"", "the store's mark")  # refuses a newer format


async def _read_checkpoint(backend: Backend) -> tuple[Ledger, str]:
    data = await backend.get(keys.CHECKPOINT)
    if data is None:
        return Ledger(), ""
    checkpoint = codec.decode_mapping(data, "checkpoint")
    return Ledger(seq=checkpoint["seq"]), checkpoint["segment"]


async def _drop_finished(backend: Backend, ledger: Ledger) -> None:
    """Forget what has finished since its snapshot as a live one: the checkpoint that removes that was cut off."""
    finished = await backend.get_many([keys.execution(execution) for execution in ledger.live])
    for key, data in finished.items():
        record, _ = await read_snapshot(backend, key, data)
        if record.version > ledger.live[record.id].version:
            del ledger.live[record.id]


async def _fetch_reopened(backend: Backend, ledger: Ledger, events: Iterable[Event]) -> None:
    """Get the finished executions that the log's tail opens again: folding needs them at hand.

    Their snapshot may be older or newer than the tail's events; each of those counts once, by its version. One
    without a snapshot was finished in the tail itself.
    """
    for execution in {event.execution for event in events if isinstance(event, ExecutionReopened)} - set(ledger.live):
        key = keys.execution(execution)
        data = await backend.get(key)
        if data is not None:
            ledger.unsaved[execution], _ = await read_snapshot(backend, key, data)


async def scan_all(backend: Backend, prefix: str, after: str = "") -> list[tuple[str, bytes]]:
    """Return all pairs under a prefix, in order."""
    pairs: list[tuple[str, bytes]] = []
    while True:
        rows = await backend.scan(prefix, after)
        pairs += rows
        if len(rows) < SCAN_LIMIT:
            return pairs
        after = rows[-1][0]


def decode_segments(segments: Iterable[tuple[str, bytes]], epochs: Mapping[int, int]) -> Iterator[Event]:
    """Yield the events of segments that follow each other.

    What an engine wrote after another had taken over is not part of the log: a segment counts only if it begins
    before the next epoch does.

    Args:
        segments: keys and bytes, in order.
        epochs: first position of each epoch, by number.

    Raises:
        CodecError: a segment is damaged, or one is missing between two.
    """
    expected = 0
    for key, data in segments:
        first = keys.segment_first(key)
        if first >= epochs.get(keys.segment_epoch(key) + 1, first + 1):
            continue
        if expected and first != expected:
            raise CodecError(f"the log has a gap: after event {expected - 1} comes {first} ({key})")
        events = codec.decode_segment(data, first)
        expected = first + len(events)
        yield from events
