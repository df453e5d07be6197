"""The store actor: the only writer. What `append` returned for is durable; only then is it folded, and handed out.

It drains its inbox and writes everything that queued as one segment of the log (group commit), so the
price of durability is one write a turn, shared by all that is in flight. Snapshots and checkpoints follow when there
is time: they only shorten the next start. While the backend fails, it repeats the same write with the same bytes until
it succeeds; nothing is lost and nothing is acknowledged meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import trio
from attrs import define, field, frozen

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.environment import Environment
from goflow_trio.actors.feed import Feed
from goflow_trio.actors.recovery import Recovered, decode_segments, recover
from goflow_trio.actors.snapshots import finished_pairs, read_snapshot, snapshot_pairs, stale_listings
from goflow_trio.core import limits
from goflow_trio.core.messages import Event
from goflow_trio.core.plan import Plan, Shape
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import CodecError, StoreUnavailable
from goflow_trio.stores import Backend

logger = logging.getLogger("goflow_trio.store")

_IDLE_SECONDS = 0.2
_RETRY_SECONDS = 0.1
_RETRY_MOST_SECONDS = 5.0
_PRUNE_SEGMENTS = 50


@frozen(eq=False)
class _Append:
    events: Sequence[Event]
    done: trio.Event = field(factory=trio.Event)


@define(eq=False)
class _Claim:
    key: str
    value: Mapping[str, Any]
    winner: dict[str, Any] | None = None
    done: trio.Event = field(factory=trio.Event)


class Store:
    """Typed door to a backend. Open one with `open_store`, then run its actor with `nursery.start_soon(store.run)`.

    Attributes:
        ledger: what is durable, at hand. Read-only for everybody else.
        feed: where durable events are published.
        problem: why the backend does not take writes at the moment; None while it does.
    """

    def __init__(self, backend: Backend, environment: Environment, recovered: Recovered) -> None:
        self.backend = backend
        self.ledger = recovered.ledger
        self.problem: str | None = None
        self.feed = Feed(self.read_log, environment.now, self.ledger.seq)
        self._epoch = recovered.epoch
        self._epochs = recovered.epochs
        self._saved_live = recovered.saved_live
        self._last_segment = recovered.checkpoint
        self._since_checkpoint = limits.CHECKPOINT_EVENTS  # the first idle moment after a start makes one
        self._known_graphs: set[str] = set()
        # Never full: an actor has at most one append or claim in flight, and actors are bounded.
        self._send, self._inbox = trio.open_memory_channel[_Append | _Claim](float("inf"))

    # What others call -------------------------------------------------------------------------------

    async def append(self, events: Sequence[Event]) -> None:
        """Write events; returns when they are durable, folded and published. Cancelled, they may still be written."""
        message = _Append(events)
        self._send.send_nowait(message)
        await message.done.wait()

    async def claim(self, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Write `value` under `key` unless something is there; return what is there then: the first claim."""
        message = _Claim(key, value)
        self._send.send_nowait(message)
        await message.done.wait()
        assert message.winner is not None
        return message.winner

    async def keep_graph(self, plan: Plan) -> None:
        """See to it that the graph an execution is about to run on is in the store."""
        if plan.digest not in self._known_graphs:
            await self.backend.put_if_absent(keys.definition(plan.digest), codec.encode_shape(plan.shape()))
            self._known_graphs.add(plan.digest)

    async def keep_output(self, values: Mapping[str, bytes], stale: Sequence[str]) -> None:
        """Write blocks of output and remove others. This happens beside the log, whose commits never wait for it.

        Raises:
            StoreUnavailable: the backend takes no writes now; try again later.
        """
        if self.problem is not None:
            raise StoreUnavailable(self.problem)
        if values:
            await self.backend.put(values)
        if stale:
            await self.backend.delete(stale)

    async def graph(self, digest: str) -> Shape:
        """Return a graph that was kept.

        Raises:
            CodecError: it is missing or damaged.
        """
        data = await self.backend.get(keys.definition(digest))
        if data is None:
            raise CodecError(f"the graph {digest} is missing from the store")
        return codec.decode_shape(data)

    async def find(self, execution: str) -> ExecutionRecord | None:
        """Return an execution, finished or not; None if there is none of this id."""
        record = self.ledger.find(execution)
        if record is None:
            key = keys.execution(execution)
            data = await self.backend.get(key) if _is_id(execution) else None
            if data is None:
                return None
            record, _ = await read_snapshot(self.backend, key, data)
            self.ledger.remember(record)
        return record

    async def newest(
        self,
        job: str | None = None,
        state: str | None = None,
        limit: int = limits.LIST_EXECUTIONS,
        before: str | None = None,
    ) -> list[ExecutionRecord]:
        """Return executions, newest first.

        Args:
            job: only those of this job.
            state: only those in this state.
            limit: at most so many.
            before: only those older than this execution (an id).
        """
        at_hand = [
            record
            for records in (self.ledger.live, self.ledger.unsaved)
            for record in records.values()
            if (job is None or record.job == job)
            and (state is None or record.state == state)
            and (before is None or record.id < before)
        ]
        ids = {record.id for record in at_hand}
        prefix = keys.listing(job, state)
        after = "" if before is None else prefix + keys.flip(before)
        rows = await self.backend.scan(prefix, after, limit)
        stored = [keys.flip(key.removeprefix(prefix)) for key, _ in rows]
        found = {record.id: record for record in at_hand}
        wanted = sorted(ids.union(stored), reverse=True)[:limit]
        missing = []
        for execution in wanted:
            record = found.get(execution) or self.ledger.find(execution)
            if record is None:
                missing.append(execution)
            elif state is None or record.state == state:  # else it is listed as it ended before it was opened again
                found[execution] = record
        values = await self.backend.get_many([keys.execution(execution) for execution in missing])
        for execution in missing:
            key = keys.execution(execution)
            if key in values:
                found[execution], _ = await read_snapshot(self.backend, key, values[key])
        return [found[execution] for execution in wanted if execution in found]

    async def read_log(self, after: int, limit: int) -> list[Event] | None:
        """Return the next events after a position; None if the log no longer reaches back there."""
        epoch = max((number for number, first in self._epochs.items() if first <= after + 1), default=None)
        if epoch is None:
            return None
        earliest = max(0, after + 1 - limits.SEGMENT_EVENTS)
        start = keys.segment(epoch, earliest)
        events: list[Event] = []
        while len(events) < limit:
            rows = await self.backend.scan(keys.LOG, start, 20)
            events += [event for event in decode_segments(rows, self._epochs) if event.seq > after]
            if len(rows) < 20:  # noqa: PLR2004
                break
            start = rows[-1][0]
        return events if events and events[0].seq == after + 1 else None

    # The actor --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled. On the way out, nothing that was acknowledged needs to be written."""
        while True:
            appends: list[_Append] = []
            claims: list[_Claim] = []
            for message in await self._next_messages():
                if isinstance(message, _Append):
                    appends.append(message)
                else:
                    claims.append(message)
            if appends:
                await self._flush(appends)
            for claim in claims:
                await self._decide(claim)
            if not appends and not claims:
                await self._save_finished()
                if self._since_checkpoint >= limits.CHECKPOINT_EVENTS:
                    await self._checkpoint()
            elif self._since_checkpoint >= 2 * limits.CHECKPOINT_EVENTS:  # never idle: make the time
                await self._checkpoint()

    async def _next_messages(self) -> list[_Append | _Claim]:
        """Wait for messages and take all there are; none if it is a good moment to tidy up."""
        messages: list[_Append | _Claim] = []
        has_chores = bool(self.ledger.unsaved) or self._since_checkpoint >= limits.CHECKPOINT_EVENTS
        with trio.move_on_after(_IDLE_SECONDS if has_chores else float("inf")):
            messages.append(await self._inbox.receive())
        while True:
            try:
                messages.append(self._inbox.receive_nowait())
            except trio.WouldBlock:
                return messages

    async def _flush(self, appends: list[_Append]) -> None:
        events = [event for append in appends for event in append.events]
        for seq, event in enumerate(events, start=self.ledger.seq + 1):
            event.seq = seq
        for first, data in codec.encode_segments(events):
            self._last_segment = keys.segment(self._epoch, first)
            await self._insist(self.backend.put, {self._last_segment: data})
        self._since_checkpoint += len(events)
        self.ledger.apply(events)
        self.feed.publish(events)
        for append in appends:
            append.done.set()

    async def _decide(self, claim: _Claim) -> None:
        data = codec.encode_mapping(claim.value)
        if await self._insist(self.backend.put_if_absent, claim.key, data):
            claim.winner = dict(claim.value)
        else:
            claim.winner = codec.decode_mapping(await self._insist(self.backend.get, claim.key) or b"", claim.key)
        claim.done.set()

    async def _save_finished(self) -> None:
        """Write the snapshots of finished executions, and their places in the listings."""
        records = list(self.ledger.unsaved.values())
        if records:
            pairs: dict[str, bytes] = {}
            for record in records:
                pairs |= finished_pairs(record)
            again = [record for record in records if record.reopenings]
            if again:  # first, so that none is ever listed under two states
                await self._insist(self.backend.delete, set().union(*map(stale_listings, again)))
            await self._insist(self.backend.put, pairs)
            for record in again:
                await self._drop_old_parts(record, set(pairs))
            self.ledger.saved(record.id for record in records)

    async def _drop_old_parts(self, record: ExecutionRecord, kept: set[str]) -> None:
        """Remove what a large snapshot from before an execution was opened again leaves behind."""
        rows = await self._insist(self.backend.scan, keys.snapshot_parts(record.id))
        old = {key for key, _ in rows} - kept - set(self._saved_live.get(record.id, ()))
        if old:
            await self._insist(self.backend.delete, old)

    async def _checkpoint(self) -> None:
        """Write what the next start needs besides the log's tail; then forget what it no longer needs."""
        await self._save_finished()
        pairs: dict[str, bytes] = {}
        saved_live = {}
        for record in self.ledger.live.values():
            snapshot = snapshot_pairs(keys.live(record.id), record)
            saved_live[record.id] = list(snapshot)
            pairs |= snapshot
        for job, schedule in self.ledger.schedules.items():
            pairs[keys.job(job)] = codec.encode_mapping({"job": job, **schedule.as_plain()})
        await self._insist(self.backend.put, pairs)
        position = {"seq": self.ledger.seq, "segment": self._last_segment}
        await self._insist(self.backend.put, {keys.CHECKPOINT: codec.encode_mapping(position)})
        kept = {key for its_keys in saved_live.values() for key in its_keys}
        stale = {key for its_keys in self._saved_live.values() for key in its_keys} - kept
        await self._insist(self.backend.delete, stale)
        self._saved_live = saved_live
        self._since_checkpoint = 0
        await self._prune_log()

    async def _prune_log(self) -> None:
        """Remove segments that the checkpoint covers and no reader that comes back is promised."""
        keep_from = self.ledger.seq - limits.LOG_EVENTS
        rows = await self._insist(self.backend.scan, keys.LOG, "", _PRUNE_SEGMENTS)
        firsts = [keys.segment_first(key) for key, _ in rows]
        old = [key for (key, _), following in zip(rows, firsts[1:], strict=False) if following <= keep_from]
        if old:
            await self._insist(self.backend.delete, old)

    async def _insist(self, operation: Any, *args: Any) -> Any:
        """Repeat an operation of the backend until it succeeds; all of them may be repeated.

        Raises:
            StoreError: what does not pass by itself, such as damage.
        """
        wait = _RETRY_SECONDS
        while True:
            try:
                result = await operation(*args)
            except StoreUnavailable as error:
                if self.problem is None:
                    logger.warning("the store does not take writes, retrying: %s", error)
                self.problem = str(error)
                await trio.sleep(wait)
                wait = min(wait * 2, _RETRY_MOST_SECONDS)
            else:
                if self.problem is not None:
                    logger.warning("the store takes writes again")
                    self.problem = None
                return result

    async def close(self) -> None:
        """Write what shortens the next start, for a moment at most; then close the backend."""
        with trio.move_on_after(2) as scope:
            scope.shield = True
            try:
                await self._checkpoint()
            except Exception:  # the log has everything; a checkpoint is only a convenience
                logger.warning("no checkpoint at the end: the next start reads more of the log", exc_info=True)
        with trio.CancelScope(shield=True):
            await self.backend.aclose()


async def open_store(backend: Backend, environment: Environment) -> Store:
    """Recover what a backend holds, and return the store that writes to it from now on.

    Raises:
        StoreError: it cannot be read, is damaged, or another engine is opening it.
    """
    return Store(backend, environment, await recover(backend, environment))


def _is_id(text: str) -> bool:
    return len(text) <= 64 and text.replace("-", "").isalnum()  # noqa: PLR2004


def unfinished(records: Iterable[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return unfinished executions in the order to resume them: what was running first, then by submission."""
    return sorted(records, key=lambda record: (record.started is None, record.id))
