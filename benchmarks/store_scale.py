"""What a long history costs: how soon an engine is ready on it, and how long a page of a listing takes.

Fills a store with finished executions, as an engine would have, then opens it as an engine does and reads pages of 50
at random places, with and without filters. `python benchmarks/store_scale.py [--executions 100000] [--store URL]`;
the store has to be empty, by default it is a new SQLite file; `--filled` takes one that was filled before.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from goflow_trio import Job, open_engine
from goflow_trio.actors.history import first_id_at
from goflow_trio.actors.snapshots import finished_pairs
from goflow_trio.core.record import AttemptRecord, ExecutionRecord, TaskRecord
from goflow_trio.core.states import State
from goflow_trio.stores import Backend, open_backend

JOBS = 20
DAYS = 30
BATCH = 500


def make_jobs() -> list[Job]:
    jobs = [Job(f"job-{number}") for number in range(JOBS)]
    for job in jobs:
        job.task(lambda: None, name="work")
    return jobs


def record(number: int, total: int, end: datetime) -> ExecutionRecord:
    at = end - timedelta(days=DAYS) * (total - number) / total
    execution = first_id_at(at)[:24] + f"{number:012x}"
    state = State.FAILED if number % 10 == 0 else State.SUCCESSFUL
    after = at + timedelta(seconds=1)
    attempt = AttemptRecord(1, at, after, state)
    task = TaskRecord("work", state, result="ok", attempts=[attempt], finished=after)
    return ExecutionRecord(
        execution,
        f"job-{number % JOBS}",
        at,
        state,
        {"work": task},
        {"day": number},
        started=at,
        finished=after,
        modified=after,
        definition="-",
        version=4,
    )


async def fill(backend: Backend, total: int) -> float:
    begun = time.perf_counter()
    end = datetime.now(UTC)
    for start in range(0, total, BATCH):
        pairs: dict[str, bytes] = {}
        for number in range(start, min(start + BATCH, total)):
            pairs |= finished_pairs(record(number, total, end))
        await backend.put(pairs)
    return time.perf_counter() - begun


async def timed_pages(ask: Callable[[], Awaitable[list[ExecutionRecord]]], times: int) -> tuple[float, float]:
    """Return median and 99th percentile, in milliseconds."""
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        page = await ask()
        spent.append((time.perf_counter() - begun) * 1000)
        assert len(page) == 50, len(page)
    return statistics.median(spent), statistics.quantiles(spent, n=100)[98]


async def measure(url: str, total: int, pages: int, *, filled: bool) -> None:
    if not filled:
        async with open_engine(url, jobs=make_jobs()):
            pass
        backend = await open_backend(url)
        seconds = await fill(backend, total)
        await backend.aclose()
        print(f"filled with {total} executions in {seconds:.0f} s")
    begun = time.perf_counter()
    async with open_engine(url, jobs=make_jobs()) as engine:
        ready = time.perf_counter() - begun
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"ready after {ready:.2f} s, {memory:.0f} MB at most")
        end = engine.now() - timedelta(hours=1)
        chance = random.Random(1)

        def moment() -> datetime:
            return end - timedelta(days=DAYS * 0.9) * chance.random()

        def page(job: str | None = None, state: str | None = None) -> Callable[[], Awaitable[list[ExecutionRecord]]]:
            return lambda: engine.newest(job, state, 50, first_id_at(moment()))

        asked = {
            "newest": lambda: engine.newest(None, None, 50),
            "any place": page(),
            "of a job": page("job-7"),
            "of a state": page(None, "failed"),
            "of a job and a state": page("job-10", "failed"),
            "until an instant": lambda: engine.newest("job-3", None, 50, None, None, moment()),
        }
        for name, ask in asked.items():
            median, p99 = await timed_pages(ask, pages)
            print(f"50 executions, {name:<22} median {median:6.2f} ms   p99 {p99:6.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--store", default="")
    parser.add_argument("--filled", action="store_true", help="the store is filled already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.store or f"sqlite:///{Path(folder) / 'scale.db'}"
        trio.run(lambda: measure(url, options.executions, options.pages, filled=options.filled))


if __name__ == "__main__":
    main()
