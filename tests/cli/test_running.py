"""The live table of `goflow-trio run`: each task in one line, however narrow and low the terminal is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console, ConsoleDimensions

from goflow_trio import ExecutionRecord, State, TaskRecord
from goflow_trio.cli.running import _table

START = datetime(2026, 1, 1, tzinfo=UTC)


def drawn(record, width, height):
    console = Console(width=width, height=height)
    with console.capture() as capture:
        console.print(_table(record, ConsoleDimensions(width, height)))
    return capture.get().splitlines()


def record(state=State.RUNNING, **tasks):
    found = {
        name: TaskRecord(name, state, reason="for a reason that takes many words") for name, state in tasks.items()
    }
    return ExecutionRecord("id", "etl", START, state, found, finished=START + timedelta(seconds=1))


@pytest.mark.parametrize("width", [40, 60, 200])
def test_each_task_has_one_line_and_its_whole_name(width):
    lines = drawn(record(**{"a-long-name": State.RUNNING, "b": State.SUCCESSFUL}), width, 24)
    assert len(lines) in {4, 5}  # the title may take two
    assert "a-long-name  running" in lines[-2]
    assert ("for a reason that takes many words" in lines[-1]) == (width == 200)


def test_where_not_all_fit_those_that_run_or_failed_are_shown_and_at_the_end_all():
    tasks = {f"t{n}": State.SUCCESSFUL for n in range(50)} | {"bad": State.FAILED, "now": State.RUNNING}
    running = record(**tasks)
    lines = drawn(running, 80, 10)
    assert lines[0].strip() == "etl  running: 1 running, 1 failed, 50 successful"
    assert [line.split()[1] for line in lines[2:]] == ["t0", "t1", "t2", "t3", "bad", "now"]
    assert len(drawn(record(State.FAILED, **tasks), 80, 10)) == 2 + 52


def test_items_are_below_their_map():
    mapped = record(**{"each": State.RUNNING, "after": State.NOTSTARTED, "each[0]": State.RUNNING})
    mapped["each[0]"].mapped_from = "each"
    assert [line.split()[1] for line in drawn(mapped, 80, 24)[2:]] == ["each", "each[0]", "after"]
