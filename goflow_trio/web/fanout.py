"""What streams share: each payload is encoded once whoever reads it, and a crowd of readers is paced.

A write to a reader costs some 100 to 500 µs of the one loop that also runs the jobs. So a reader that was just written
to waits a moment for more to come and takes all of it in one write; the moment grows with the number of readers, so
that their cost together has a bound. A reader to whom nothing was written for a while is written to at once; only in
a crowd they take turns. Readers that do not take what they are sent are stuck in their write and cost nothing, so they
do not count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import trio

from goflow_trio.actors.feed import Feed
from goflow_trio.core.messages import Event
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.web import wire
from goflow_trio.web.socket import frame_of

_CACHED_BYTES = 8 * 1024 * 1024
_PAGE = 64
_CROWD = 16
_PAUSE_SECONDS = 0.002
_WRITE_SECONDS = 0.000_5
_CROWD_PAUSE_SECONDS = 10 * _WRITE_SECONDS
_PAUSE_MOST_SECONDS = 5.0
_GOLDEN = 0.6180339887498949  # the fractions of its multiples lie evenly, however many there are


class Form:
    """Events in the form that one kind of stream has, each made once.

    Args:
        make: returns an event in this form, so that several of them joined are several events.
    """

    def __init__(self, make: Callable[[Event], bytes]) -> None:
        self._make = make
        self._events = _Shared(make)
        self._pages = _Shared(lambda events: b"".join(map(self.one, events)))

    def one(self, event: Event) -> bytes:
        """Return an event."""
        return self._make(event) if event.live_only else self._events.get(event.seq, event)

    def many(self, events: Sequence[Event]) -> bytes:
        """Return events, joined.

        Where all that happened is wanted, whole pages are joined once for all: in a crowd that is most of the work.
        """
        first, last = events[0].seq, events[-1].seq
        if last - first != len(events) - 1 or any(event.live_only for event in events):
            return b"".join([self.one(event) for event in events])
        parts = []
        place = 0
        while place < len(events):
            seq = first + place
            page = events[place : place + _PAGE]
            if seq % _PAGE == 0 and len(page) == _PAGE:
                parts.append(self._pages.get(seq, page))
                place += _PAGE
            else:
                parts.append(self.one(events[place]))
                place += 1
        return b"".join(parts)


class Fanout:
    """The shared part of all streams of one feed.

    Attributes:
        reading: how many readers are waiting for more, as opposed to stuck in a write.
        events: events as server-sent ones, their position as the id.
        frames: events as messages of a WebSocket, each in a frame.
    """

    def __init__(self) -> None:
        self.reading = 0
        self._turn = 0.0
        self.events = Form(lambda event: sse(event, wire.event(event)))
        self.frames = Form(lambda event: frame_of(wire.encode(wire.event(event))))
        self._messages = _Shared(lambda record: b"event:message\ndata:" + wire.encode(wire.execution(record)) + b"\n\n")

    def message(self, record: ExecutionRecord) -> bytes:
        """Return an execution as a frame of Goflow's stream."""
        return self._messages.get((record.id, record.version), record)

    def pace(self) -> Pace:
        """Return the pace of one more reader."""
        self._turn = (self._turn + _GOLDEN) % 1.0
        return Pace(self, self._turn)


class Pace:
    """When one reader is written to.

    Args:
        fanout: what it shares with the others.
        turn: between 0 and 1: its turn in a crowd, so that they are not all written to at one moment.
    """

    def __init__(self, fanout: Fanout, turn: float) -> None:
        self._fanout = fanout
        self._turn = turn
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for this reader's turn, now that there is something for it; then take all there is."""
        crowd = self._fanout.reading
        if crowd <= _CROWD:
            await trio.sleep_until(self._next)
            self._next = trio.current_time() + crowd * _PAUSE_SECONDS
        else:
            await trio.sleep_until(max(self._next, trio.current_time() + self._turn * crowd * _WRITE_SECONDS))
            pause = min(crowd * _CROWD_PAUSE_SECONDS, _PAUSE_MOST_SECONDS)
            self._next = trio.current_time() + pause * (0.5 + self._turn)  # unequal, so that they drift apart

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the reader in for the length of a block."""
        self._fanout.reading += 1
        try:
            yield
        finally:
            self._fanout.reading -= 1

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write within this block: who is stuck in it does not slow down the others."""
        self._fanout.reading -= 1
        try:
            yield
        finally:
            self._fanout.reading += 1


class _Shared:
    """Encoded payloads by key, up to some bytes. The oldest go first."""

    def __init__(self, make: Callable[[Any], bytes]) -> None:
        self._make = make
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, value: Any) -> bytes:
        """Return the bytes of `value`, made once for each key."""
        data = self._kept.get(key)
        if data is None:
            data = self._kept[key] = self._make(value)
            self._bytes += len(data)
            while self._bytes > _CACHED_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


_fanouts: WeakKeyDictionary[Feed, Fanout] = WeakKeyDictionary()


def fanout_of(feed: Feed) -> Fanout:
    """Return what the streams of a feed share."""
    found = _fanouts.get(feed)
    if found is None:
        found = _fanouts[feed] = Fanout()
    return found


def sse(event: Event, body: Mapping[str, Any]) -> bytes:
    """Return an event as a frame of server-sent events."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), wire.encode(body))
