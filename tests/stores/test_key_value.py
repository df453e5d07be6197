"""What the adapter over py-key-value adds to the contract: any of its stores, and errors that name it."""

import pytest

from goflow_trio.errors import CodecError, StoreUnavailable, UsageError
from goflow_trio.stores import check_store_url, open_backend
from goflow_trio.stores.base import Durability

memory = pytest.importorskip("key_value.aio.stores.memory")
key_value = pytest.importorskip("goflow_trio.stores.key_value")


async def test_any_store_can_be_given_by_what_makes_it():
    store = memory.MemoryStore()
    kept = Durability(survives_kill=True, survives_power_cut=False, detail="as tried")
    backend = await key_value.open_key_value(lambda: store, name="mine", durability=kept)
    await backend.put({"b": b"2", "a": b"1"})
    await backend.aclose()
    assert backend.durability is kept
    backend = await key_value.open_key_value(lambda: store)
    assert await backend.scan("") == [("a", b"1"), ("b", b"2")]
    assert "cannot tell" in str(backend.durability)
    assert repr(backend) == "<KeyValueBackend 'py-key-value'>"
    await backend.aclose()


async def test_a_store_that_cannot_be_made_is_named():
    def fail():
        raise ValueError("no such thing")

    with pytest.raises(UsageError, match=r"store 'mine': ValueError: no such thing"):
        await key_value.open_key_value(fail, name="mine")


async def test_a_store_that_is_not_there_is_unavailable_and_hides_its_password():
    with pytest.raises(StoreUnavailable, match=r"kv\+redis://:\*\*\*@127") as error:
        await open_backend("kv+redis://:s3cret@127.0.0.1:1/0")
    assert "s3cret" not in str(error.value)


class Faulty(memory.MemoryStore):
    problem: Exception | None = None

    async def put_many(self, *args, **kwargs):
        if self.problem:
            raise self.problem
        await super().put_many(*args, **kwargs)


async def test_a_write_that_failed_may_be_repeated():
    store = Faulty()
    backend = await key_value.open_key_value(lambda: store)
    store.problem = ConnectionResetError("gone")
    with pytest.raises(StoreUnavailable, match="gone"):
        await backend.put({"a": b"1"})
    store.problem = None
    assert await backend.scan("") == []
    await backend.put({"a": b"1"})
    assert await backend.scan("") == [("a", b"1")]
    await backend.aclose()


async def test_what_is_not_ours_is_damage():
    store = memory.MemoryStore()
    backend = await key_value.open_key_value(lambda: store)
    await backend.put({"a": b"1"})
    await backend._do(lambda: backend._call(store.put, key_value._digest("a"), {"value": "%%%"}))
    with pytest.raises(CodecError, match="'a' is not ours or damaged"):
        await backend.get("a")
    await backend.aclose()


def test_urls():
    for url in ("kv+memory://", "kv+disk:///srv/x", "kv+redis://h", "kv+mongodb://h/db", "kv+postgresql://h/db"):
        check_store_url(url)
    with pytest.raises(UsageError, match="absolute path"):
        check_store_url("kv+disk://host/x")
