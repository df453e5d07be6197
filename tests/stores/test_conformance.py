"""Both shipped stores keep the whole contract of a backend."""

import itertools

import pytest

from goflow_trio.stores import open_backend
from goflow_trio.testing.store_conformance import CHECKS

STORES = {"memory": ("memory://", False), "sqlite": ("sqlite:///{directory}/store.db", True)}
CASES = [
    pytest.param(store, check, id=f"{store}-{check}")
    for store, check in itertools.product(STORES, CHECKS)
    if STORES[store][1] or not check.needs_persistence
]


@pytest.mark.parametrize(("store", "check"), CASES)
async def test_conformance(store, check, tmp_path):
    url = STORES[store][0].format(directory=tmp_path)
    await check.run(lambda: open_backend(url))
