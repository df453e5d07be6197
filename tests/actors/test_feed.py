"""The feed: every reader gets everything once and in order, or is told what it lost; and costs nobody anything."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
import trio

from goflow_trio.actors.feed import NOWHERE, Feed
from goflow_trio.core import limits
from goflow_trio.core.messages import FeedReset, TaskOutput, TaskStarted
from goflow_trio.errors import TooManySubscribers, UsageError
from tests.patience import SOON

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Log:
    """The part of a store that a feed reads."""

    def __init__(self) -> None:
        self.events = []
        self.reaches_back_to = 1

    def write(self, feed, count, job="j"):
        events = [TaskStarted(NOW, job, "x", 1, "t", 1) for _ in range(count)]
        for event in events:
            event.seq = len(self.events) + 1
            self.events.append(event)
        feed.publish(events)

    async def read(self, after, limit):
        await trio.lowlevel.checkpoint()
        if after + 1 < self.reaches_back_to:
            return None
        return self.events[after : after + limit]


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def feed(log):
    return Feed(log.read, lambda: NOW, 0)


async def take(subscription, count):
    events = []
    with trio.fail_after(SOON):
        while len(events) < count:
            events += await subscription.receive_batch()
    return [event.seq for event in events]


async def test_a_reader_gets_what_comes_after_it_began(feed, log, autojump_clock):
    log.write(feed, 3)
    with feed.subscribe() as subscription:
        log.write(feed, 2)
        assert await take(subscription, 2) == [4, 5]


@pytest.mark.parametrize("after", range(6))
async def test_a_reader_that_comes_back_gets_exactly_what_it_missed(feed, log, after, autojump_clock):
    log.write(feed, 5)
    with feed.subscribe(after=after) as subscription:
        log.write(feed, 1)
        assert await take(subscription, 6 - after) == list(range(after + 1, 7))


async def test_after_a_restart_the_log_tells_what_memory_does_not(log, autojump_clock):
    log.write(Feed(log.read, lambda: NOW, 0), 1200)
    feed = Feed(log.read, lambda: NOW, 1200)
    with feed.subscribe(after=10) as subscription:
        log.write(feed, 3)
        assert await take(subscription, 1193) == list(range(11, 1204))


async def test_a_reader_that_falls_behind_memory_goes_on_in_the_log(feed, log, monkeypatch, autojump_clock):
    monkeypatch.setattr(limits, "FEED_EVENTS", 10)
    with feed.subscribe() as subscription:
        log.write(feed, 5)
        assert await take(subscription, 5) == [1, 2, 3, 4, 5]
        for _ in range(20):
            log.write(feed, 5)
        assert len(feed._events) <= 2 * 10 + 5
        assert await take(subscription, 100) == list(range(6, 106))


async def test_a_reader_whose_events_are_gone_is_told(feed, log, autojump_clock):
    log.write(feed, 20)
    feed = Feed(log.read, lambda: NOW, 20)
    log.reaches_back_to = 15
    with feed.subscribe(after=3) as subscription:
        (reset,) = await subscription.receive_batch()
        assert isinstance(reset, FeedReset)
        assert reset.seq == 20
        log.write(feed, 1)
        assert await take(subscription, 1) == [21]


async def test_a_position_from_the_future_is_a_reset(feed, log, autojump_clock):
    with feed.subscribe(after=99) as subscription:
        (reset,) = await subscription.receive_batch()
        assert (reset.type, reset.seq) == ("reset", 0)


async def test_a_position_that_is_none_is_a_reset_to_now(feed, log, autojump_clock):
    log.write(feed, 3)
    with feed.subscribe(after=NOWHERE) as subscription:
        assert subscription.position == NOWHERE
        (reset,) = await subscription.receive_batch()
        assert (reset.type, reset.seq, subscription.position) == ("reset", 3, 3)
        log.write(feed, 1)
        assert await take(subscription, 1) == [4]


async def test_the_position_moves_past_what_is_not_wanted(feed, log, autojump_clock):
    with feed.subscribe(job="a") as subscription:
        assert subscription.position == 0
        log.write(feed, 5, job="b")
        with trio.move_on_after(1):
            await subscription.receive_batch()
        assert subscription.position == 5
    with feed.subscribe(job="a", after=2) as subscription:
        assert subscription.position == 2


async def test_what_comes_while_a_reader_waits_its_turn_is_taken_with_the_rest(feed, log, autojump_clock):
    subscription = feed.open(pace=partial(trio.sleep, 2))
    async with trio.open_nursery() as nursery:
        for delay in (0, 1, 3):
            nursery.start_soon(_later, delay, log, feed)
        assert [event.seq for event in await subscription.receive_batch()] == [1, 2]
        assert [event.seq for event in await subscription.receive_batch()] == [3]


async def _later(delay, log, feed):
    await trio.sleep(delay)
    log.write(feed, 1)


async def test_only_a_few_readers_read_the_log_at_once(log, autojump_clock):
    reading = most = 0

    async def read(after, limit):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await trio.sleep(0.1)
        reading -= 1
        return await log.read(after, limit)

    log.write(Feed(log.read, lambda: NOW, 0), 10)
    feed = Feed(read, lambda: NOW, 10)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(take, feed.open(after=3), 7)
    assert most == 4


@pytest.mark.parametrize("kind", ["task.exploded", "", "*x", "exploded.*"])
def test_a_type_that_no_event_has_is_refused(feed, kind):
    with pytest.raises(UsageError, match="no event has the type"), feed.subscribe(types=[kind]):
        pass


def test_what_was_published_is_counted(feed, log):
    log.write(feed, 2, job="a")
    log.write(feed, 1, job="b")
    assert feed.counts == {("task.started", "a", ""): 2, ("task.started", "b", ""): 1}


async def test_filters(feed, log, autojump_clock):
    with feed.subscribe(job="a", types=["task.*"]) as tasks, feed.subscribe(types=["task.output"]) as output:
        log.write(feed, 1, job="b")
        log.write(feed, 1, job="a")
        feed.publish([TaskOutput(NOW, "a", "x", 0, "t", 1, text="hi")])
        assert await take(tasks, 2) == [2, 2]
        (event,) = await output.receive_batch()
        assert event.text == "hi"


async def test_closing_ends_readers_once_they_have_read_everything(feed, log, autojump_clock):
    with feed.subscribe() as subscription:
        log.write(feed, 2)
        feed.close()
        assert [event.seq async for event in subscription] == [1, 2]


async def test_subscriptions_are_bounded(feed, monkeypatch):
    monkeypatch.setattr(limits, "SUBSCRIBERS", 1)
    with feed.subscribe(), pytest.raises(TooManySubscribers), feed.subscribe():
        pytest.fail("one too many")
    feed.open()  # nobody holds it
    with feed.subscribe():
        assert feed.subscribers == 1
    assert feed.subscribers == 0


async def test_output_in_memory_is_bounded_by_its_size(log, feed, autojump_clock, monkeypatch):
    monkeypatch.setattr(limits, "FEED_OUTPUT_CHARS", 1000)
    with feed.subscribe() as reader:
        for _ in range(100):
            feed.publish([TaskOutput(NOW, "a", "x", 0, "t", 1, text="x" * 100)])
            assert sum(len(event.text) for event in feed._events) == feed._output_chars <= 1000
        log.write(feed, 1)
        assert (await reader.receive_batch())[-1] is log.events[0]
