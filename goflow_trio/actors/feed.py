"""Fans events out to any number of readers, none of which can slow the engine or another reader down.

There is one list of the latest events, shared by all. A subscription is only a position in it: publishing appends
and rings one bell, whoever reads. A reader that falls behind the list goes on in the store's log, a few readers at a
time; one that falls behind the log too is told so by a `FeedReset`. So no reader has a queue that could grow.

The position is what makes the feed exact: it is the number of an event in the log, survives a restart, and whoever
comes back with it gets each event after it once and in order, or one `FeedReset`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import trio

from goflow_trio.core import limits
from goflow_trio.core.messages import EVENT_TYPES, Event, FeedReset, TaskOutput
from goflow_trio.errors import TooManySubscribers, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

ReadLog = Callable[[int, int], Awaitable[Sequence[Event] | None]]
"""`await read_log(after, limit)` returns the events after a position, None if the log no longer reaches back there."""

NOWHERE: Final = -1
"""A position that is in no log: whoever says to come from there is given a reset."""

Pace = Callable[[], Awaitable[None]]

_LOG_BATCH = 500
_LOG_READERS = 4
_MEMORY_BATCH = 500
_seq = attrgetter("seq")


class Feed:
    """The latest events, and the bell that tells of new ones.

    Args:
        read_log: reads older events from the store.
        now: the wall clock, to date a reset.
        seq: position of the last event that was written before this feed existed.

    Attributes:
        seq: position of the last event that was published.
        closed: whether it was closed.
        counts: how many events of each type and job were published, and of each state where the event has one.
    """

    def __init__(self, read_log: ReadLog, now: Callable[[], datetime], seq: int) -> None:
        self.seq = seq
        self.closed = False
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self._read_log = read_log
        self._now = now
        self._events: list[Event] = []
        self._base = 0  # place of self._events[0] among all events ever published here
        self._base_seq = seq  # every event in self._events came after this position
        self._bell = trio.Event()
        self._output_chars = 0
        self._open: WeakSet[Subscription] = WeakSet()  # one that is dropped unclosed does not count for ever
        self._log_readers = trio.CapacityLimiter(_LOG_READERS)

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return len(self._open)

    def publish(self, events: Sequence[Event]) -> None:
        """Hand out events that are durable, or live only; those take the position of the last durable one."""
        for event in events:
            if event.live_only:
                event.seq = self.seq
                self._output_chars += _output_chars(event)
            else:
                self.seq = event.seq
            self.counts[event.type, event.job, getattr(event, "state", "")] += 1
        self._events.extend(events)
        surplus = len(self._events) - limits.FEED_EVENTS
        floods = self._output_chars > limits.FEED_OUTPUT_CHARS
        if floods:
            surplus = max(surplus, len(self._events) // 2)
        if surplus > limits.FEED_EVENTS or floods:  # trimmed in large steps, so that it costs nothing per event
            self._output_chars -= sum(map(_output_chars, self._events[:surplus]))
            self._base += surplus
            self._base_seq = self._events[surplus - 1].seq
            del self._events[:surplus]
        self._ring()

    def close(self) -> None:
        """End all subscriptions, once each has read what was published."""
        self.closed = True
        self._ring()

    def _ring(self) -> None:
        self._bell.set()
        self._bell = trio.Event()

    @contextmanager
    def subscribe(
        self,
        *,
        job: str | None = None,
        execution: str | None = None,
        types: Collection[str] | None = None,
        after: int | None = None,
    ) -> Iterator[Subscription]:
        """Open a subscription; it ends with the block.

        Args:
            job: only events of this job.
            execution: only events of this execution.
            types: only events of these types; `"task.*"` stands for all that begin so.
            after: a position in the log: begin with the event after it. None: begin with the next event.

        Raises:
            TooManySubscribers: `limits.SUBSCRIBERS` are open.
            UsageError: there is no such type.
        """
        subscription = self.open(job=job, execution=execution, types=types, after=after)
        try:
            yield subscription
        finally:
            subscription.close()

    def open(
        self,
        *,
        job: str | None = None,
        execution: str | None = None,
        types: Collection[str] | None = None,
        after: int | None = None,
        pace: Pace | None = None,
    ) -> Subscription:
        """Open a subscription as `subscribe` does; it ends with `close`, or when nobody holds it any more.

        Args:
            job: see `subscribe`.
            execution: see `subscribe`.
            types: see `subscribe`.
            after: see `subscribe`.
            pace: awaited when there is something new, before it is looked at: what comes meanwhile is taken with it.
        """
        if self.subscribers >= limits.SUBSCRIBERS:
            raise TooManySubscribers(f"{limits.SUBSCRIBERS} subscriptions are open, which is the limit; try later")
        subscription = Subscription(self, _filter(job, execution, types), after, pace)
        self._open.add(subscription)
        return subscription

    def watch(self, types: Collection[str]) -> Subscription:
        """Return a subscription of the program's own: it begins with the next event, and is not counted nor refused."""
        return Subscription(self, _filter(None, None, types), None)


class Subscription:
    """A reader's position in the feed. Iterate over it, or take what is there with `receive_batch`."""

    def __init__(
        self, feed: Feed, wanted: Callable[[Event], bool], after: int | None, pace: Pace | None = None
    ) -> None:
        self._feed = feed
        self._pace = pace
        self._wanted = wanted
        self._log_after: int | None = None  # position in the log, while reading from there
        self._place = feed._base + len(feed._events)
        self._batch: list[Event] = []
        self._last_seq = feed.seq if after is None else after  # of the last event looked at, or begun after
        if after is not None:
            self._go_to(after)

    def _go_to(self, after: int) -> None:
        """Continue after a position: in memory if that reaches back far enough, else in the log."""
        feed = self._feed
        if not feed._base_seq <= after <= feed.seq:
            self._log_after = after
        else:
            self._log_after = None
            self._place = feed._base + bisect_right(feed._events, after, key=_seq)

    @property
    def unread(self) -> int:
        """How many events came since it last took some, of whatever kind."""
        return self._feed._base + len(self._feed._events) - self._place

    @property
    def position(self) -> int:
        """Up to where in the log it has been handed all that it wants; to go on from there is to miss nothing."""
        return self._last_seq

    def close(self) -> None:
        """Count it out. What it was handed stays valid."""
        self._feed._open.discard(self)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._batch:
            await trio.lowlevel.checkpoint()
        else:
            self._batch = await self.receive_batch()
            self._batch.reverse()
        if not self._batch:
            raise StopAsyncIteration
        return self._batch.pop()

    async def receive_batch(self) -> list[Event]:
        """Wait until there is something, then return all of it, at most some thousand events.

        Returns:
            Events in order; empty when the feed is closed.
        """
        while True:
            events = await self._next()
            if events is None:
                return []
            wanted = [event for event in events if self._wanted(event)]
            if wanted:
                return wanted

    def receive_nowait(self) -> list[Event] | None:
        """Return what is in memory now, without waiting.

        Returns:
            Events in order, empty if there are none; None for a reader that is further behind than the memory
            reaches back: it goes on with the next event, and reads the state anew.
        """
        feed = self._feed
        if self._log_after is not None or self._place < feed._base:
            self._go_to(feed.seq)
            self._place = feed._base + len(feed._events)
            return None
        events = feed._events[self._place - feed._base :]
        self._place += len(events)
        if events:
            self._last_seq = events[-1].seq
        return [event for event in events if self._wanted(event)]

    async def _next(self) -> Sequence[Event] | None:
        feed = self._feed
        if self._log_after is None and self._place < feed._base:
            # Fell behind what is in memory. Durable events before the first one left are in the log; where
            # exactly this reader was is the position of the last event it was handed.
            self._go_to(self._last_seq)
        if self._log_after is not None:
            return await self._from_log(self._log_after)
        while self._place >= feed._base + len(feed._events):
            if feed.closed:
                await trio.lowlevel.checkpoint()
                return None
            await feed._bell.wait()
            if self._pace is not None:
                await self._pace()
            if self._place < feed._base:
                return await self._next()
        await trio.lowlevel.checkpoint()
        start = self._place - feed._base
        events = feed._events[start : start + _MEMORY_BATCH]
        self._place += len(events)
        self._last_seq = events[-1].seq
        return events

    async def _from_log(self, after: int) -> Sequence[Event]:
        feed = self._feed
        known = 0 <= after <= feed.seq
        events: Sequence[Event] | None = None
        if known:
            async with feed._log_readers:
                events = await feed._read_log(after, _LOG_BATCH)
        if not events:
            reason = "events that far back are not kept" if known else "that position is not in this log"
            reset = FeedReset(feed._now(), "", reason=reason)
            self._last_seq = reset.seq = feed.seq
            self._go_to(feed.seq)
            return [reset]
        self._last_seq = events[-1].seq
        self._go_to(self._last_seq)
        return events


def _output_chars(event: Event) -> int:
    return len(event.text) if isinstance(event, TaskOutput) else 0


def _filter(job: str | None, execution: str | None, types: Collection[str] | None) -> Callable[[Event], bool]:
    exact = frozenset(types or ())
    prefixes = tuple(kind[:-1] for kind in exact if kind.endswith("*"))
    for kind in exact:
        if kind not in EVENT_TYPES and not (
            kind[-1:] == "*" and any(name.startswith(kind[:-1]) for name in EVENT_TYPES)
        ):
            raise UsageError(f"no event has the type {kind[:100]!r}; types are: {', '.join(EVENT_TYPES)}, or task.* …")

    def wanted(event: Event) -> bool:
        if isinstance(event, FeedReset):
            return True
        return (
            (job is None or event.job == job)
            and (execution is None or event.execution == execution)
            and (types is None or event.type in exact or event.type.startswith(prefixes))
        )

    return wanted
