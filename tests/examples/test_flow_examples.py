"""The examples of docs/flow.md, each run as a reader would run it, on a clock that costs nothing."""

from __future__ import annotations

from tests.examples.test_examples import load


async def test_flow_rerun():
    record = await load("flow_rerun").main()
    assert record.state == "successful"
    assert record.results == {"extract": [1, 2, 3], "load": 6}
    assert [len(record.tasks[name].attempts) for name in ("extract", "load")] == [1, 2]
    assert record.reopenings[0].reason == "made room on the disk"
