"""How many no-op tasks a second the engine runs, beside a bare trio nursery doing the same no-ops in the same process.

Each result is the median of several runs, each of which times the bare nursery and the engine one after the other; the
ratio is of those two, run by run, so a machine that is busy elsewhere moves both. A bare nursery keeps no
record of anything: the ratio is the price of durable, ordered, observable work, not of a competitor.

It is part of the package so that `goflow-trio bench` can tell anybody what their machine does.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import trio
from attrs import frozen

from goflow_trio import Job, Noop, Task, open_engine


@frozen
class Workload:
    """Some tasks to run.

    Args:
        name: what they are like.
        job: the job.
        executions: how many of it, at once.
        tasks: how many tasks they have together.
        bare: does as many no-ops in the same order without an engine.
    """

    name: str
    job: Job
    executions: int
    tasks: int
    bare: Callable[[], Awaitable[None]]


@frozen
class Result:
    """What running a workload took.

    Args:
        workload: its name.
        store: `memory` or `sqlite`.
        tasks_per_second: the median of the runs.
        microseconds: for each task, the median.
        bare_microseconds: for each no-op in a bare nursery, the median.
        ratio: of the engine to the bare nursery: the median, the smallest and the largest of the runs.
    """

    workload: str
    store: str
    tasks_per_second: float
    microseconds: float
    bare_microseconds: float
    ratio: tuple[float, float, float]


def workloads(scale: float = 1.0) -> list[Workload]:
    """Return a wide one, a long one and many small ones; `scale` 1.0 is the standard size."""
    width, length, many = (max(2, int(number * scale)) for number in (1000, 200, 300))
    return [
        Workload(f"fan-out of {width}", _fan_out(width), 1, width + 2, partial(_bare_fan_out, width + 2)),
        Workload(f"chain of {length}", _chain(length), 1, length, partial(_bare_chain, length)),
        Workload(f"{many} executions of 3 tasks", _chain(3), many, 3 * many, partial(_bare_many, many, 3)),
    ]


def measure(runs: int = 5, scale: float = 1.0) -> Iterator[Result]:
    """Yield a result for each workload on each store. Takes a while, and keeps one core busy.

    Args:
        runs: counted runs of each; one more warms up.
        scale: size of the workloads, 1.0 is the standard.
    """
    for workload in workloads(scale):
        for store in ("memory", "sqlite"):
            with tempfile.TemporaryDirectory() as folder:
                yield trio.run(_measure, workload, store, runs, Path(folder))


async def _measure(workload: Workload, store: str, runs: int, folder: Path) -> Result:
    pairs = []
    for run in range(runs + 1):
        url = "memory://" if store == "memory" else f"sqlite:///{folder}/{run}.db"
        begun = time.perf_counter()
        await workload.bare()
        pairs.append((time.perf_counter() - begun, await _run_engine(url, workload)))
    bares, engines = zip(*pairs[1:], strict=True)
    ratios = [engine / bare for bare, engine in pairs[1:]]
    seconds, tasks = statistics.median(engines), workload.tasks
    return Result(
        workload.name,
        store,
        tasks / seconds,
        seconds / tasks * 1e6,
        statistics.median(bares) / tasks * 1e6,
        (statistics.median(ratios), min(ratios), max(ratios)),
    )


async def _run_engine(store: str, workload: Workload) -> float:
    """Return the seconds from the first submit to the last finished execution."""
    async with open_engine(store, jobs=[workload.job]) as engine:

        async def one() -> None:
            record = await (await engine.submit(workload.job.name)).wait()
            assert record.state == "successful", record.reason

        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(workload.executions):
                nursery.start_soon(one)
        return time.perf_counter() - begun


def _fan_out(width: int) -> Job:
    job = Job("fan-out")
    top, end = job.add(Task("top", Noop())), Task("end", Noop())
    for number in range(width):
        top >> job.add(Task(f"t{number}", Noop())) >> end
    job.add(end)
    return job


def _chain(length: int) -> Job:
    job = Job("chain")
    tasks = [job.add(Task(f"t{number}", Noop())) for number in range(length)]
    for task, after in pairwise(tasks):
        task >> after
    return job


async def _no_op() -> None:
    await trio.lowlevel.checkpoint()


async def _bare_fan_out(tasks: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(_no_op)


async def _bare_chain(tasks: int) -> None:
    for _ in range(tasks):
        await _bare_fan_out(1)


async def _bare_many(executions: int, tasks: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(executions):
            nursery.start_soon(_bare_chain, tasks)
