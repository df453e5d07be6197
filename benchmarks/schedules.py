"""What schedules cost: 10,000 jobs that wait, and 1,000 that are due in the same second, on SQLite in a fresh folder.

`python benchmarks/schedules.py` prints the share of a core while nothing is due, and, for the second, how long after
its instant the executions were submitted; beside it what as many submits by hand take, as a ratio.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from goflow_trio import Job, Noop, Task, open_engine
from goflow_trio.schedules import At


def job(name: str, schedule: object) -> Job:
    made = Job(name, schedule=schedule, active=True)  # type: ignore[arg-type]  # any schedule
    made.add(Task("work", Noop()))
    return made


async def idle(folder: Path, count: int, seconds: float) -> None:
    """Many jobs that are due only next year."""
    far = datetime.now(UTC) + timedelta(days=365)
    jobs = [job(f"job-{number}", f"{number % 60} {number // 60 % 24} * {far:%m} *") for number in range(count)]
    begun = time.perf_counter()
    async with open_engine(f"sqlite:///{folder}/idle.db", jobs):
        opened = time.perf_counter() - begun
        await trio.sleep(5)
        cpu = time.process_time()
        await trio.sleep(seconds)
        share = (time.process_time() - cpu) / seconds
    print(f"{count:,} scheduled jobs: opened in {opened:.2f} s; idle they take {share:.2%} of a core")


async def crowd(folder: Path, count: int) -> None:
    """Many jobs that are due at the same instant."""
    instant = (datetime.now(UTC) + timedelta(seconds=8)).replace(microsecond=0)
    jobs = [job(f"job-{number}", At(instant)) for number in range(count)]
    async with open_engine(f"sqlite:///{folder}/crowd.db", jobs) as engine:
        ready = (instant - datetime.now(UTC)).total_seconds()
        await trio.sleep(max(0.0, ready) + 0.01)
        while len(records := await engine.newest(limit=count)) < count:  # noqa: ASYNC110  # the end is what is measured
            await trio.sleep(0.05)
        late = [(record.submitted - instant).total_seconds() for record in records]
        print(
            f"{count:,} jobs due in one second ({ready:.1f} s after the start): submitted {min(late) * 1000:.1f} ms to"
            f" {max(late):.2f} s after it"
        )
        await trio.sleep(2)
        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for name in engine.jobs:
                nursery.start_soon(engine.submit, name)
        by_hand = time.perf_counter() - begun
        print(f"  the same submitted by hand: {by_hand:.2f} s; ratio {max(late) / by_hand:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--due", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(idle, Path(folder), arguments.jobs, arguments.seconds)
        trio.run(crowd, Path(folder), arguments.due)


if __name__ == "__main__":
    main()
