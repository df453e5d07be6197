"""What Redis adds to the contract: what its settings promise, and what an outage looks like."""

import os
import signal
import uuid
from functools import partial

import pytest
import trio

from goflow_trio.errors import StoreError, StoreIncompatible, StoreUnavailable, UsageError
from goflow_trio.stores import open_backend
from goflow_trio.stores.redis import open_redis
from tests.patience import AGES, SOON, in_the_end

redis = pytest.importorskip("redis")


@pytest.fixture
def prefix():
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def admin(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def config(admin):
    """Change settings for the time of a test."""
    before = {}

    def change(**settings):
        for name, value in settings.items():
            before.setdefault(name, admin.config_get(name.replace("_", "-"))[name.replace("_", "-")])
            admin.config_set(name.replace("_", "-"), value)

    yield change
    for name, value in before.items():
        admin.config_set(name.replace("_", "-"), value)


LOSSY = {
    "no log": ({"appendonly": "no"}, "appendonly is off"),
    "evicts": ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
    "evicts what expires": ({"maxmemory_policy": "volatile-ttl"}, "maxmemory-policy is volatile-ttl"),
}


@pytest.mark.parametrize(("settings", "message"), LOSSY.values(), ids=LOSSY)
async def test_a_server_that_forgets_is_refused_unless_that_is_accepted(redis_url, prefix, config, settings, message):
    config(**settings)
    url = f"{redis_url}?prefix={prefix}"
    with pytest.raises(UsageError, match=rf"{message}.*allow_lossy=true") as error:
        await open_backend(url)
    assert "s3cret" not in str(error.value)
    backend = await open_backend(f"{url}&allow_lossy=true")
    assert not backend.durability.survives_kill
    assert not backend.durability.survives_power_cut
    assert message in str(backend.durability)
    await backend.aclose()


@pytest.mark.parametrize(("sync", "kept"), [("always", True), ("everysec", False), ("no", False)])
async def test_what_survives_a_power_cut_is_read_from_the_settings(redis_url, prefix, config, sync, kept):
    config(appendfsync=sync)
    backend = await open_redis(redis_url, prefix=prefix)
    assert backend.durability.survives_kill
    assert backend.durability.survives_power_cut == kept
    assert f"appendfsync={sync}" in str(backend.durability)
    await backend.aclose()


async def test_what_is_not_ours_is_left_untouched(redis_url, prefix, admin):
    admin.set(f"{{{prefix}}}:values", "something else")
    with pytest.raises(StoreIncompatible, match=r"not a store of goflow-trio.*\?prefix="):
        await open_redis(redis_url, prefix=prefix)
    assert admin.get(f"{{{prefix}}}:values") == b"something else"


async def test_stores_share_a_server_by_prefix_and_by_database(redis_url, prefix):
    stores = [
        await open_redis(redis_url, prefix=prefix),
        await open_redis(redis_url, prefix=f"{prefix}2"),
        await open_redis(redis_url.removesuffix("0") + "1", prefix=prefix),
    ]
    for number, store in enumerate(stores):
        await store.put({"a": b"%d" % number})
    assert [await store.get("a") for store in stores] == [b"0", b"1", b"2"]
    for store in stores:
        await store.aclose()


@pytest.mark.parametrize("wrong", [("s3cret", "s3cretwrong"), ("redis://:", "redis://nobody:")])
async def test_a_wrong_password_is_an_error_that_does_not_show_it(redis_url, wrong):
    with pytest.raises(StoreError) as error:
        await open_backend(redis_url.replace(*wrong, 1))
    assert "s3cret" not in f"{error.value} {error.value!r} {error.value.__cause__}"
    assert "***@127" in str(error.value)


async def test_nobody_there_is_unavailable_and_leaves_nothing(redis_url):
    with pytest.raises(StoreUnavailable, match=r"redis://:\*\*\*@127\.0\.0\.1:1"):
        await open_backend("redis://:s3cret@127.0.0.1:1")


async def test_repr_hides_the_password(redis_url, prefix):
    backend = await open_redis(redis_url, prefix=prefix)
    assert repr(backend).startswith("<RedisBackend 'redis://:***@127")
    await backend.aclose()
    assert repr(backend).endswith(" closed>")


async def test_it_may_be_opened_in_one_task_and_closed_in_another(redis_url, prefix):
    opened = []

    async def open_it():
        with trio.CancelScope():
            async with trio.open_nursery():
                opened.append(await open_redis(redis_url, prefix=prefix))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened[0].put, {"a": b"1"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened[0].aclose)


def test_a_run_may_end_with_it_open(redis_url, prefix):
    async def leave_it():
        return await open_redis(redis_url, prefix=prefix)

    backend = trio.run(leave_it)
    with pytest.raises(StoreError):
        trio.run(backend.get, "a")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_after_a_restart_it_goes_on_by_itself_and_nothing_is_lost(redis_server, prefix, how):
    backend = await open_redis(redis_server.url, prefix=prefix, operation_timeout=AGES)
    await backend.put({f"key/{number}": b"%d" % number for number in range(100)})
    redis_server.stop(how)
    with trio.fail_after(SOON):
        for operation in (backend.get("a"), backend.put({"a": b"2"}), backend.put_if_absent("b", b"")):
            with pytest.raises(StoreUnavailable):
                await operation
    redis_server.start()
    with trio.fail_after(SOON):
        assert len(await backend.scan("key/")) == 100
    await backend.aclose()


async def test_a_server_that_has_stopped_answering_is_given_up(redis_server, prefix):
    quick = partial(open_redis, redis_server.url, prefix=prefix, operation_timeout=0.5)
    backend = await in_the_end(quick, StoreUnavailable)
    await in_the_end(partial(backend.put, {"a": b"1"}), StoreUnavailable)
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        with trio.fail_after(SOON):
            for operation in (backend.put({"a": b"2"}), backend.get("a")):
                with pytest.raises(StoreUnavailable):
                    await operation
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    await in_the_end(partial(backend.put, {"a": b"3"}), StoreUnavailable)
    assert await in_the_end(partial(backend.get, "a"), StoreUnavailable) == b"3"
    await backend.aclose()


async def test_a_full_server_is_unavailable_and_passes(redis_url, prefix, config, admin):
    backend = await open_redis(redis_url, prefix=prefix)
    config(maxmemory=admin.info("memory")["used_memory"] + 100_000)
    with pytest.raises(StoreUnavailable, match=r"OOM|maxmemory"):
        for number in range(100):
            await backend.put({f"{number}": bytes(100_000)})
    config(maxmemory=0)
    await backend.put({"a": b"1"})
    assert (await backend.scan(""))[-1][0] == "a", "keys and values still agree"
    await backend.aclose()


async def test_a_client_that_is_kicked_out_comes_back(redis_url, prefix, admin):
    backend = await open_redis(redis_url, prefix=prefix)
    for turn in range(3):
        await backend.put({"a": b"%d" % turn})
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await trio.testing.wait_all_tasks_blocked(0.05)  # it hears of it
        assert await backend.get("a") == b"%d" % turn
    await backend.aclose()
