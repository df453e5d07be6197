"""Stores that earlier versions wrote are read as they were meant, and go on."""

from __future__ import annotations

import base64
import json

import pytest
import trio
from trio.testing import MockClock

from goflow_trio import codec
from goflow_trio.stores.memory import MemoryBackend
from tests.golden.make import FOLDER, seen

STORES = sorted(FOLDER.glob("format-*.json"))


def test_the_format_of_today_has_its_golden_store():
    """A change of the format raises `codec.FORMAT_VERSION`, adds an upgrade, and a store made by tests.golden.make."""
    assert FOLDER / f"format-{codec.FORMAT_VERSION}.json" in STORES


@pytest.mark.parametrize("path", STORES, ids=lambda path: path.stem)
def test_a_golden_store_shows_what_it_showed_when_it_was_written(path):
    golden = json.loads(path.read_text())

    async def main():
        memory = MemoryBackend()
        await memory.put({key: base64.b64decode(value) for key, value in golden["values"].items()})
        return await seen(memory)

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == golden["seen"]
