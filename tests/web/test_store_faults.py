"""What a client sees while the store fails: 503 at once with when to try again, the cause in health, and reads."""

from __future__ import annotations

import trio

from goflow_trio.actors import keys
from goflow_trio.errors import StoreFull, StoreReadOnly
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import WRITES, FaultyBackend
from tests.patience import SOON
from tests.web.test_api import ended, serving, submit


async def test_health_names_what_is_wrong_and_is_goflows_when_nothing_is():
    backend = FaultyBackend(MemoryBackend())
    async with serving(store=backend) as client:
        first = await submit(client, "noop-1")
        assert (await client.get("/api/health")).content == b'{"health":"OK"}'
        assert (await client.get("/api/ready")).status_code == 200
        for error, state, name in (
            (StoreFull("the disk is full"), "degraded", "store full"),
            (StoreReadOnly("the disk is read-only"), "read-only", "store read-only"),
        ):
            with backend.failing(operations=WRITES, error=error):
                for path in ("/api/jobs/noop-1/submit", "/api/jobs/noop-1/toggle"):
                    answer = await client.post(path)
                    assert answer.status_code == 503, path
                    assert int(answer.headers["Retry-After"]) >= 1
                    assert str(error) in answer.json()["detail"]
                health = (await client.get("/api/health")).json()
                assert (health["health"], health["causes"][0]["name"]) == (state, name)
                assert str(error) in health["cause"]
                ready = await client.get("/api/ready")
                assert (ready.status_code, ready.json()["ready"]) == (503, False)
                listed = await client.get("/api/executions")
                assert (listed.status_code, listed.json()["executions"][-1]["id"]) == (200, first)
            with trio.fail_after(SOON):
                while (await client.get("/api/ready")).status_code != 200:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            assert (await client.post("/api/jobs/noop-1/submit")).status_code == 200


async def test_a_listing_between_two_instants():
    async with serving() as client:
        ids = [await submit(client, "noop-1") for _ in range(3)]
        submitted = (await client.get(f"/api/executions/{ids[1]}")).json()["submitted"]
        for query, expected in (
            (f"since={submitted}", ids[:0:-1]),
            ("since=2099-01-01T00:00:00Z", []),
            ("until=2000-01-01T00:00:00Z", []),
            ("since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z", ids[::-1]),
            ("since=2000-01-01T00:00:00Z&until=2099-01-01T00:00:00Z&jobname=noop-1", ids[::-1]),
        ):
            answer = await client.get(f"/api/executions?{query}")
            found = [item["id"] for item in answer.json()["executions"]]
            assert found == expected, query
        assert (await client.get("/api/executions?since=yesterday")).status_code == 400


async def test_a_damaged_execution_is_gone_and_named_and_the_others_are_shown():
    memory = MemoryBackend()
    async with serving(store=FaultyBackend(memory)) as client:
        ids = [await submit(client, "noop-1") for _ in range(3)]
        for execution in ids:
            await ended(client, execution)
        with trio.fail_after(SOON):
            while await memory.get(keys.execution(ids[1])) is None:  # noqa: ASYNC110  # until it is tidied up
                await trio.sleep(0.01)
    await memory.put({keys.execution(ids[1]): b"damaged"})
    async with serving(store=FaultyBackend(memory)) as client:
        listed = (await client.get("/api/executions?limit=2")).json()
        assert [item["id"] for item in listed["executions"]] == [ids[2], ids[0]]
        gone = await client.get(f"/api/executions/{ids[1]}")
        assert (gone.status_code, gone.headers["content-type"]) == (410, "application/problem+json")
        health = (await client.get("/api/health")).json()
        assert (health["health"], health["causes"][0]["name"]) == ("degraded", "damaged record")
        assert (await client.get("/api/ready")).status_code == 200
        assert (await client.post("/api/jobs/noop-1/submit")).status_code == 200
