"""What the store needs besides its log: snapshots of what finished, checkpoints, and removal of what is too old.

None of it is needed for what was acknowledged to last; it only makes the next start and the reads quick. So it is an
actor of its own, works in small steps beside the writer, at quiet moments where there are any, and may be cut off
anywhere. It first makes sure that the store is still this engine's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

import trio

from goflow_trio.actors import keys, lease
from goflow_trio.actors.patience import Patience
from goflow_trio.actors.recovery import Recovered, encode_checkpoint
from goflow_trio.actors.retention import Sweep
from goflow_trio.actors.segments import is_fence
from goflow_trio.actors.snapshots import finished_pairs, snapshot_pairs, stale_listings
from goflow_trio.core import limits
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import CodecError
from goflow_trio.jobs.retention import Retention
from goflow_trio.stores import Backend
from goflow_trio.stores.base import answers_at_once

_IDLE_SECONDS = 0.2
_BUSY_SECONDS = 1.0
_STEP = 50
_LOG_PAGE = 50  # a segment may have some megabytes
_LOG_PAGES = 20

T = TypeVar("T")


class Upkeep:
    """The actor.

    Args:
        backend: where.
        recovered: what the store was opened with.
        now: the wall clock.
        policies: what is kept of each job's finished executions, where it differs from the default; None: all.

    Attributes:
        patience: its dealings with the backend.
    """

    def __init__(
        self,
        backend: Backend,
        recovered: Recovered,
        now: Callable[[], datetime],
        policies: Mapping[str, Retention] | None,
    ) -> None:
        self.patience = Patience(now, at_once=answers_at_once(backend))
        self._backend = backend
        self._ledger = recovered.ledger
        self._epoch = recovered.epoch
        self._epochs = recovered.epochs
        self._segment = recovered.segment
        # The first quiet moment after a start makes one, and saves what the log alone has.
        self._since_checkpoint = limits.CHECKPOINT_EVENTS
        self._since_save = 0
        self._bytes_since_save = 0
        self._saved_live: set[str] | None = None  # None: what engines before left has still to be removed
        self._log_to_prune = False
        self._log_after = ""
        self._bell = trio.Event()
        self._now = now
        self._policies = policies
        self._sweep: Sweep | None = None
        self._next_sweep = trio.current_time() if policies is not None else math.inf
        self._since_sweep = 0

    def written(self, events: int, size: int, segment: str) -> None:
        """Note that so many events, of so many bytes, were written, up to and with this segment."""
        self._since_checkpoint += events
        self._since_save += events
        self._bytes_since_save += size
        self._segment = segment
        if self._has_work():
            self._bell.set()

    # The actor --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            StoreFenced: another engine has taken the store.
        """
        while True:
            await self._wait_for_work()
            await self._work()

    async def _work(self) -> None:
        """Do one step of everything there is to do."""
        await self.check_fence()
        if self._since_checkpoint >= limits.CHECKPOINT_EVENTS:
            await self.checkpoint()
        elif self._may_save():
            await self.save_finished()
        for _ in range(_LOG_PAGES):
            if self._log_to_prune:
                await self._prune_log()
        until = trio.current_time() + _BUSY_SECONDS
        while self._sweep_is_due() and trio.current_time() < until:
            await self._prune_executions()

    async def _wait_for_work(self) -> None:
        """Wait for something to do, and then for a quiet moment, unless it has waited for long."""
        while not self._has_work():
            self._bell = trio.Event()
            with trio.move_on_at(self._next_sweep):
                await self._bell.wait()
        busy_since = trio.current_time()
        while self._since_checkpoint < 2 * limits.CHECKPOINT_EVENTS:
            seq = self._ledger.seq
            await trio.sleep(_IDLE_SECONDS)
            if self._ledger.seq == seq:
                return
            if trio.current_time() - busy_since >= _BUSY_SECONDS and (self._log_to_prune or self._sweep_is_due()):
                return

    def _has_work(self) -> bool:
        return (
            self._may_save()
            or self._since_checkpoint >= limits.CHECKPOINT_EVENTS
            or self._log_to_prune
            or self._sweep_is_due()
        )

    def _may_save(self) -> bool:
        return self._since_save >= limits.SAVE_EVENTS or self._bytes_since_save >= limits.SEGMENT_BYTES

    async def check_fence(self) -> None:
        """See that the store is still this engine's.

        Raises:
            StoreFenced: it is not.
        """
        key = keys.epoch(self._epoch + 1)
        data = await self.patience.insist(self._backend.get, key)
        if data is not None:
            raise lease.fenced(data, key)

    # Snapshots --------------------------------------------------------------------------------------

    async def save_finished(self) -> None:
        """Write the snapshots of finished executions, and their places in the listings."""
        events, size = self._since_save, self._bytes_since_save
        for records in _in_steps(list(self._ledger.unsaved.values()), _STEP):
            pairs: dict[str, bytes] = {}
            for record in records:
                pairs |= finished_pairs(record)
            again = [record for record in records if record.reopenings]
            if again:  # first, so that none is ever listed under two states
                await self.patience.insist(self._backend.delete, set().union(*map(stale_listings, again)))
            await self._put(pairs)
            for record in again:
                await self._drop_old_parts(record, pairs)
            self._ledger.saved(records)
            self._since_sweep += len(records)
        self._since_save -= events
        self._bytes_since_save -= size

    async def _drop_old_parts(self, record: ExecutionRecord, kept: Collection[str]) -> None:
        """Remove what a large snapshot from before an execution was opened again leaves behind."""
        rows = await self.patience.insist(self._backend.scan, keys.snapshot_parts(keys.execution(record.id)))
        old = [key for key, _ in rows if key not in kept]
        if old:
            await self.patience.insist(self._backend.delete, old)

    async def checkpoint(self) -> None:
        """Write what the next start needs besides the log's tail; then remove what it no longer needs.

        The log goes on meanwhile. What a snapshot then holds of it besides what the checkpoint says does no harm:
        folding an event again changes nothing.
        """
        seq, segment, due = self._ledger.seq, self._segment, self._since_checkpoint
        live = list(self._ledger.live.values())
        schedules = {job: state.as_plain() for job, state in self._ledger.schedules.items()}
        await self.save_finished()
        saved: set[str] = set()
        entries: list[tuple[str, int]] = []
        for records in _in_steps(live, _STEP):
            pairs: dict[str, bytes] = {}
            for record in records:
                entries.append((record.id, record.version))
                pairs |= snapshot_pairs(keys.live(self._epoch, record.id, record.version), record)
            await self._put(pairs)
            saved |= pairs.keys()
        key = keys.checkpoint(self._epoch, seq)
        await self._put({key: encode_checkpoint(seq, segment, schedules, entries)})
        saved.add(key)
        self._since_checkpoint -= due
        stale = self._saved_live if self._saved_live is not None else await self._leftovers()
        for some in _in_steps(sorted(stale - saved), 10 * _STEP):
            await self.patience.insist(self._backend.delete, some)
        self._saved_live = saved
        self._log_to_prune = True

    async def _leftovers(self) -> set[str]:
        """Return what engines before this one left of their checkpoints, and the records of those long ago."""
        found = {keys.epoch(number) for number in self._epochs if number <= self._epoch - limits.EPOCHS}
        for prefix in (keys.CHECKPOINTS, keys.LIVE, keys.PARTS + keys.LIVE):
            after = ""
            while rows := await self.patience.insist(self._backend.scan, prefix, after, _LOG_PAGE):
                # Never what lies under a later epoch: this engine may have been taken over from, and not know it yet.
                found |= {key for key, _ in rows if self._is_older(key.removeprefix(keys.PARTS))}
                after = rows[-1][0]
        return found

    def _is_older(self, key: str) -> bool:
        try:
            return keys.number_of(key) < self._epoch
        except CodecError:
            return False

    async def _put(self, pairs: dict[str, bytes]) -> None:
        """Write pairs, in order, so that what names others comes after them even if it is cut off between two."""
        batch: dict[str, bytes] = {}
        size = 0
        for key, value in pairs.items():
            batch[key] = value
            size += len(value)
            if size > limits.SEGMENT_BYTES:
                await self.patience.insist(self._backend.put, batch)
                batch, size = {}, 0
        if batch:
            await self.patience.insist(self._backend.put, batch)

    # The log ----------------------------------------------------------------------------------------

    async def _prune_log(self) -> None:
        """Remove some segments that the checkpoint covers and no reader that comes back is promised.

        Fences stay: what they keep out may wake up late.
        """
        keep_from = self._ledger.seq - limits.LOG_EVENTS
        rows = await self.patience.insist(self._backend.scan, keys.LOG, self._log_after, _LOG_PAGE)
        old = []
        for (key, data), (following, _) in pairwise(rows):
            try:
                if keys.segment_first(following) > keep_from:
                    self._log_to_prune = False
                    break
                if not is_fence(data) or keys.number_of(key) <= self._epoch - limits.EPOCHS:
                    old.append(key)
            except CodecError:
                pass  # set aside
            self._log_after = key
        if len(rows) <= 1:
            self._log_to_prune = False
        if old:
            await self.patience.insist(self._backend.delete, old)

    # Finished executions --------------------------------------------------------------------------------

    def _sweep_is_due(self) -> bool:
        return self._policies is not None and (
            self._sweep is not None
            or self._since_sweep >= limits.SWEEP_EXECUTIONS
            or trio.current_time() >= self._next_sweep
        )

    async def _prune_executions(self) -> None:
        """Go one step on with a sweep, or begin one."""
        if self._sweep is None:
            await self.save_finished()  # it sees what is saved
            assert self._policies is not None, "a sweep is never due"
            self._sweep = self.sweep(self._policies)
            self._next_sweep = trio.current_time() + limits.SWEEP_SECONDS
            self._since_sweep = 0
        if not await self._sweep.step():
            self._sweep = None

    def sweep(
        self, policies: Mapping[str, Retention], others: Retention | None = None, *, dry_run: bool = False
    ) -> Sweep:
        """Return a way through the store that removes what these policies do not keep."""
        return Sweep(self._backend, self._ledger, policies, self._now(), self.patience, others=others, dry_run=dry_run)


def _in_steps(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
