"""A task that prints without end beside one that has work to do: memory stays flat, the neighbour gets on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, statistics, sys, time
import trio
from goflow_trio import Command, Job, Task, open_engine

size = int(sys.argv[1])
job = Job("flood")
job.add(Task("flood", Command(f"echo first; yes 0123456789abcde | head -c {size}; echo last", shell=True)))
quiet = Job("quiet")
quiet.add(Task("a", lambda: None)) >> quiet.add(Task("b", Command("true")))
megabytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def time_quiet(engine, count):
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        await (await engine.submit("quiet")).wait()
        took.append(time.perf_counter() - begun)
    return statistics.median(took)

async def main():
    async with open_engine(sys.argv[2], [job, quiet]) as engine:
        alone = await time_quiet(engine, 20)
        before, begun, beside = megabytes(), time.perf_counter(), []
        execution = await engine.submit("flood")
        while not execution.record.state.is_final:
            beside.append(await time_quiet(engine, 1))
        took = time.perf_counter() - begun
        whole = await engine.output(execution.id, "flood")
        tail = await engine.output(execution.id, "flood", tail=21)
        print(json.dumps({
            "megabytes_more": round(megabytes() - before, 1),
            "megabytes_a_second": round(size / 1e6 / took, 1),
            "neighbour_alone_ms": round(alone * 1000, 1),
            "neighbour_beside_ms": round(statistics.median(beside) * 1000, 1),
            "neighbour_runs": len(beside),
            "neighbour_worst_ms": round(max(beside) * 1000, 1),
            "total": whole.total, "kept": whole.kept, "truncated": whole.truncated,
            "head": whole.data[:22].decode(), "tail": tail.data.decode(),
        }))

trio.run(main)
"""


def flood(size, store):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(size), store]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=580).stdout)
    assert result["total"] == size + 11
    assert result["truncated"]
    assert result["head"] == "first\n0123456789abcde\n"
    assert result["tail"] == "0123456789abcde\nlast\n"
    assert result["megabytes_more"] < 32
    return result


def test_a_flood_costs_little_memory_and_the_neighbour_gets_on(tmp_path):
    result = flood(100_000_000, f"sqlite:///{tmp_path}/flood.db")
    assert result["neighbour_runs"] >= 2, "one of them began and ended while it was flooded"


@pytest.mark.slow
@pytest.mark.parametrize("size", [1_000_000_000, 10_000_000_000])
def test_a_large_flood(size, tmp_path, capsys):
    result = flood(size, f"sqlite:///{tmp_path}/flood.db")
    with capsys.disabled():
        print("\n", result)
