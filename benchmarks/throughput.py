"""How many no-op tasks a second the engine runs, beside a bare trio nursery doing the same no-ops in the same process.

    python benchmarks/throughput.py [--runs 5] [--scale 1.0]

Each row is the median of several runs, each of which times the bare nursery and the engine one after the other; the
ratio is of those two, run by run, so a machine that is busy elsewhere moves both. A bare nursery keeps no
record of anything: the ratio is the price of durable, ordered, observable work, not of a competitor.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import trio
from rich.console import Console
from rich.table import Table

from goflow_trio import Job, Noop, Task, open_engine


async def no_op() -> None:
    await trio.lowlevel.checkpoint()


def fan_out(width: int) -> Job:
    job = Job("fan-out")
    top, end = job.add(Task("top", Noop())), Task("end", Noop())
    for number in range(width):
        top >> job.add(Task(f"t{number}", Noop())) >> end
    job.add(end)
    return job


def chain(length: int) -> Job:
    job = Job("chain")
    tasks = [job.add(Task(f"t{number}", Noop())) for number in range(length)]
    for task, after in pairwise(tasks):
        task >> after
    return job


async def bare_fan_out(tasks: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(no_op)


async def bare_chain(tasks: int) -> None:
    for _ in range(tasks):
        await bare_fan_out(1)


async def bare_many(executions: int, tasks: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(executions):
            nursery.start_soon(bare_chain, tasks)


async def run_engine(store: str, job: Job, executions: int) -> float:
    """Return the seconds from the first submit to the last finished execution."""
    async with open_engine(store, jobs=[job]) as engine:

        async def one() -> None:
            record = await (await engine.submit(job.name)).wait()
            assert record.state == "successful", record.reason

        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(executions):
                nursery.start_soon(one)
        return time.perf_counter() - begun


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


async def measure(runs: int, scale: float, folder: Path) -> Table:
    width, length, many = (max(2, int(number * scale)) for number in (1000, 200, 300))
    cases: list[tuple[str, Job, int, int, Callable[[], Awaitable[None]]]] = [
        (f"fan-out of {width}", fan_out(width), 1, width + 2, lambda: bare_fan_out(width + 2)),
        (f"chain of {length}", chain(length), 1, length, lambda: bare_chain(length)),
        (f"{many} executions of 3 tasks", chain(3), many, 3 * many, lambda: bare_many(many, 3)),
    ]
    table = Table(title=f"no-op tasks, median of {runs} runs")
    for column in ("workload", "store", "tasks/s", "µs a task", "bare nursery, µs a task", "ratio (min to max)"):
        table.add_column(column, justify="left" if column in {"workload", "store"} else "right")
    for name, job, executions, tasks, bare in cases:
        for store in ("memory", "sqlite"):
            pairs = []
            for run in range(runs + 1):  # the first one warms up and is not counted
                url = "memory://" if store == "memory" else f"sqlite:///{folder}/{job.name}-{executions}-{run}.db"
                pairs.append((await timed(bare), await run_engine(url, job, executions)))
            bares, engines = zip(*pairs[1:], strict=True)
            ratios = [engine / bare_one for bare_one, engine in pairs[1:]]
            seconds = statistics.median(engines)
            table.add_row(
                name,
                store,
                f"{tasks / seconds:,.0f}",
                f"{seconds / tasks * 1e6:,.0f}",
                f"{statistics.median(bares) / tasks * 1e6:,.0f}",
                f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each row")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the workloads, 1.0 is the standard")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = trio.run(measure, options.runs, options.scale, Path(folder))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
