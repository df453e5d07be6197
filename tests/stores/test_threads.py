"""A store's threads: in time, never overtaken by what was given up, and not left behind."""

import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from goflow_trio.errors import StoreClosed, StoreError, StoreUnavailable
from goflow_trio.stores.admission import MAX_WAITING
from goflow_trio.stores.driver import DriverErrors
from goflow_trio.stores.threads import StoreThreads

ERRORS = DriverErrors((ZeroDivisionError,), lambda name, error: StoreUnavailable(f"{name}: {error}"))


@pytest.fixture
def threads():
    return StoreThreads("store 'x'", ERRORS, most=2, timeout=5)


async def test_what_takes_too_long_is_given_up(threads):
    release, given_up = threading.Event(), []
    quick = StoreThreads("store 'x'", ERRORS, most=2, timeout=0.05)
    with pytest.raises(StoreUnavailable, match=r"has not answered for 0\.05 s; what it was told may yet happen"):
        await quick.run(release.wait, give_up=lambda: (given_up.append(1), release.set()))
    assert given_up == [1]
    quick._timeout = 5  # a busy machine needs longer than that for anything
    assert await quick.run(lambda: 7) == 7


async def test_a_write_waits_for_a_cancelled_one_of_the_same_key(threads):
    begun, release, order = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        release.wait()
        order.append("cancelled")

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(lambda: threads.run(slow, writes=["a", "b"]))
            await trio.to_thread.run_sync(begun.wait)
            cancelled.cancel_scope.cancel()
        nursery.start_soon(lambda: threads.run(lambda: order.append("same key"), writes=["b"]))
        await threads.run(lambda: order.append("other key"), writes=["c"])
        await threads.run(lambda: order.append("read"))
        release.set()
    assert order == ["other key", "read", "cancelled", "same key"]


async def test_what_was_cancelled_before_its_thread_began_never_happens(threads):
    release, done = threading.Event(), []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(threads.run, release.wait)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(threads.run, lambda: done.append(1))
            await wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
        release.set()
    await threads.run(lambda: None)
    assert done == []


async def test_closing_waits_for_what_is_under_way_and_takes_no_more(threads):
    release, order = threading.Event(), []

    def slow():
        release.wait()
        order.append("under way")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, slow)
        await wait_all_tasks_blocked()
        nursery.start_soon(threads.aclose, lambda: order.append("closed"))
        await wait_all_tasks_blocked()
        with pytest.raises(StoreClosed, match="was closed"):
            await threads.run(lambda: None)
        release.set()
    assert order == ["under way", "closed"]


async def test_closing_that_is_cancelled_closes_and_breaks_what_hangs(threads):
    release, order = threading.Event(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: threads.run(release.wait, give_up=release.set))
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            await threads.aclose(lambda: order.append("closed"))
    assert order == ["closed"]


async def test_the_first_error_of_several_is_raised_when_all_have_ended(threads):
    done = []

    def fail():
        raise StoreError("first")

    with pytest.raises(StoreError, match="first"):
        await threads.run_all([((), fail), ((), lambda: done.append(1))])
    assert done == [1]
    assert await threads.run_all([((), lambda number=number: number) for number in range(5)]) == list(range(5))


async def test_what_waits_is_bounded(threads):
    release = threading.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_WAITING):
            nursery.start_soon(threads.run, release.wait)
        await wait_all_tasks_blocked()
        with pytest.raises(StoreUnavailable, match="does not keep up: 1000 operations"):
            await threads.run(lambda: None)
        nursery.cancel_scope.cancel()
    release.set()


async def test_what_the_driver_raises_becomes_ours(threads):
    for run in (threads.run(lambda: 1 // 0), threads.run_all([((), lambda: 1 // 0)])):
        with pytest.raises(StoreUnavailable, match=r"^store 'x': .* by zero$") as caught:
            await run
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(LookupError):
        await threads.run(lambda: {}["a"])


async def test_works_begin_a_few_at_a_time_and_none_at_all_still_asks_whether_the_store_is_open(threads):
    running, most, lock = [0], [0], threading.Lock()

    def work():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        with lock:
            running[0] -= 1
        return 7

    assert await threads.run_all([((), work)] * 5, at_once=1) == [7] * 5
    assert most == [1]
    assert await threads.run_all([]) == []
    await threads.aclose(lambda: None)
    with pytest.raises(StoreClosed):
        await threads.run_all([])
