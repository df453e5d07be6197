"""Every shipped store keeps the whole contract of a backend, on real servers.

moto plays S3 and DynamoDB in Python, at 10 ms a request, so those walk over fewer keys; with
`GOFLOW_TEST_S3` or `GOFLOW_TEST_DYNAMODB` set, or with `-m slow`, they walk over all.
"""

import uuid

import pytest

from goflow_trio.stores import open_backend
from goflow_trio.testing.store_conformance import FULL_SIZE, checks


@pytest.fixture
def store_url(request, tmp_path):
    """A new, empty store of the kind that the test is about."""
    return new_store(request, request.param, tmp_path)


@pytest.fixture
def emptied_redis_url(redis_url):
    """Database 9, empty: py-key-value's store has no prefix of its own."""
    redis = pytest.importorskip("redis")
    url = redis_url.removesuffix("/0") + "/9"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def new_store(request, kind, tmp_path):
    name = f"t{uuid.uuid4().hex[:12]}"

    def given(fixture):
        return request.getfixturevalue(fixture)

    return {
        "memory": lambda: "memory://",
        "sqlite": lambda: f"sqlite:///{tmp_path}/store.db",
        "file": lambda: f"file://{tmp_path}/store",
        "postgresql": lambda: f"{given('postgres_url')}?table={name}",
        "redis": lambda: f"{given('redis_url')}?prefix={name}",
        "s3": lambda: given("s3_url").replace("?", f"/{name}?"),
        "kv+memory": lambda: "kv+memory://",
        "kv+disk": lambda: f"kv+disk://{tmp_path}/store",
        "kv+redis": lambda: f"kv+{given('emptied_redis_url')}",
        "dynamodb": lambda: given("dynamodb_url").replace("//", f"//{name}", 1),
    }[kind]()


SIZES = {
    "memory": FULL_SIZE,
    "sqlite": FULL_SIZE,
    "file": 1000,  # it syncs each file
    "postgresql": FULL_SIZE,
    "redis": FULL_SIZE,
    "s3": 100,
    "dynamodb": 200,
    "kv+memory": 1000,
    "kv+disk": 200,
    "kv+redis": 1000,
}
CASES = [
    pytest.param(kind, check, id=f"{kind}-{check}")
    for kind, size in SIZES.items()
    for check in checks(size)
    if not (check.needs_persistence and kind in {"memory", "kv+memory"})
    if not (check.needs_sharing and kind in {"memory", "kv+memory", "kv+disk", "kv+redis"})
]
SLOW_CASES = [
    pytest.param(kind, check, id=f"{kind}-{check}")
    for kind, size in SIZES.items()
    if size < FULL_SIZE
    if not kind.startswith("kv+")
    for check in checks()
]


@pytest.mark.parametrize(("store_url", "check"), CASES, indirect=["store_url"])
async def test_conformance(store_url, check):
    await check.run(lambda: open_backend(store_url))


@pytest.mark.slow
@pytest.mark.parametrize(("store_url", "check"), SLOW_CASES, indirect=["store_url"])
async def test_conformance_at_full_size(store_url, check):
    await check.run(lambda: open_backend(store_url))
