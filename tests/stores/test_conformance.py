"""Every shipped store keeps the whole contract of a backend, on real servers.

moto plays S3 and DynamoDB in Python, at 10 ms a request, so those walk over fewer keys; with
`GOFLOW_TEST_S3` or `GOFLOW_TEST_DYNAMODB` set, or with `-m slow`, they walk over all.
"""

import pytest

from goflow_trio.stores import open_backend
from goflow_trio.testing.store_conformance import FULL_SIZE, checks


@pytest.fixture
def store_url(request, new_store):
    """A new, empty store of the kind that the test is about."""
    return new_store(request.param)


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
