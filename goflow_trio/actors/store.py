"""The store actor: the only writer of the log. What is durable is folded, and handed out; nothing else is.

It drains its inbox and writes everything that queued as one segment (group commit), so the price of durability is
one write a turn, shared by all that is in flight. A segment is written only where nothing is: an engine that was taken
over from finds a fence there instead, and ends. While the backend fails, the same segment is tried again until it is
in; nothing is lost and nothing is acknowledged meanwhile. What queues then is bounded, since an actor waits for what it
offered before it offers more. The rest of the work (snapshots, checkpoints, pruning) is `upkeep`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import trio
from attrs import define, field

from goflow_trio import codec
from goflow_trio.actors import keys, lease
from goflow_trio.actors.damage import Damage
from goflow_trio.actors.environment import Environment
from goflow_trio.actors.feed import Feed
from goflow_trio.actors.health import Health, worst_first
from goflow_trio.actors.history import History, Selection
from goflow_trio.actors.ledger import Ledger
from goflow_trio.actors.patience import Patience, briefly, timed
from goflow_trio.actors.recovery import Recovered, recover
from goflow_trio.actors.retention import Sweep
from goflow_trio.actors.upkeep import Upkeep
from goflow_trio.core import limits
from goflow_trio.core.messages import Event, ExecutionReopened, ExecutionSubmitted
from goflow_trio.core.plan import Plan, Shape
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import CodecError, StoreError, StoreUnavailable
from goflow_trio.jobs.retention import Retention
from goflow_trio.stores import Backend
from goflow_trio.stores.base import answers_at_once, can_be_shared

logger = logging.getLogger("goflow_trio.store")

_CLOSE_SECONDS = 2.0
_BEGINNINGS = (ExecutionSubmitted, ExecutionReopened)

T = TypeVar("T")


class Withdrawn(StoreUnavailable):
    """What was offered to the log was taken back before it was written."""


@define(eq=False)
class Pending:
    """Events that were offered to the log.

    Args:
        events: in order.
        taken: whether they are being written, or were; then they cannot be withdrawn any more.
        withdrawn: whether they never will be.
        settled: set when one of both is certain.
    """

    events: Sequence[Event]
    taken: bool = False
    withdrawn: bool = False
    settled: trio.Event = field(factory=trio.Event)

    def withdraw(self) -> bool:
        """Take them back, unless they are being written; return whether that came in time."""
        if not self.taken:
            self.withdrawn = True
            self.settled.set()
        return self.withdrawn

    async def durable(self) -> None:
        """Wait until they are durable, folded and published.

        Raises:
            Withdrawn: they were withdrawn.
        """
        await self.settled.wait()
        if self.withdrawn:
            raise Withdrawn("it was not written: the store did not take it in time")


class Store:
    """Typed door to a backend. Open one with `open_store`, then run its actor with `nursery.start_soon(store.run)`.

    Attributes:
        backend: where the bytes are; for reading.
        ledger: what is durable, at hand. Read-only for everybody else.
        feed: where durable events are published.
        damage: what of the store cannot be read.
        lost: why this engine can no longer use the store at all, and has to end; None while it can.
    """

    def __init__(
        self, backend: Backend, environment: Environment, recovered: Recovered, policies: Mapping[str, Retention] | None
    ) -> None:
        self.backend = backend
        self.ledger: Ledger = recovered.ledger
        self.damage: Damage = recovered.damage
        self._environment = environment
        self._epoch = recovered.epoch
        self._history = History(backend, self.ledger, self.damage, recovered.epochs)
        self.feed = Feed(self.read_log, environment.now, self.ledger.seq)
        self._patience = Patience(environment.now, at_once=answers_at_once(backend))
        self._renewal = lease.Renewal(
            backend, recovered.epoch, recovered.lease, Patience(environment.now), lambda: self.ledger.seq
        )
        self._upkeep = Upkeep(backend, recovered, environment.now, policies)
        self._last_segment = ""
        self.lost: StoreError | None = None
        self._known_graphs: set[str] = set()
        self._begins: dict[str, Pending] = {}
        # Never full: an actor has at most one offer in flight, and actors are bounded.
        self._send, self._inbox = trio.open_memory_channel[Pending](float("inf"))

    # Writing ----------------------------------------------------------------------------------------

    def offer(self, events: Sequence[Event]) -> Pending:
        """Put events into the inbox. They are written even if nobody waits for it, unless they are withdrawn."""
        pending = Pending(events)
        if isinstance(events[0], _BEGINNINGS):
            self._begins[events[0].execution] = pending
        self._send.send_nowait(pending)
        return pending

    async def append(self, events: Sequence[Event]) -> None:
        """Write events; returns when they are durable, folded and published. Cancelled, they may still be written.

        Raises:
            Withdrawn: they were withdrawn.
        """
        await self.offer(events).durable()

    def withdraw(self, execution: str) -> bool:
        """Take back that an execution is submitted, or opened again; return whether nothing will come of it."""
        pending = self._begins.get(execution)
        return pending is not None and pending.withdraw()

    async def promptly(self, wait: Callable[[], Awaitable[T]]) -> T:
        """Wait for something that takes a write: as long as the store gets on with its work, and not much longer.

        Args:
            wait: an async function; it may be called again after it was cancelled.

        Raises:
            StoreUnavailable: the store does not get on.
        """
        give_up = trio.current_time() + limits.SUBMIT_SECONDS
        while True:
            with trio.move_on_after(limits.REFUSAL_SECONDS):
                return await wait()
            if self.problem is not None:
                raise StoreUnavailable(f"the store does not take writes now: {self.problem}")
            if trio.current_time() >= give_up:
                raise StoreUnavailable(f"the store has too much to do: no answer for {limits.SUBMIT_SECONDS:g} s")

    async def claim(self, key: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Write `value` under `key` unless something is there; return what is there then: the first claim.

        Only one of any number of claims is ever made, so this need not go through the actor.

        Raises:
            StoreUnavailable: the store does not take it. It may be there; then it is found when it is made again.
            CodecError: a claim is there and is damaged; it was left as it is.
        """
        if await briefly(self.backend.put_if_absent, key, codec.encode_mapping(value)):
            return dict(value)
        data = await briefly(self.backend.get, key)
        try:
            return codec.decode_mapping(data or b"", key)
        except CodecError as error:
            self.damage.note(key, error)
            raise

    async def keep_graph(self, plan: Plan) -> None:
        """See to it that the graph an execution is about to run on is in the store, whole."""
        if plan.digest in self._known_graphs:
            return
        key, data = keys.definition(plan.digest), codec.encode_shape(plan.shape())
        if not await timed(self.backend.put_if_absent, key, data) and await timed(self.backend.get, key) != data:
            await timed(self.backend.put, {key: data})  # damaged, or of an older format
        self._known_graphs.add(plan.digest)

    async def keep_output(self, values: Mapping[str, bytes], stale: Sequence[str]) -> None:
        """Write blocks of output and remove others. This happens beside the log, whose commits never wait for it.

        Raises:
            StoreUnavailable: the backend takes no writes now; try again later.
        """
        problem = self.problem or (self.lost and str(self.lost))
        if problem is not None:
            raise StoreUnavailable(problem)
        if values:
            await timed(self.backend.put, values)
        if stale:
            await timed(self.backend.delete, stale)

    def sweep(self, policies: Mapping[str, Retention], others: Retention, *, dry_run: bool = False) -> Sweep:
        """Return a way through the store that removes what these policies do not keep, whatever those of the store are.

        For a store whose actor does not run.
        """
        return self._upkeep.sweep(policies, others, dry_run=dry_run)

    # Reading ----------------------------------------------------------------------------------------

    async def graph(self, digest: str) -> Shape:
        """Return a graph that was kept.

        Raises:
            CodecError: it is missing or damaged.
        """
        key = keys.definition(digest)
        data = await timed(self.backend.get, key)
        try:
            if data is None:
                raise CodecError(f"the graph {digest} is missing from the store")  # noqa: TRY301
            return codec.decode_shape(data)
        except CodecError as error:
            self.damage.note(key, error)
            raise

    async def find(self, execution: str) -> ExecutionRecord | None:
        """Return an execution, finished or not; None if there is none of this id.

        Raises:
            StoreUnavailable: it is not at hand and the store does not answer.
            CodecError: it is damaged.
        """
        return await self._history.find(execution)

    async def newest(self, which: Selection, limit: int = limits.LIST_EXECUTIONS) -> list[ExecutionRecord]:
        """Return executions, newest first; see `Engine.newest`."""
        return await self._history.newest(which, limit)

    async def read_log(self, after: int, limit: int) -> list[Event] | None:
        """Return the next events after a position; None if the log no longer reaches back there."""
        return await self._history.read_log(after, limit)

    # Health -----------------------------------------------------------------------------------------

    def health(self) -> Health:
        """Return how the store is, and why."""
        found = [patience.cause() for patience in (self._patience, self._upkeep.patience, self._renewal.patience)]
        causes = {cause.name: cause for cause in found if cause is not None}
        damaged = self.damage.cause()
        return worst_first([*causes.values(), *([damaged] if damaged else [])])

    @property
    def problem(self) -> str | None:
        """Why the store does not take writes at the moment; None while it does."""
        return next((cause.detail for cause in self.health().causes if cause.blocks), None)

    def listens_at(self, url: str) -> None:
        """Tell other openers of the store where this engine is served."""
        self._renewal.listens_at(url)

    # The actor --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled. On the way out, nothing that was acknowledged needs to be written.

        Raises:
            StoreFenced: another engine has taken the store: this one must end.
            StoreError: the store lost what it had acknowledged, or was closed.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guard, self._upkeep.run)
            if can_be_shared(self.backend):
                nursery.start_soon(self._guard, self._renewal.run, self._environment.now)
            await self._guard(self._write)

    async def _guard(self, actor: Any, *args: Any) -> None:
        try:
            await actor(*args)
        except StoreError as error:
            self.lost = self.lost or error
            raise

    async def _write(self) -> None:
        while True:
            offers = [await self._inbox.receive()]
            while True:
                try:
                    offers.append(self._inbox.receive_nowait())
                except trio.WouldBlock:
                    break
            await self._flush([pending for pending in offers if self._take(pending)])

    def _take(self, pending: Pending) -> bool:
        if isinstance(pending.events[0], _BEGINNINGS):
            self._begins.pop(pending.events[0].execution, None)
        pending.taken = not pending.withdrawn
        return pending.taken

    async def _flush(self, offers: list[Pending]) -> None:
        events = [event for pending in offers for event in pending.events]
        for seq, event in enumerate(events, start=self.ledger.seq + 1):
            event.seq = seq
        if not events:
            return
        size = 0
        for first, data in codec.encode_segments(events):
            size += len(data)
            await self._commit(keys.segment(self._epoch, first), data)
        self.ledger.apply(events)
        self._upkeep.written(len(events), size, self._last_segment)
        self.feed.publish(events)
        for pending in offers:
            pending.settled.set()

    async def _commit(self, key: str, data: bytes) -> None:
        """Put a segment where nothing is. If something is, it must be itself, from a try whose outcome was unknown."""
        patience = self._patience
        outages = patience.outages
        is_new = await patience.insist(self.backend.put_if_absent, key, data)
        if not is_new and await patience.insist(self.backend.get, key) != data:
            next_epoch = keys.epoch(self._epoch + 1)
            raise lease.fenced(await patience.insist(self.backend.get, next_epoch), next_epoch)
        if outages != patience.outages:
            await self._check_it_is_the_same()
        self._last_segment = key

    async def _check_it_is_the_same(self) -> None:
        """After an outage, see that what comes back is the store that went away, with all it had acknowledged.

        Raises:
            StoreError: it is not: to go on would be to go on from an older state.
        """
        key = self._last_segment
        if key and await self._patience.insist(self.backend.get, key) is None:
            raise StoreError(
                f"the store came back without {key}, which it had acknowledged: it was replaced, or lost its latest "
                "writes. This engine stops; bring the right store back and start it again"
            )

    async def close(self) -> None:
        """Write what shortens the next start, for a moment at most; then close the backend."""
        with trio.move_on_after(_CLOSE_SECONDS) as scope:
            scope.shield = True
            try:
                if self.lost is None:
                    await self._upkeep.check_fence()
                    await self._upkeep.checkpoint()
                    if can_be_shared(self.backend):
                        await self._renewal.release(self._environment.now())
            except Exception:  # the log has everything; a checkpoint is only a convenience
                logger.warning("no checkpoint at the end: the next start reads more of the log", exc_info=True)
        lease.let_go(self._renewal.lease.holder.token)
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self.backend.aclose()


async def open_store(
    backend: Backend,
    environment: Environment,
    *,
    takeover: bool = False,
    policies: Mapping[str, Retention] | None = MappingProxyType({}),
) -> Store:
    """Recover what a backend holds, and return the store that writes to it from now on.

    Args:
        backend: where; the store closes it.
        environment: clock and randomness.
        takeover: take it from a holder whose lease has run out.
        policies: what is kept of finished executions, by job; `retention.DEFAULT` where nothing is said.
            None removes nothing.

    Raises:
        StoreInUse: another engine holds it.
        StoreError: it cannot be read.
    """
    recovered = await recover(backend, environment, takeover=takeover)
    return Store(backend, environment, recovered, policies)


def unfinished(records: Iterable[ExecutionRecord]) -> list[ExecutionRecord]:
    """Return unfinished executions in the order to resume them: what was running first, then by submission."""
    return sorted(records, key=lambda record: (record.started is None, record.id))
