"""A new store of any kind, by name."""

import uuid

import pytest


@pytest.fixture
def new_store(request, tmp_path):
    """Return a function that returns the URL of a new, empty store of a kind. It starts the server that this needs."""

    def make(kind):
        name = f"t{uuid.uuid4().hex[:12]}"

        def given(fixture):
            return request.getfixturevalue(fixture)

        return {
            "memory": lambda: "memory://",
            "sqlite": lambda: f"sqlite:///{tmp_path}/{name}.db",
            "file": lambda: f"file://{tmp_path}/{name}",
            "postgresql": lambda: f"{given('postgres_url')}?table={name}",
            "redis": lambda: f"{given('redis_url')}?prefix={name}",
            "s3": lambda: given("s3_url").replace("?", f"/{name}?"),
            "dynamodb": lambda: given("dynamodb_url").replace("//", f"//{name}", 1),
            "kv+memory": lambda: "kv+memory://",
            "kv+disk": lambda: f"kv+disk://{tmp_path}/{name}",
            "kv+redis": lambda: f"kv+{given('emptied_redis_url')}",
        }[kind]()

    return make


@pytest.fixture
def emptied_redis_url(redis_url):
    """Database 9, empty: py-key-value's store has no prefix of its own."""
    redis = pytest.importorskip("redis")
    url = redis_url.removesuffix("/0") + "/9"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url
